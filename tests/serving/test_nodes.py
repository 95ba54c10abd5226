"""The serving node and the training nodes of a Slurm job. Threads stand for nodes, without Slurm."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from axolotl_grpo_plugin.processes import end_signals
from axolotl_grpo_plugin.serving import supervisor
from axolotl_grpo_plugin.serving.request import Request
from axolotl_grpo_plugin.serving.server import VLLMServer
from axolotl_grpo_plugin.serving.supervisor import Stopped, Supervisor
from tests.conftest import ROOT, script
from tests.serving.marks import marked, until
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


def test_first_node_serves_until_a_signalled_training_has_saved(first, monkeypatch):
    """Slurm signals all nodes at once. A trainer may need the server to end its step."""
    serve_until_end = Supervisor._serve_until_end
    signals = [signal.SIGTERM]

    def is_signalled_first(self, *arguments):
        if signals:
            raise Stopped(signals.pop())
        return serve_until_end(self, *arguments)

    monkeypatch.setattr(Supervisor, "_serve_until_end", is_signalled_first)
    first.start()
    assert first.train(0, code=0) == 0
    time.sleep(0.2)
    assert first.is_alive() and first.server.runs()
    assert first.train(1, code=143) == 143
    first.join(5)
    assert first.code == 143


SAVES = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.5)
    pathlib.Path("saved").write_text(str(pathlib.Path("n2.exit-code").exists()))
    sys.exit()
signal.signal(signal.SIGINT, save)
pathlib.Path("trains").touch()
time.sleep(60)
"""


def test_training_node_reports_its_end_after_the_save(first, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in end_signals()}
    first.start()

    def signal_this_node():
        until((tmp_path / "trains").exists)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=signal_this_node, daemon=True).start()
    node = Supervisor(first.serve, [sys.executable, "-c", SAVES], os.environ, "")
    code = node.run(lambda: node.on_a_training_node("127.0.0.1", first.port, first.codes[0]))
    for number, handler in before.items():
        signal.signal(number, handler)
    assert code == 143
    assert (tmp_path / "saved").read_text() == "False"
    assert first.codes[0].read_text() == "143"
    first.join(5)
    assert first.code == 143


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


def test_batch_script_leaves_time_to_save_and_keeps_the_log_of_a_restarted_job():
    """By default Slurm kills a job 30 s after SIGTERM, and a restarted job writes over its log."""
    options = re.findall(r"^#SBATCH (--\S+)$", (ROOT / "configs/multinode/slurm.sbatch").read_text(), re.M)
    assert {"--signal=TERM@300", "--requeue", "--open-mode=append"} <= {*options}
