"""Drive a headless Chromium over its DevTools protocol."""

import base64
import json
import re
import subprocess
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from shutil import rmtree, which
from tempfile import mkdtemp

PROGRAM = which("chromium") or which("chromium-browser") or which("google-chrome")


class Browser:
    """A page. errors: of its scripts and its security policy."""

    def __init__(self, socket):
        self.socket, self.numbers, self.errors = socket, count(1), []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            self._note(message)
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return message["result"]

    def _note(self, message):
        params = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        if message.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(params["entry"]["text"])

    def run(self, code):
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in result, (code, result)
        return result["result"].get("value")

    def wait(self, code, seconds=30):
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(code):
            assert time.monotonic() < end, (code, self.errors, self.run("document.body.innerText"))
            time.sleep(0.02)

    def size(self, width, height=800, dark=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, address):
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=address)
        self.wait("typeof RUNS !== 'undefined' && RUNS.length > 0")

    def view(self, place):
        """Go to a place in the page, such as "view=find&text=4"."""
        self.run(f"location.hash = {json.dumps(place)}; history.length")
        self.wait(f"state.view === {json.dumps(re.search('view=([a-z]+)', place)[1])}")
        self.run("draw()")
        self.wait("!document.querySelector('.side') || document.querySelector('.side').children.length")

    def key(self, key):
        self.run(
            f"document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: {json.dumps(key)}, bubbles: true}}))"
        )

    def shot(self, file):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        Path(file).write_bytes(base64.b64decode(data))


@contextmanager
def browser():
    """Start Chromium. It ends with the block."""
    from websockets.sync.client import connect

    profile = mkdtemp(prefix="viewer-chromium-")
    options = f"--headless=new --no-sandbox --disable-gpu --remote-debugging-port=0 --user-data-dir={profile}"
    words = [PROGRAM, *options.split(), "--no-first-run", "--disable-dev-shm-usage", "about:blank"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        line = next(line for line in process.stderr if "DevTools listening" in line)
        port = re.search(r":(\d+)/", line)[1]
        import urllib.request

        tabs = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        address = next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")
        with connect(address, max_size=None) as socket:
            yield Browser(socket)
    finally:
        process.terminate()
        process.wait(20)
        rmtree(profile, ignore_errors=True)
