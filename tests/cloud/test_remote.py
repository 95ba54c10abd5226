"""The container's side: files, exit codes, resume, and interruptions as Modal makes them."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from axolotl_grpo_plugin.cloud import remote
from axolotl_grpo_plugin.cloud.remote import STATE, fetch_line, place_of
from axolotl_grpo_plugin.serving.plan import AXOLOTL
from tests.cloud.project import write
from tests.serving.marks import hear_ctrl_c, marked

BODY = """
import json, signal, sys
from pathlib import Path
from axolotl_grpo_plugin.cloud import remote

def cancel(*_):  # as modal/_container_entrypoint.py does around a synchronous function
    from modal.exception import InputCancellation
    raise InputCancellation("Input was cancelled by user")

signal.signal(signal.SIGUSR1, cancel)
root = Path(sys.argv[1])
remote.UPLOAD, remote.WORK, remote.SAVING = root / "upload", root / "workspace", 1.5
remote.AXOLOTL = [sys.executable, str(root / "axolotl.py")]
remote.modal.current_function_call_id = lambda: "fc-1"
print("returned", remote.run(json.loads(sys.argv[2])))
"""
# Programs that stand for Axolotl.
TELLS = """
import json, os, sys
config = open("configs/a.yaml").read()
print("told" + json.dumps({"words": sys.argv[1:], "config": config, "cwd": os.getcwd()}))
"""
FAILS = "import os; print('last words'); os._exit(3)"
# The rank saves on SIGINT and ends with 0; its parent, a launcher, ends at once.
SAVES = """
import os, signal, sys, time
from pathlib import Path

def save(*_):
    time.sleep(0.5)
    Path("outputs/a/checkpoint-5").mkdir()
    Path("outputs/a/checkpoint-5/trainer_state.json").write_text("{}")
    sys.exit(0)

if os.fork():
    signal.pause()
