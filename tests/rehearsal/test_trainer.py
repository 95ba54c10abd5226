"""Trainings in forks, with a stand-in for Axolotl's command."""

import os
import signal
import sys
import time
from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.findings import END
from axolotl_grpo_plugin.processes import alive, start_fork
from axolotl_grpo_plugin.rehearsal import trainer
from axolotl_grpo_plugin.rehearsal.trainer import Trainings


@pytest.fixture
def rehearse(tmp_path, monkeypatch):
    """Return a function that runs a training in a process of its own, because a failure ends all below it."""
    monkeypatch.setattr(trainer, "MODULES", ())

    def run(main, ranks):
        def work(pipe):
            trainings = Trainings(tmp_path / "training.log", 2, ranks)
            what, log = trainings.train(["config.yaml"], offline=True)
            trainings.close()
            pipe.send((what, log.name))

        monkeypatch.setitem(sys.modules, "axolotl.cli.main", SimpleNamespace(main=main))
        process, pipe = start_fork(work)
        answer = pipe.recv()
        process.join()
        return answer

    return run


def write(text):
    os.write(1, text.encode())  # pytest replaces sys.stdout


def test_ranks_have_the_environment_of_torchrun(rehearse, tmp_path):
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR")

    def main():
        assert int(os.environ["MASTER_PORT"]) > 0
        write(" ".join(os.environ[name] for name in names))

    assert rehearse(main, ranks=2) == ("", "training.log")
    assert (tmp_path / "training.log").read_text() == "0 0 2 2 127.0.0.1"
    assert (tmp_path / "training-1.log").read_text() == "1 1 2 2 127.0.0.1"


def test_single_process_has_no_rank(rehearse):
    def main():
        assert "RANK" not in os.environ

    assert rehearse(main, ranks=1) == ("", "training.log")


def test_killed_rank_is_the_reason_and_nothing_of_it_is_left(rehearse, tmp_path):
    pids = tmp_path / "pids"

    def main():
        child = os.fork()  # as a worker of torch's DataLoader
        if not child:
            time.sleep(600)
        with pids.open("a") as file:
            print(os.getpid(), child, file=file)
        while len(pids.read_text().split()) < 4:
            time.sleep(0.01)
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)

    assert rehearse(main, ranks=2) == ("rank 1 was ended by SIGKILL", "training-1.log")
    assert not any(alive(int(pid)) for pid in pids.read_text().split())


def test_reason_is_that_of_the_rank_that_failed_first(rehearse):
    def main():
        if os.environ["RANK"] == "1":
            write("too short")
            sys.exit(1)
        time.sleep(600)

    what, log = rehearse(main, ranks=2)
    assert what.split() == ["the", "training", "failed:", "too", "short"]
    assert log == "training-1.log"


def test_reason_is_the_message_that_ends_the_run(rehearse):
    def main():
        with open(os.environ[END], "w") as file:
            file.write("no rows")
        sys.exit(1)

    what, _ = rehearse(main, ranks=1)
    assert what.split() == ["the", "training", "failed:", "no", "rows"]
