"""The serving node and the training nodes of a Slurm job. Threads stand for nodes, without Slurm."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from axolotl_grpo_plugin.serving import supervisor
from axolotl_grpo_plugin.serving.request import Request
from axolotl_grpo_plugin.serving.server import VLLMServer
from axolotl_grpo_plugin.serving.supervisor import Supervisor
from tests.conftest import ROOT, script
from tests.serving.marks import marked
from tests.serving.stubs import VLLM, free_port, stub


class FirstNode(threading.Thread):
    """Serves two training nodes with a stand-in for vLLM."""

    def __init__(self, folder):
        super().__init__()
        self.port, self.codes = free_port(), [folder / "n2.exit-code", folder / "n3.exit-code"]
        command = stub("server", str(self.port), "serves", str(folder))
        self.request = Request(command, {}, "127.0.0.1", self.port, str(folder))

    def serve(self, request):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "MARK": request.output_dir}
        self.server = VLLMServer(request, env)
        return self.server

    def run(self):
        self.code = Supervisor(self.serve, [], {}, "").on_the_first_node(self.request, self.codes)

    def train(self, number, code):
        """Return the exit code of a training node whose trainer ends with `code`."""
        train = [sys.executable, "-c", f"import sys; sys.exit({code})"]
        supervisor = Supervisor(self.serve, train, os.environ, "")
        return supervisor.on_a_training_node("127.0.0.1", self.port, self.codes[number])


@pytest.fixture
def first(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "_POLL_EVERY", 0.02)
    yield FirstNode(tmp_path)
    for process in marked(str(tmp_path)):
        process.kill()


def test_first_node_serves_until_all_training_nodes_have_ended(first):
    first.codes[1].write_text("9")  # of an earlier try of the same job
    first.start()
    assert first.train(0, code=0) == 0
    time.sleep(0.2)
    assert first.is_alive()
    assert first.train(1, code=0) == 0
    first.join(5)
    assert first.code == 0


def test_first_node_ends_with_the_code_of_a_failed_trainer(first):
    first.start()
    assert first.train(1, code=7) == 7
    first.join(5)
    assert first.code == 7


def test_first_node_fails_when_its_server_dies(first):
    first.start()
    first.train(0, code=0)
    os.kill(first.server.pid, signal.SIGKILL)
    first.join(5)
    assert first.code == 1


@pytest.mark.parametrize("another_service", [False, True])
def test_training_node_gives_up_without_a_vllm_server(first, listens, monkeypatch, capsys, another_service):
    monkeypatch.setattr(supervisor, "BOOT_TIMEOUT", 0.1)
    if another_service:
        listens({"/health": VLLM["/health"]}, first.port)
    assert first.train(0, code=0) == 1
    assert "no vLLM server answers" in capsys.readouterr().err
    assert not first.codes[0].exists()


def test_batch_script_gives_the_tasks_the_cores_that_it_requests(tmp_path):
    """Since Slurm 22.05, srun reads its own variable only."""
    script(tmp_path / "srun", 'echo "$SRUN_CPUS_PER_TASK $@"')
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "32"}
    words = ["bash", ROOT / "configs/multinode/slurm.sbatch", "a.yaml"]
    ended = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith("32 --kill-on-bad-exit=1") and ended.stdout.endswith("train a.yaml\n")
