"""A real HTTP server in place of vLLM: an honest judge that can also send wrong replies."""

import json
import threading
import time
from http.client import HTTPMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import NamedTuple

MODEL = "a-judge"


class Reply(NamedTuple):
    """The reply to a request.

    body: bytes, the text of a chat completion, or an object to send as JSON. delay: seconds before it.
    cut: close the connection before the end of the body. never: send nothing until the server closes.
    trickle: send spaces without end.
    """

    body: object = b""
    status: int = 200
    headers: dict = MappingProxyType({})
    delay: float = 0.0
    cut: bool = False
    never: bool = False
    trickle: bool = False


class Asked(NamedTuple):
    """A request. at: seconds on the monotonic clock. headers: names in any case."""

    at: float
    body: dict
    headers: HTTPMessage

    @property
    def message(self):
        (turn,) = self.body["messages"]
        return turn["content"]

    @property
    def data(self):
        """The JSON object in the message."""
        return json.loads(self.message.split("\n\n")[-2])


def honest(asked):
    """An answer is right if it equals the reference."""
    right = asked.data["answer"] == asked.data["reference"]
    return Reply(f"Both are there.\nVERDICT: {'yes' if right else 'no'}")


def completion(text, **more):
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **more}]}


class JudgeServer(ThreadingHTTPServer):
    """`with JudgeServer(answer) as server`: `answer` returns the Reply to a request.

    asked: all requests. peak: the most at one time. connections: open now. seen: connections in all.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer=honest, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer, self.asked, self.key = answer, [], None
        self.busy = self.peak = self.connections = self.seen = 0
        self.lock, self.closing = threading.Lock(), threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """Print nothing: in some tests the client closes the connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1
            self.server.seen += 1

    def finish(self):
        with self.server.lock:
            self.server.connections -= 1
        super().finish()

    def do_GET(self):
        key = self.server.key
        if key and self.headers["Authorization"] != f"Bearer {key}":
            self._send(Reply({"error": "no"}, 401))
        elif self.path == "/v1/models":
            self._send(Reply({"object": "list", "data": [{"id": MODEL, "object": "model"}]}))
        else:
            self._send(Reply({"detail": "Not Found"}, 404))

    def do_POST(self):
        server = self.server
        with server.lock:
            server.busy += 1
            server.peak = max(server.peak, server.busy)
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked = Asked(time.monotonic(), body, self.headers)
            with server.lock:
                server.asked.append(asked)
            reply = server.answer(asked) if self.path == "/v1/chat/completions" else Reply({}, 404)
            server.closing.wait(reply.delay)
            if reply.never:
                server.closing.wait()
                self.close_connection = True
                return
        finally:
            with server.lock:
                server.busy -= 1
        self._send(reply)

    def _send(self, reply):
        body = completion(reply.body) if isinstance(reply.body, str) else reply.body
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data) + 1000 * (reply.cut or reply.trickle)))
        self.end_headers()
        self.wfile.write(data)
        while reply.trickle and not self.server.closing.wait(0.05):
            self.wfile.write(b" ")
        self.close_connection = self.close_connection or reply.cut or reply.trickle

    def log_message(self, *_):
        """Print nothing."""
