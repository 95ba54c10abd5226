"""A run in which no work ends any more is ended, with one line and without a process left."""

import json
import re
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import environment, finish, shipped_config, start, write
from tests.serving.marks import marked

LINE = (
    r"(?m)^axolotl-grpo-plugin: no step, generation or scoring has ended for {} s\. No sign came from {}\. The stacks"
)
RANKS = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
calls = []
pytestmark = pytest.mark.slow  # tests/training/test_stall.py tests the watchdog without a training


def hangs_later(prompts, completions, **_):
    """A reward that hangs in the third step."""
    calls.append(1)
    time.sleep(600 if len(calls) > 2 else 1)
    return [float(number) for number in range(len(completions))]


def run(folder, *launcher):
    """Run the script, and check that no process is left."""
    command = [sys.executable, *launcher, ROOT / "tests" / "e2e" / "stalls.py", folder]
    env = environment(PYTHONPATH=str(ROOT), MARK=str(folder), TMPDIR=str(folder))
    done = subprocess.run(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True, timeout=300)
    assert marked(str(folder)) == []
    return done


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stalls")
    assert (done := run(folder)).returncode == 0, done.stderr[-3000:]
    return folder


def test_only_hangs_end_a_run(ran):
    """Slow steps, held-out rows and saves do not, nor does an interrupt."""
    hangs = dict.fromkeys(("reward_model", "data_loader", "locked", "slow_start"), 1)
    assert json.loads((ran / "codes.json").read_text()) == {**hangs, "slow": 0, "interrupted": 0}
    assert (ran / "slow" / "checkpoint-1" / "trainer_state.json").exists()
    assert len(list(ran.glob("axolotl-grpo-*"))) == 1  # of the process that Python's own timer ended


@pytest.mark.parametrize(
    "name, seconds, place",
    [
        ("reward_model", "[345]", "training step, scoring, model"),
        ("data_loader", "[345]", "data loader"),
        ("slow_start", "[4-8]", "training step, scoring, late"),  # twice the first step's 2 to 4 polls
    ],
)
def test_line_names_the_place_and_the_log_has_the_stacks(ran, name, seconds, place):
    stderr = (ran / name / "stderr").read_text()
    assert len(re.findall(LINE.format(seconds, rf"rank 0 \(process \d+, sleeping\) in: {place}"), stderr)) == 1
    assert "in sleep" in (ran / name / "debug.log").read_text()


def test_hang_that_keeps_the_gil_ends_with_its_stacks(ran):
    log = (ran / "locked" / "debug.log").read_text()
    assert "Timeout (0:00:06)!" in log and "re/__init__.py" in log


def test_stopped_rank_is_named_and_killed(tmp_path):
    done = run(tmp_path, *RANKS)
    sign = r"rank 1 \(process \d+, stopped\) in: training step, scoring, late"
    assert done.returncode == 1 and len(re.findall(LINE.format(3, sign), done.stderr)) == 1
    assert "in gather" in (tmp_path / "debug.log").read_text()  # rank 0 waits
    assert not list(tmp_path.glob("axolotl-grpo-*"))


def test_grpo_train_ends_with_that_line_alone(tmp_path):
    reward = f"{__name__}.{hangs_later.__name__}"
    keys = {"trl__reward_funcs": [reward], "grpo_reward_isolation": "inline", "grpo_held_out_rows": None}
    config = shipped_config(**keys, grpo_stall_timeout=4, output_dir=str(tmp_path / "out"))
    process = start("grpo", "train", write(tmp_path, config), MARK=str(tmp_path))
    *_, last = finish(process, returncode=1).splitlines()
    assert re.match(LINE.format("[456]", ".*in: training step, scoring, hangs_later"), last)
    assert "in hangs_later" in (tmp_path / "out" / "debug.log").read_text()
    assert marked(str(tmp_path)) == []
