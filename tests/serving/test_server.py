"""What vLLM's log shows when its server dies. The lines are those of vLLM 0.30."""

import os
import signal
import sys
import threading

import pytest

from axolotl_grpo_plugin.serving import server as server_module
from axolotl_grpo_plugin.serving.address import answer
from axolotl_grpo_plugin.serving.server import Server, cause_of
from tests.serving.stubs import VLLM, serve


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "memory"),
        (
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
            "memory",
        ),
        (
            "ValueError: Free memory on device cuda:0 (3.1/23.6 GiB) on startup is less than desired GPU memory utilization (0.9, 21.2 GiB).",
            "memory",
        ),
        (
            "ValueError: To serve at least one request with the models's max seq len (32768), (1.75 GiB KV cache is needed, which is larger than the available KV cache memory (0.9 GiB).",
            "length: one sequence",
        ),
        (
            "Value error, User-specified max_model_len (9999) is greater than the derived max_model_len (max_position_embeddings=8192)",
            "length: vllm.max_model_len is more",
        ),
        ("OSError: [Errno 98] Address already in use", "port"),
        ("huggingface_hub.errors.GatedRepoError: 401 Client Error", "model: the hub"),
        (
            "OSError: nobody/nothing is not a local folder and is not a valid model identifier",
            "model: vLLM",
        ),
        (
            "Value error, Total number of attention heads (9) must be divisible by tensor parallel size (2).",
            "vllm.tensor",
        ),
    ],
)
def test_names_the_cause_of_death(line, cause):
    found, fix = cause_of(f"INFO: something before\n{line}\nINFO: something after")
    assert found.startswith(cause)
    assert fix


def test_another_server_on_the_port_is_not_ready(tmp_path):
    """Two runs that were started within one boot."""
    other = serve(0, VLLM)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    port = other.server_address[1]
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = Server(sleeps, os.environ, "127.0.0.1", port, tmp_path / "log")
    assert answer("127.0.0.1", port).models
    assert not server.ready()
    os.kill(server.pid, signal.SIGKILL)
    other.shutdown()
    other.server_close()


def test_ready_without_knowing_the_ports_owner(tmp_path, monkeypatch):
    """A container's, as gVisor: what answers where it was free before is the server, while it lives."""
    monkeypatch.setattr(server_module, "listening", lambda port: None)
    answers = serve(0, VLLM)
    threading.Thread(target=answers.serve_forever, daemon=True).start()
    port = answers.server_address[1]
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = Server(sleeps, os.environ, "127.0.0.1", port, tmp_path / "log")
    assert server.ready()
    os.kill(server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    assert not server.ready()
    answers.shutdown()
    answers.server_close()


def test_unknown_cause_is_none():
    assert cause_of("INFO: Application startup complete.") is None
