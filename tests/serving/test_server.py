"""The causes that vLLM's log shows when its server dies. The lines come from vLLM 0.30."""

import os
import signal
import sys
from pathlib import Path

import pytest

from axolotl_grpo_plugin.serving.request import Request
from axolotl_grpo_plugin.serving.server import VLLMServer, cause_of, first_error


@pytest.mark.parametrize("cause, line", [
    ("memory", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."),
    ("memory", "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`"),
    ("memory", "ValueError: Free memory on device cuda:0 (3.1/23.6 GiB) on startup is less than desired GPU memory utilization (0.9, 21.2 GiB)."),
    ("memory", "ValueError: Available memory on node 0 (21.5/23.4 GiB) on startup is less than desired CPU memory utilization (0.995, 23.3 GiB)."),
    ("length: one sequence", "ValueError: To serve at least one request with the models's max seq len (32768), (1.75 GiB KV cache is needed, which is larger than the available KV cache memory (0.9 GiB)."),
    ("length: vllm.max_model_len is more", "Value error, User-specified max_model_len (9999) is greater than the derived max_model_len (max_position_embeddings=8192)"),
    ("port", "OSError: [Errno 98] Address already in use"),
    ("model: the hub", "huggingface_hub.errors.GatedRepoError: 401 Client Error"),
    ("model: vLLM", "OSError: nobody/nothing is not a local folder and is not a valid model identifier"),
    ("vllm.tensor", "Value error, Total number of attention heads (9) must be divisible by tensor parallel size (2)."),
])  # fmt: skip
def test_names_the_cause_of_death(cause, line):
    named, fix = cause_of(f"INFO: something before\n{line}\nINFO: something after")
    assert named.startswith(cause)
    assert fix


def test_shows_the_first_error_and_not_the_ones_that_wrap_it():
    log = Path(__file__).with_name("vllm_cpu_memory.log").read_text().splitlines()
    assert "RuntimeError: Engine core initialization failed. See root cause above" in log[-1]
    assert first_error(log).startswith("ValueError: Available memory on node 0 (")
    assert cause_of("\n".join(log))[0].startswith("memory")


def test_explains_a_killed_server_with_its_own_part_of_the_log(tmp_path):
    log = tmp_path / "vllm-server.log"
    log.write_text("CUDA out of memory, in an earlier run\n")
    code = f"import os; print('loads', flush=True); os.kill(os.getpid(), {int(signal.SIGKILL)})"
    request = Request([sys.executable, "-c", code], {}, "127.0.0.1", 9, str(tmp_path))
    server = VLLMServer(request, os.environ)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    assert str(server.explain_end("while it started")) == (
        "vLLM's server was ended while it started by signal 9, which the kernel sends when memory "
        f"runs out. See its log.\nloads\n(Whole log: {log})"
    )
