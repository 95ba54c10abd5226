"""Every ending of a run, with stand-ins: its exit code, its messages, and that no process is left."""

import os
import signal
import subprocess
import time

import pytest

from tests.conftest import ROOT
from tests.serving.marks import hear_ctrl_c, marked, until
from tests.serving.stubs import free_port, stub


@pytest.fixture(autouse=True)
def ends(tmp_path):
    yield
    for process in marked(str(tmp_path)):  # left by a failed test
        process.kill()


class Run:
    def __init__(self, folder, train, serve="serves", **more):
        self.folder, self.mark, self.stderr = folder, str(folder), folder / "stderr"
        with self.stderr.open("w") as stderr:  # a pipe would stay open as long as any process
            self.process = subprocess.Popen(
                stub("run", str(free_port()), train, str(folder)),
                cwd=ROOT,
                env={**os.environ, "MARK": self.mark, "HOW": serve, **more},
                stderr=stderr,
                preexec_fn=hear_ctrl_c,
            )

    def serves(self):
        until(lambda: "vLLM serves" in self.stderr.read_text())
        # two supervisors, the launcher, the trainer, the server, and a child of each of the last two
        until(lambda: len(marked(self.mark)) == 7)

    def end(self):
        return self.process.wait(timeout=30), self.stderr.read_text()


@pytest.mark.parametrize(
    "train, serve, code, text",
    [
        ("never asks", "serves", 3, ""),
        ("ends", "serves", 0, ""),
        ("crashes", "serves", 5, ""),
        ("waits", "dies", 1, "ended while it started (exit code 1). Likely cause: length"),
        ("waits", "dies later", 1, "vLLM's server ended in mid-training (exit code 7)"),
    ],
)
def test_returns_the_exit_code_and_leaves_no_process(tmp_path, train, serve, code, text):
    run = Run(tmp_path, train, serve)
    ended, stderr = run.end()
    assert ended == code, stderr
    assert text in stderr
    assert marked(run.mark) == []
    assert (tmp_path / "saved").exists() is (train == "waits")  # told to save before it is ended


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_let_the_trainer_save(tmp_path, number):
    run = Run(tmp_path, "waits")
    run.serves()
    run.process.send_signal(number)
    code, _ = run.end()
    assert code == 128 + number
    assert (tmp_path / "saved").exists()
    assert marked(run.mark) == []


def test_signal_that_a_launcher_forwards_too_lets_the_trainer_save(tmp_path):
    """`timeout` signals a whole process group, in which `uv run` forwards the signal again."""
    run = Run(tmp_path, "waits")
    run.serves()
    (inner,) = [process for process in marked(run.mark) if process.ppid() == run.process.pid]
    for _ in range(3):
        run.process.send_signal(signal.SIGTERM)
        inner.send_signal(signal.SIGTERM)
        time.sleep(0.05)
    assert run.end()[0] == 128 + signal.SIGTERM
    assert (tmp_path / "saved").exists()
    assert marked(run.mark) == []


def test_sighup_stays_ignored_under_nohup(tmp_path):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run = Run(tmp_path, "waits")
    signal.signal(signal.SIGHUP, before)
    run.serves()
    run.process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGTERM)
    assert run.end()[0] == 128 + signal.SIGTERM
    assert marked(run.mark) == []


def test_ranks_that_share_a_model_end_their_step_before_they_save(tmp_path):
    run = Run(tmp_path, "waits", TOGETHER="1")
    run.serves()
    run.process.send_signal(signal.SIGTERM)
    code, stderr = run.end()
    assert code == 128 + signal.SIGTERM
    assert "SIGTERM: the step ends, and all ranks save, then the run ends." in stderr
    assert f"In {tmp_path}, there is no checkpoint, and no model is saved." in stderr
    assert (tmp_path / "saved").exists()
    assert marked(run.mark) == []


def test_second_signal_ends_at_once_and_says_what_is_on_disk(tmp_path):
    for step in (8, 12):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-8" / "trainer_state.json").write_text("{}")
    run = Run(tmp_path, "waits")
    run.serves()
    (trainer,) = marked(run.mark, "tests.serving.stubs trainer")
    trainer.suspend()  # it hangs, as in a collective operation
    run.process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    run.process.send_signal(signal.SIGINT)
    code, stderr = run.end()
    assert code == 130, stderr
    files = f"In {tmp_path}, checkpoint-8 is the last checkpoint, and no model is saved."
    assert f"the run ends at once. {files}" in stderr
    assert marked(run.mark) == []


@pytest.mark.parametrize("which", ["outer", "inner", "both"])
def test_killed_supervisors_leave_no_process(tmp_path, which):
    run = Run(tmp_path, "waits")
    run.serves()
    (inner,) = [process for process in marked(run.mark) if process.ppid() == run.process.pid]
    if which != "inner":
        run.process.send_signal(signal.SIGKILL)
    if which != "outer":
        inner.kill()
    code, _ = run.end()
    assert code == (-signal.SIGKILL if which != "inner" else 128 + signal.SIGKILL)
    # If both are killed, the processes that watch a supervisor end. The stubborn ones stay.
    watching = "tests.serving.stubs" if which == "both" else ""
    until(lambda: marked(run.mark, watching) == [])


def test_killed_launcher_leaves_no_process_that_hangs(tmp_path):
    run = Run(tmp_path, "waits")
    run.serves()
    (trainer,) = marked(run.mark, "tests.serving.stubs trainer")
    trainer.suspend()  # it saves nothing, as in a collective operation
    run.process.kill()
    until(lambda: marked(run.mark) == [], seconds=5)
