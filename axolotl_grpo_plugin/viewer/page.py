"""Write the page: one HTML file without network, or served on this machine while a run goes on."""

import base64
import gzip
import hashlib
import html
import json
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Lock
from typing import Any

LOCAL = "127.0.0.1"


def packed(data: dict[str, Any]) -> bytes:
    """Return the data as gzipped ASCII JSON. Lone surrogates stay, because JSON escapes them."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return gzip.compress(text.encode("ascii"), 6, mtime=0)


def page(title: str, data: bytes | None) -> str:
    """Return the HTML. data: `packed`, or None if a server has it.

    The policy allows this script and this style only, by their hashes, so no text of a completion
    can run or load anything.
    """
    here = files(__package__)
    style, script = (here.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    policy = {
        "default-src": "'none'",
        "script-src": _hash(script),
        "style-src": _hash(style),
        "connect-src": "'none'" if data is not None else "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    parts = {
        "TITLE": html.escape(title),
        "POLICY": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": base64.b64encode(data or b"").decode(),
    }
    text = here.joinpath("page.html").read_text("utf-8")
    head, *rest = text.split("{{")
    return head + "".join(
        parts[name] + after for name, _, after in (each.partition("}}") for each in rest)
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Live:
    """The data of runs that go on. update: returns new data, or None if nothing is new."""

    def __init__(self, update: Callable[[], dict[str, Any] | None]):
        self.update, self.version, self.data = update, 0, b""
        self._lock = Lock()

    def newer(self, version: int) -> bytes | None:
        """Return the data if it is newer than a version."""
        with self._lock:  # of two open pages
            if (data := self.update()) is not None:
                self.data, self.version = packed(data), self.version + 1
            return self.data if self.version > version else None


def server(title: str, update: Callable[[], dict[str, Any] | None], port: int) -> Any:
    """Return a server of the page that only this machine reaches. Port 0: a free one."""
    return ThreadingHTTPServer((LOCAL, port), partial(_Handler, title, Live(update)))


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, title: str, live: Live, *args: Any):
        self.title, self.live = title, live
        super().__init__(*args)

    def do_GET(self) -> None:
        port = self.connection.getsockname()[1]
        # Another site's name that leads to this address must not read the rollouts.
        if self.headers.get("Host") not in (f"{LOCAL}:{port}", f"localhost:{port}"):
            self._send(403, "text/plain", b"")
        elif self.path == "/":
            self._send(200, "text/html; charset=utf-8", page(self.title, None).encode())
        elif self.path.startswith("/data?"):
            seen = self.path.rpartition("=")[2]
            data = self.live.newer(int(seen) if seen.isdigit() else 0)
            self._send(204 if data is None else 200, "application/octet-stream", data or b"")
        else:
            self._send(404, "text/plain", b"")

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", str(self.live.version))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing for each request."""
