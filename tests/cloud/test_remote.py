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


class Container:
    """root: for its files; all processes that run there have it in their environment."""

    def __init__(self, root):
        self.root, self.said = root, root / "said"
        self.work, self.output = root / "workspace", root / "workspace" / "outputs" / "a"
        self.work.mkdir()

    def axolotl(self, source):
        """Set the stand-in's source."""
        (self.root / "axolotl.py").write_text(source)
        return self

    def job(self, **keys):
        own = {"command": ["grpo", "train"], "config": "configs/a.yaml", "text": "rl: grpo\n"}
        own |= {"words": ["--learning-rate=1e-6"], "after": [], "output": "./outputs/a"}
        own |= {"volumes": {str(self.work / "outputs"): "runs"}, "resume": True}
        return own | keys

    def start(self, **keys):
        env = {**os.environ, "MARK": str(self.root)}
        job = json.dumps(self.job(**keys))
        words = [sys.executable, "-c", BODY, str(self.root), job]
        with self.said.open("w") as output:
            own = {"stdout": output, "stderr": subprocess.STDOUT, "env": env}
            own |= {"preexec_fn": hear_ctrl_c, "start_new_session": True}
            self.process = subprocess.Popen(words, **own)
        return self

    def signal(self, number):
        os.kill(self.process.pid, number)
        return self

    def until(self, text):
        """Wait for a text among the output."""
        deadline = time.monotonic() + 60
        while text not in self.said.read_text():
            assert self.process.poll() is None and time.monotonic() < deadline, (
                self.said.read_text()
            )
            time.sleep(0.02)
        return self

    def end(self):
        """Return the output, once it has ended."""
        self.process.wait(timeout=60)
        return self.said.read_text()

    def run(self, **keys):
        return self.start(**keys).end()

    def processes(self):
        return marked(str(self.root))


TELLS = """
import json, sys
from pathlib import Path
config = Path("configs/a.yaml").read_text()
print("told" + json.dumps({"words": sys.argv[1:], "config": config, "cwd": str(Path.cwd())}))
"""
FAILS = "import os; print('last words'); os._exit(3)"
# The rank saves on SIGINT and ends with 0; its parent, a launcher, ends at once.
SAVES = """
import os, signal, sys, time
from pathlib import Path

def save(*_):
    time.sleep(0.5)
    Path("outputs/a/saved").touch()
    print("saved")
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


@pytest.fixture
def container(tmp_path):
    made = Container(tmp_path).axolotl(TELLS)
    yield made
    for each in made.processes():
        each.kill()


def told(text):
    (line,) = [each for each in text.splitlines() if each.startswith("told")]
    return json.loads(line.removeprefix("told"))


def state(container):
    return json.loads((container.output / STATE).read_text())


def checkpoint(container, number, text='{"global_step": 1}'):
    folder = container.output / f"checkpoint-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trainer_state.json").write_text(text)


def test_runs_on_the_files_that_were_sent(container):
    assert remote.AXOLOTL is AXOLOTL
    (container.root / "upload" / "rewards").mkdir(parents=True)
    (container.root / "upload" / "rewards" / "mine.py").write_text("1")
    said = container.run(text="rl: gdpo\n", after=["--num-processes", "1"])
    words = [
        "grpo",
        "train",
        "configs/a.yaml",
        "--learning-rate=1e-6",
        "--",
        "--num-processes",
        "1",
    ]
    assert told(said) == {"words": words, "config": "rl: gdpo\n", "cwd": str(container.work)}
    assert (container.work / "rewards" / "mine.py").read_text() == "1"
    assert said.endswith("returned 0\n")


@pytest.mark.parametrize(
    ("axolotl", "code"),
    [
        (FAILS, 3),
        ("raise SystemExit(255)", 255),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import sys; sys.exit(137)", 137),
    ],
)
def test_exit_code_is_returned(container, axolotl, code):
    said = container.axolotl(axolotl).run()
    assert said.endswith(f"returned {code}\n") and state(container)["finished"] is False
    assert ("memory ran out. Raise memory in cloud.yaml" in said) is (code == 137)


def test_volumes_are_committed_at_the_end(container, modal_service):
    modal_service.put_volume("runs")
    assert container.run().endswith("returned 0\n")
    assert len(modal_service.named("VolumeCommit")) == 1


def test_continues_from_the_newest_complete_checkpoint(container):
    container.axolotl(FAILS).run()
    checkpoint(container, 9)
    checkpoint(container, 10)
    checkpoint(container, 20, text='{"global_st')
    said = container.axolotl(TELLS).run(after=[])
    assert "axolotl-grpo-plugin: this run continues from checkpoint-10\n" in said
    assert told(said)["words"][-1] == "--resume-from-checkpoint=./outputs/a/checkpoint-10"
    assert state(container)["finished"] is True
    assert state(container)["call"] == "fc-1"
    refused, returned = container.run().splitlines()[-2:]
    assert "a finished run of configs/a.yaml is there" in refused and returned == "returned 1"


def test_starts_again_without_a_complete_checkpoint(container):
    container.axolotl(FAILS).run()
    checkpoint(container, 10, text="")
    assert told(container.axolotl(TELLS).run())["words"][-1] == "--learning-rate=1e-6"


@pytest.mark.parametrize(
    ("before", "model", "said"),
    [
        ({"text": "rl: gdpo\n"}, False, "with another text or other options reached checkpoint-10"),
        ({"words": []}, True, "with another text or other options reached a model"),
        (None, False, "checkpoint-10 is there without cloud-run.json"),
        (None, True, "a model is there without cloud-run.json"),
    ],
)
def test_refuses_to_overwrite_another_runs_output(container, before, model, said):
    if before:
        container.axolotl(FAILS).run(**before)
    container.output.mkdir(parents=True, exist_ok=True)
    if model:
        (container.output / "adapter_model.safetensors").touch()
    else:
        checkpoint(container, 10)
    found = container.axolotl(TELLS).run()
    assert found.endswith("returned 1\n") and said in found and "told" not in found


def test_explicit_resume_is_left_alone_until_it_is_interrupted(container):
    by_hand = {"words": ["--resume-from-checkpoint=./outputs/a/checkpoint-10"], "resume": False}
    checkpoint(container, 10)
    assert told(container.run(**by_hand))["words"][3:] == by_hand["words"]
    container.axolotl(FAILS).run(**by_hand)
    checkpoint(container, 20)
    again = told(container.axolotl(TELLS).run(**by_hand))["words"]
    assert again[-1] == "--resume-from-checkpoint=./outputs/a/checkpoint-20"


def test_preprocess_and_outputs_off_volumes_keep_no_state(container):
    for _ in range(2):
        assert container.run(command=["preprocess"], words=[]).endswith("returned 0\n")
        assert container.run(output="./elsewhere").endswith("returned 0\n")
    assert not (container.output / STATE).exists()


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGUSR1, "InputCancellation")],
    ids=["preempted", "cancelled"],
)
def test_interrupted_run_saves_and_ends(container, number, raised):
    container.axolotl(SAVES).start().until("trains").signal(number)
    said = container.end()
    assert raised in said and "saved\n" in said
    assert (container.output / "saved").exists() and container.processes() == []


def test_stubborn_run_is_waited_for_no_longer_than_saving(container):
    container.axolotl(STUBBORN).start().until("trains")
    before = time.monotonic()
    container.signal(signal.SIGINT).signal(signal.SIGUSR1).end()
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


def test_whole_volume_is_named_in_the_fix(container):
    volumes = {str(container.output): "runs"}
    checkpoint(container, 1)
    assert "or delete it: `modal volume delete runs`." in container.run(volumes=volumes)