signal.signal(signal.SIGINT, save)
print("trains")
time.sleep(600)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("trains")
time.sleep(600)
"""


class Container:
    """A container whose files are below root. Its processes have root as MARK in their environment."""

    def __init__(self, root):
        self.root, self.log = root, root / "log"
        self.work, self.output = root / "workspace", root / "workspace" / "outputs" / "a"
        self.work.mkdir()

    def start(self, axolotl, **keys):
        """Start the function with a stand-in for Axolotl."""
        write(self.root, "axolotl.py", text=axolotl)
        job = {"command": ["grpo", "train"], "config": "configs/a.yaml", "text": "rl: grpo\n"}
        job |= {"words": ["--learning-rate=1e-6"], "after": [], "output": "./outputs/a"}
        job |= {"volumes": {str(self.work / "outputs"): "runs"}, "resume": True} | keys
        words = [sys.executable, "-c", BODY, str(self.root), json.dumps(job)]
        with self.log.open("w") as output:
            own = {"stdout": output, "stderr": subprocess.STDOUT, "start_new_session": True}
            own |= {"preexec_fn": hear_ctrl_c, "env": {**os.environ, "MARK": str(self.root)}}
            self.process = subprocess.Popen(words, **own)
        return self

    def interrupt(self, *numbers):
        """Send the signals once the training has begun."""
        deadline = time.monotonic() + 60
        while "trains" not in (log := self.log.read_text()):
            assert self.process.poll() is None and time.monotonic() < deadline, log
            time.sleep(0.02)
        for number in numbers:
            os.kill(self.process.pid, number)
        return self

    def end(self):
        self.process.wait(timeout=60)
        return self.log.read_text()

    def run(self, axolotl=TELLS, **keys):
        """Run the function to its end, and return its output."""
        return self.start(axolotl, **keys).end()

    def checkpoint(self, number, state='{"global_step": 1}'):
        write(self.output, f"checkpoint-{number}/trainer_state.json", text=state)

    def state(self):
        return json.loads((self.output / STATE).read_text())


@pytest.fixture
def container(tmp_path):
    yield Container(tmp_path)
    for each in marked(str(tmp_path)):
        each.kill()


def told(log):
    """Return the words, the config and the folder that the stand-in got."""
    (line,) = [each for each in log.splitlines() if each.startswith("told")]
    return json.loads(line.removeprefix("told"))


def test_runs_on_the_uploaded_files(container):
    assert remote.AXOLOTL is AXOLOTL
    write(container.root, "upload/rewards/mine.py")
    log = container.run(text="rl: gdpo\n", after=["--num-processes", "1"])
    words = "grpo train configs/a.yaml --learning-rate=1e-6 -- --num-processes 1".split()
    assert told(log) == {"words": words, "config": "rl: gdpo\n", "cwd": str(container.work)}
    assert (container.work / "rewards" / "mine.py").exists() and log.endswith("returned 0\n")


@pytest.mark.parametrize(
    ("axolotl", "code"),
    [
        (FAILS, 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import sys; sys.exit(137)", 137),
    ],
)
def test_exit_code_is_returned(container, axolotl, code):
    log = container.run(axolotl)
    assert log.endswith(f"returned {code}\n") and container.state()["finished"] is False
    assert ("memory ran out. Raise memory in cloud.yaml" in log) is (code == 137)


def test_volumes_are_committed_at_the_end(container, modal_service):
    modal_service.put_volume("runs")
    assert container.run().endswith("returned 0\n")
    assert len(modal_service.named("VolumeCommit")) == 1


def test_continues_from_the_newest_complete_checkpoint(container):
    container.run(FAILS)
    container.checkpoint(9)
    container.checkpoint(10)
    container.checkpoint(20, state='{"global_st')
    log = container.run()
    assert "axolotl-grpo-plugin: this run continues from checkpoint-10\n" in log
    assert told(log)["words"][-1] == "--resume-from-checkpoint=./outputs/a/checkpoint-10"
    assert container.state()["finished"] is True and container.state()["call"] == "fc-1"
    refused, returned = container.run().splitlines()[-2:]
    assert "a finished run of configs/a.yaml is there" in refused and returned == "returned 1"


def test_starts_again_without_a_complete_checkpoint(container):
    container.run(FAILS)
    container.checkpoint(10, state="")
    assert told(container.run())["words"][-1] == "--learning-rate=1e-6"


def test_refuses_to_overwrite_another_runs_model(container):
    container.run(FAILS, words=[])
    write(container.output, "adapter_model.safetensors")
    log = container.run()
    assert "with another config or other options wrote a model" in log
    assert log.endswith("returned 1\n") and "told" not in log


def test_explicit_resume_is_kept_until_an_interruption(container):
    by_hand = {"words": ["--resume-from-checkpoint=./outputs/a/checkpoint-10"], "resume": False}
    container.checkpoint(10)
    assert told(container.run(**by_hand))["words"][3:] == by_hand["words"]
    container.run(FAILS, **by_hand)
    container.checkpoint(20)
    last = told(container.run(**by_hand))["words"][-1]
    assert last == "--resume-from-checkpoint=./outputs/a/checkpoint-20"


def test_preprocess_and_outputs_off_volumes_write_no_state(container):
    for _ in range(2):
        assert container.run(command=["preprocess"], words=[]).endswith("returned 0\n")
        assert container.run(output="./elsewhere").endswith("returned 0\n")
    assert not (container.output / STATE).exists()


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGUSR1, "InputCancellation")],
    ids=["preempted", "cancelled"],
)
def test_interrupted_run_saves_ends_and_continues(container, number, raised):
    assert raised in container.start(SAVES).interrupt(number).end()
    assert marked(str(container.root)) == []
    assert "this run continues from checkpoint-5\n" in container.run()


def test_process_that_ignores_the_interruption_is_ended_after_saving(container):
    container.start(STUBBORN).interrupt()
    before = time.monotonic()
    container.interrupt(signal.SIGINT, signal.SIGUSR1).end()
    assert 1.5 < time.monotonic() - before < 15


@pytest.mark.parametrize(
    ("output", "place"),
    [
        ("outputs/a/", ("runs", "a")),
        ("./outputs", ("runs", "/")),
        ("./outputs/big/a", ("big", "a")),
        ("./x/../outputs/a", ("runs", "a")),
        ("//cache//a", ("cache", "a")),
        ("./outputs-2/a", None),
        ("/tmp/a", None),
    ],
)
def test_place_on_a_volume(output, place):
    volumes = {"/workspace/outputs": "runs", "/workspace/outputs/big": "big", "/cache": "cache"}
    assert place_of(output, volumes) == place


@pytest.mark.parametrize(
    ("mount", "output", "line"),
    [
        ("/workspace/outputs", "x y/../outputs/x y/b", "mkdir -p 'x y/../outputs/x y' && modal volume get runs 'x y/b' 'x y/../outputs/x y'"),
        ("/workspace/a", "./a", "mkdir -p a && modal volume get runs / a"),
        ("/runs", "/runs/b/a", "modal volume get runs b/a ."),
    ],
)  # fmt: skip
def test_fetch_line(mount, output, line):
    assert fetch_line({"output": output, "volumes": {mount: "runs"}}) == line


def test_error_names_the_whole_volume_if_the_output_is_its_root(container):
    container.checkpoint(1)
    log = container.run(volumes={str(container.output): "runs"})
    assert "or delete it: `modal volume delete runs`." in log
