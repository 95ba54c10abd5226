"""Write the page: one HTML file without network, or served on this machine while a run goes on."""

import base64
import gzip
import hashlib
import html
import json
import re
from collections.abc import Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Lock
from typing import Any

from axolotl_grpo_plugin.viewer.run import NOTHING, Change, Plain, RunRecord, joined

LOCAL = "127.0.0.1"


def packed(runs: Sequence[Plain]) -> bytes:
    """Return the data of runs as gzipped ASCII JSON. Lone surrogates stay, because JSON escapes them."""
    text = json.dumps({"runs": runs}, separators=(",", ":"), allow_nan=False)
    return gzip.compress(text.encode("ascii"), 6, mtime=0)


def page(title: str, data: bytes | None) -> str:
    """Return the HTML. data: `packed`, or None if a server has it.

    The policy allows this script and this style only, by their hashes, so no text of a completion
    can run or load anything.
    """
    folder = files(__package__)
    names = ("page.css", "page.js", "page.html")
    style, script, text = (folder.joinpath(name).read_text("utf-8") for name in names)
    connect = "'self'" if data is None else "'none'"
    parts = {
        "TITLE": html.escape(title),
        "POLICY": f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        f"connect-src {connect}; img-src data:; base-uri 'none'; form-action 'none'",
        "STYLE": style,
        "SCRIPT": script,
        "DATA": base64.b64encode(data or b"").decode(),
    }
    # In one pass, because a part may look like the place of another.
    return re.sub(r"{{(\w+)}}", lambda place: parts[place[1]], text)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class Live:
    """The data of runs that go on. version: counts its changes."""

    def __init__(self, runs: Sequence[RunRecord]):
        self.runs = runs
        self.version = 1
        self._changes: list[list[Change]] = []  # of each version after the first one, by run
        self._lock = Lock()

    def newer(self, version: int) -> bytes | None:
        """Return the data that a page of a version lacks, None if it lacks nothing.

        Args:
            version: 0 for a page without data. A page of an earlier server gets all data.
        """
        with self._lock:  # of two open pages
            changes = [run.update() for run in self.runs]
            if any(change != NOTHING for change in changes):
                self._changes.append(changes)
                self.version += 1
            if version == self.version:
                return None
            if not 0 < version < self.version:
                return packed([run.data() for run in self.runs])
            missed = zip(*self._changes[version - 1 :], strict=True)
            return packed(
                [run.data(joined(each)) for run, each in zip(self.runs, missed, strict=True)]
            )


def server(title: str, runs: Sequence[RunRecord], port: int) -> ThreadingHTTPServer:
    """Return a server of the page that only this machine reaches. Port 0: a free one."""
    return ThreadingHTTPServer((LOCAL, port), partial(_Handler, title, Live(runs)))


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, title: str, live: Live, *args: Any):
        self.title = title
        self.live = live
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
            # 204: nothing is new.
            self._send(200 if data else 204, "application/octet-stream", data or b"")
        else:
            self._send(404, "text/plain", b"")

    def _send(self, code: int, kind: str, body: bytes) -> None:
        headers = {
            "Content-Type": kind,
            "Content-Length": len(body),
            "X-Version": self.live.version,
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Print nothing for each request."""
