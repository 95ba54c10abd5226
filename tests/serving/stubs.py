"""Stand-ins for vLLM's server and the trainer: small processes that start in seconds.

tests/e2e/test_supervisor.py starts them, and tests/e2e/test_serving.py the real ones.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from axolotl_grpo_plugin import processes
from axolotl_grpo_plugin.serving.request import FILE, SUPERVISOR, Request, served
from axolotl_grpo_plugin.serving.saver import Saver
from axolotl_grpo_plugin.serving.server import VLLMServer
from axolotl_grpo_plugin.serving.supervisor import Supervisor

VLLM = {
    "/health": {},
    "/v1/models": {"data": [{"id": "a-model", "max_model_len": 64}]},
    "/openapi.json": {"paths": {"/get_world_size": {}, "/v1/load_lora_adapter": {}}},
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stub(role, port, how, folder):
    """Return the command that plays a role of this module."""
    return [sys.executable, "-m", "tests.serving.stubs", role, port, how, folder]


def serve(port, pages):
    """Return an HTTP server of these pages, {path: JSON}."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(json.dumps(pages.get(self.path)).encode())

        def log_message(self, *_):
            pass

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def stubborn():
    """Start a process in a new session that ignores SIGTERM, as vLLM's engine may."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


def server(port, how):
    if how == "dies":
        sys.exit("ValueError: User-specified max_model_len (99999) is greater than the derived max_model_len")
    stubborn()
    if how == "dies later":
        signal.setitimer(signal.ITIMER_REAL, 2)
        signal.signal(signal.SIGALRM, lambda *_: os._exit(7))
    serve(port, VLLM).serve_forever()


def trainer(port, how, folder):
    def saves(*_):
        Path(folder, "saved").touch()
        sys.exit(0)  # as Axolotl does

    signal.signal(signal.SIGINT, saves)
    Saver(os.getpid(), together="TOGETHER" in os.environ).announce()
    processes.end_with(int(os.environ[SUPERVISOR]))
    stubborn()
    if how == "never asks":
        sys.exit(3)
    command = stub("server", str(port), os.environ["HOW"], folder)
    file = Path(os.environ[FILE])
    Request(command, {}, "127.0.0.1", port, folder).write(file)
    while how != "crashes" and not served(file).exists():
        time.sleep(0.1)
    while how == "waits":
        time.sleep(0.1)
    sys.exit({"ends": 0, "crashes": 5}[how])


def launcher(*words):
    """Wait for the rank, and end at once on Ctrl-C, as accelerate does."""
    sys.exit(subprocess.Popen(stub("trainer", *words)).wait())


def run(port, how, folder):
    train = stub("launcher", str(port), how, folder)
    supervisor = Supervisor(lambda request: VLLMServer(request, os.environ), train, os.environ, folder)
    processes.TERM_TIMEOUT = 1
    return processes.guarded(lambda: supervisor.run(supervisor.on_one_machine))


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
