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
from tests.cloud.conftest import modal_service, no_keys, no_token  # noqa: F401
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
remote.UPLOAD, remote.WORK = root / "upload", root / "workspace"
remote.AXOLOTL = [sys.executable, str(root / "axolotl.py")]
remote.modal.current_function_call_id = lambda: "fc-1"
print("returned", remote.run(remote.CloudJob(**json.loads(sys.argv[2]))))
"""
# Programs that stand for Axolotl.
TELLS = """
import json, os, sys
told = {"words": sys.argv[1:], "config": open("configs/a.yaml").read(), "cwd": os.getcwd()}
print("told" + json.dumps(told))
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


class Container:
    """A container whose files are below root. Its processes have root as MARK in their environment."""

    def __init__(self, root):
        self.root, self.log = root, root / "log"
        self.work, self.output = root / "workspace", root / "workspace" / "outputs" / "a"
        self.work.mkdir()

    def run(self, axolotl=TELLS, signals=(), **keys):
        """Run the function with a stand-in for Axolotl. Send the signals when it trains."""
        write(self.root, "axolotl.py", text=axolotl)
        job = {"config": "configs/a.yaml", "text": "rl: grpo\n"}
        job |= {"words": ["--learning-rate=1e-6"], "after": [], "output": "./outputs/a"}
        job |= {"volumes": {str(self.work / "outputs"): "runs"}, "resume": True} | keys
        words = [sys.executable, "-c", BODY, str(self.root), json.dumps(job)]
        with self.log.open("w") as output:
            own = {"stdout": output, "stderr": subprocess.STDOUT, "start_new_session": True}
            own |= {"preexec_fn": hear_ctrl_c, "env": {**os.environ, "MARK": str(self.root)}}
            process = subprocess.Popen(words, **own)
        while signals and "trains" not in self.log.read_text():
            assert process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        for number in signals:
            os.kill(process.pid, number)
        process.wait(timeout=60)
        return self.log.read_text()

    def checkpoint(self, number, state='{"global_step": 1}'):
        write(self.output, f"checkpoint-{number}/trainer_state.json", text=state)

    def state(self):
        return json.loads((self.output / STATE).read_text())


@pytest.fixture
def container(tmp_path):
    yield Container(tmp_path)
    for process in marked(str(tmp_path)):
        process.kill()


def told(log):
    """Return the words, the config and the folder that the stand-in got."""
    (line,) = [line for line in log.splitlines() if line.startswith("told")]
    return json.loads(line.removeprefix("told"))


def test_runs_on_the_uploaded_files_and_commits_the_volume(container, modal_service):  # noqa: F811
    assert remote.AXOLOTL is AXOLOTL
    modal_service.put_volume("runs")
    write(container.root, "upload/rewards/mine.py")
    log = container.run(text="rl: gdpo\n", after=["--num-processes", "1"])
    words = "grpo train configs/a.yaml --learning-rate=1e-6 -- --num-processes 1".split()
    assert told(log) == {"words": words, "config": "rl: gdpo\n", "cwd": str(container.work)}
    assert (container.work / "rewards" / "mine.py").exists() and log.endswith("returned 0\n")
    assert len(modal_service.named("VolumeCommit")) == 1


@pytest.mark.parametrize("axolotl, code", [(FAILS, 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_exit_code_is_returned(container, axolotl, code):
    log = container.run(axolotl)
    assert log.endswith(f"returned {code}\n") and container.state()["finished"] is False
    assert ("memory ran out. Raise memory in cloud.yaml" in log) is (code == 137)


def test_continues_from_the_newest_complete_checkpoint(container):
    container.run(FAILS)
    container.checkpoint(20, state='{"global_st')
    assert told(container.run(TELLS + FAILS))["words"][-1] == "--learning-rate=1e-6"
    container.checkpoint(9)
    container.checkpoint(10)
    log = container.run()
    assert "axolotl-grpo-plugin: this run continues from checkpoint-10\n" in log
    assert told(log)["words"][-1] == "--resume-from-checkpoint=./outputs/a/checkpoint-10"
    assert container.state()["finished"] is True
    refused, returned = container.run().splitlines()[-2:]
    assert "a finished run of configs/a.yaml is there" in refused and returned == "returned 1"


def test_refuses_to_overwrite_another_runs_model(container):
    container.run(FAILS, words=[])
    write(container.output, "adapter_model.safetensors")
    log = container.run(volumes={str(container.output): "runs"})
    assert "with another config or other options wrote a model" in log
    assert "or delete it: `modal volume delete runs`." in log  # the output is all of the Volume
    assert log.endswith("returned 1\n") and "told" not in log


def test_explicit_resume_is_kept_until_an_interruption(container):
    by_hand = {"words": ["--resume-from-checkpoint=./outputs/a/checkpoint-10"], "resume": False}
    container.checkpoint(10)
    assert told(container.run(**by_hand))["words"][3:] == by_hand["words"]
    container.run(FAILS, **by_hand)
    container.checkpoint(20)
    last = told(container.run(**by_hand))["words"][-1]
    assert last == "--resume-from-checkpoint=./outputs/a/checkpoint-20"


@pytest.mark.parametrize(
    "call, code",
    [("fc-another", 1), ("fc-ended", 0), ("fc-1", 0)],
    ids=["another run trains", "another run has ended", "a retry of the same call"],
)
def test_checks_again_that_no_other_run_has_the_folder(container, modal_service, call, code):  # noqa: F811
    modal_service.claim("runs/a", call=call)
    log = container.run()
    assert log.endswith(f"returned {code}\n")
    assert (container.output / STATE).exists() is not bool(code)
    assert modal_service.claims()["runs/a"]["call"] == ("fc-another" if code else "fc-1")


def test_output_off_volumes_is_written(container):
    assert container.run(output="./elsewhere").endswith("returned 0\n")
    assert not (container.output / STATE).exists()


@pytest.mark.parametrize(
    "signals, raised",
    [
        ([signal.SIGINT, signal.SIGUSR1], "KeyboardInterrupt"),  # preempted; the second is ignored
        ([signal.SIGUSR1], "InputCancellation"),
    ],
)
def test_interrupted_run_saves_ends_and_continues(container, signals, raised):
    assert raised in container.run(SAVES, signals)
    assert marked(str(container.root)) == []
    assert "this run continues from checkpoint-5\n" in container.run()


VOLUMES = {"/workspace/outputs": "runs", "/workspace/outputs/big": "big", "/cache": "cache"}


@pytest.mark.parametrize(
    "output, line",
    [
        ("outputs/a/", "mkdir -p outputs && modal volume get runs a outputs"),
        ("./outputs", "mkdir -p outputs && modal volume get runs / outputs"),
        ("./outputs/big/a", "mkdir -p outputs/big && modal volume get big a outputs/big"),
        ("x y/../outputs/b", "mkdir -p 'x y/../outputs' && modal volume get runs b 'x y/../outputs'"),
        ("//cache//b/a", "modal volume get cache b/a ."),
    ],
)
def test_fetch_line_names_the_place_on_a_volume(output, line):
    assert fetch_line(output, VOLUMES) == line


@pytest.mark.parametrize("output", ["./outputs/../a", "./outputs-2/a", "/tmp/a"])
def test_output_off_volumes_has_no_place(output):
    assert place_of(output, VOLUMES) is None
