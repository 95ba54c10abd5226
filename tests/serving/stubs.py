"""Stand-ins for vLLM's server and the trainer: small processes that are started in seconds.

The real ones are in tests/e2e/test_serving.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from axolotl_grpo_plugin.serving import processes as tree
from axolotl_grpo_plugin.serving.request import FILE, SUPERVISOR, Request, served
from axolotl_grpo_plugin.serving.server import Server
from axolotl_grpo_plugin.serving.supervisor import Supervisor

VLLM = {
    "/health": {},
    "/v1/models": {"data": [{"id": "a-model", "max_model_len": 64}]},
    "/openapi.json": {"paths": {"/get_world_size": {}, "/v1/load_lora_adapter": {}}},
}


def serve(port, pages):
    """An HTTP server of these pages; a stubborn grandchild stands for vLLM's engine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(json.dumps(pages.get(self.path)).encode())

        def log_message(self, *_):
            """Nothing."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def stubborn():
    """A grandchild in a session of its own that ignores SIGTERM."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


def server(port, how):
    if how == "dies":
        sys.exit(
            "ValueError: User-specified max_model_len (99999) is greater than the derived max_model_len"
        )
    stubborn()
    if how == "dies later":
        signal.setitimer(signal.ITIMER_REAL, 2)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(7))
    serve(port, VLLM).serve_forever()


def trainer(port, how, folder):
    def saves(*_):
        Path(folder, "saved").touch()
        sys.exit(0)  # as Axolotl

    signal.signal(signal.SIGINT, saves)
    tree.end_with(int(os.environ[SUPERVISOR]))
    stubborn()
    if how == "never asks":
        sys.exit(3)
    command = [
        sys.executable,
        "-m",
        "tests.serving.stubs",
        "server",
        str(port),
        os.environ["HOW"],
        folder,
    ]
    asked = Path(os.environ[FILE])
    Request(command, {}, "127.0.0.1", port, folder, os.getpid()).write(asked)
    while how != "crashes" and not served(asked).exists():
        time.sleep(0.1)
    while how == "waits":
        time.sleep(0.1)
    sys.exit({"ends": 0, "crashes": 5}[how])


def launcher(*words):
    """As accelerate: waits for the rank, and ends at once on Ctrl-C."""
    rank = subprocess.Popen([sys.executable, "-m", "tests.serving.stubs", "trainer", *words])
    sys.exit(rank.wait())


def run(port, how, folder):
    def start(asked):
        log = Path(asked.output_dir, "vllm-server.log")
        return Server(asked.command, os.environ, asked.host, asked.port, log)

    train = [sys.executable, "-m", "tests.serving.stubs", "launcher", str(port), how, folder]
    tree.PATIENCE = 1
    return tree.guarded(
        lambda: Supervisor(start).run(lambda each: each.on_one_machine(train, os.environ))
    )


if __name__ == "__main__":
    _, role, port, how, folder = sys.argv
    if role == "run":
        sys.exit(run(int(port), how, folder))
    elif role == "server":
        server(int(port), how)
    elif role == "launcher":
        launcher(port, how, folder)
    else:
        trainer(int(port), how, folder)
