"""The serving node and the training nodes of a Slurm job, with threads for nodes. No Slurm was here."""

import os
import signal
import sys
import threading
import time

import pytest

from axolotl_grpo_plugin.serving import supervisor
from axolotl_grpo_plugin.serving.request import Request
from axolotl_grpo_plugin.serving.server import Server
from axolotl_grpo_plugin.serving.supervisor import Supervisor
from tests.serving.marks import marked
from tests.serving.stubs import VLLM, serve
from tests.serving.test_supervisor import ROOT, free_port


class FirstNode(threading.Thread):
    """Serves two training nodes with a stand-in for vLLM."""

    def __init__(self, folder):
        super().__init__()
        self.port, self.ended = free_port(), [folder / "n2.exit-code", folder / "n3.exit-code"]
        words = ["server", str(self.port), "serves", str(folder)]
        command = [sys.executable, "-m", "tests.serving.stubs", *words]
        self.request = Request(command, {}, "127.0.0.1", self.port, str(folder), 0)
        self.server, self.code = None, None

    def start_server(self, asked):
        env = {**os.environ, "PYTHONPATH": str(ROOT), "MARK": asked.output_dir}
        log = self.ended[0].with_name("log")
        self.server = Server(asked.command, env, asked.host, asked.port, log)
        return self.server

    def run(self):
        self.code = Supervisor(self.start_server).on_the_first_node(self.request, self.ended)

    def train(self, number, code):
        train = [sys.executable, "-c", f"import sys; sys.exit({code})"]
        address = ("127.0.0.1", self.port, self.ended[number])
        return Supervisor(self.start_server).on_a_training_node(train, os.environ, *address)


@pytest.fixture
def first(tmp_path):
    yield FirstNode(tmp_path)
    for each in marked(str(tmp_path)):
        each.kill()


def test_first_node_serves_until_all_training_nodes_have_ended(first):
    first.ended[1].write_text("9")  # of an earlier try of the same job
    first.start()
    assert first.train(0, code=0) == 0
    time.sleep(0.5)
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


def test_training_node_gives_up_when_no_server_answers(first, monkeypatch, capsys):
    monkeypatch.setattr(supervisor, "BOOT", 0.5)
    assert first.train(0, code=0) == 1
    assert "no vLLM server answers" in capsys.readouterr().err
    assert not first.ended[0].exists()


def test_training_node_does_not_train_against_another_service(first, monkeypatch):
    monkeypatch.setattr(supervisor, "BOOT", 0.5)
    other = serve(first.port, {"/health": VLLM["/health"]})
    threading.Thread(target=other.serve_forever, daemon=True).start()
    assert first.train(0, code=0) == 1
    other.shutdown()
    other.server_close()
