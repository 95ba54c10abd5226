"""A run in which nothing ends any more is ended, with one line and without a process left."""

import json
import re
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.e2e.conftest import environment, finish, shipped_config, start, write
from tests.serving.marks import marked

pytestmark = pytest.mark.seconds(60)

SCRIPT = ROOT / "tests" / "e2e" / "stalls.py"
LINE = re.compile(
    r"^axolotl-grpo-plugin: no step, generation or scoring has ended for (\d+) s\. No sign came from (.*)\. "
    r"The stacks are in (\S+debug\.log)\.",
    re.M,
)
calls = []


def hangs_later(prompts, completions, **_):
    """A reward that hangs in the third step."""
    calls.append(1)
    time.sleep(600 if len(calls) > 2 else 1)
    return [float(number) for number in range(len(completions))]


def run(folder, *launcher):
    """Run the script. Return its exit code and its standard error."""
    (folder / "tmp").mkdir()
    with (folder / "stderr").open("w") as stderr:
        done = subprocess.run(
            [sys.executable, *launcher, SCRIPT, folder],
            cwd=ROOT,
            env=environment(PYTHONPATH=str(ROOT), MARK=str(folder), TMPDIR=str(folder / "tmp")),
            stderr=stderr,
            timeout=200,
        )
    return done.returncode, (folder / "stderr").read_text()


def signs(folder):
    return list((folder / "tmp").glob("axolotl-grpo-*"))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stalls")
    code, stderr = run(folder)
    assert code == 0, stderr[-3000:]
    return folder


@pytest.mark.parametrize(
    ("name", "place", "stack"),
    [
        ("reward_model", "training step, scoring, slow-model", "_calculate_rewards"),
        ("data_loader", "data loader", "get_batch_samples"),
    ],
)
def test_hang_ends_with_one_line_and_all_stacks(ran, name, place, stack):
    ((seconds, sign, log),) = LINE.findall((ran / name / "stderr").read_text())
    assert 3 <= int(seconds) < 6
    assert re.fullmatch(rf"rank 0 \(process \d+, sleeping\) in: {place}", sign)
    written = (ran / name / "debug.log").read_text()
    assert log == str(ran / name / "debug.log")
    assert f"in {stack}" in written and "in sleep" in written and "in _watch" in written


def test_hang_that_keeps_the_gil_ends_with_its_stacks(ran):
    log = (ran / "locked" / "debug.log").read_text()
    assert "Timeout (0:00:06)!" in log and "re/__init__.py" in log


def test_hangs_end_with_exit_code_1_and_no_process_left(ran):
    codes = json.loads((ran / "codes.json").read_text())
    ended = {name for name, code in codes.items() if code == 1}
    assert ended == {"reward_model", "data_loader", "locked", "slow_start"}
    assert marked(str(ran)) == []


def test_slow_steps_held_out_rows_and_saves_do_not_end_a_run(ran):
    assert json.loads((ran / "codes.json").read_text())["slow"] == 0
    assert (ran / "slow" / "held_out.jsonl").read_text().count("\n") == 8
    assert (ran / "slow" / "checkpoint-1" / "trainer_state.json").exists()


def test_default_limit_comes_from_the_slowest_unit_of_the_first_step_on(ran):
    ((seconds, _, _),) = LINE.findall((ran / "slow_start" / "stderr").read_text())
    assert 4 <= int(seconds) <= 8  # twice the first, which was 2 to 4 polls


@pytest.mark.parametrize("name", ["slow", "interrupted"])
def test_end_and_interrupt_leave_no_thread_and_no_patch(ran, name):
    assert (ran / "interrupted" / "interrupted").exists()
    assert json.loads((ran / name / "left").read_text()) == [[], True]


def test_no_signs_of_life_stay_on_the_disk(ran):
    assert len(signs(ran)) == 1  # of the process that Python's own timer ended


def test_stopped_rank_is_named_and_killed(tmp_path):
    code, stderr = run(tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    ((_, sign, _),) = LINE.findall(stderr)
    assert code == 1
    assert re.fullmatch(r"rank 1 \(process \d+, stopped\) in: training step, scoring, hangs", sign)
    log = (tmp_path / "debug.log").read_text()
    assert "Stacks of rank 0" in log and "in gather" in log
    assert marked(str(tmp_path)) == [] and signs(tmp_path) == []


def test_grpo_train_ends_with_that_line_alone(tmp_path):
    reward = f"{__name__}.{hangs_later.__name__}"
    changes = {"trl__reward_funcs": [reward], "grpo_reward_isolation": "inline", "grpo_held_out_rows": None}
    config = write(tmp_path, shipped_config(**changes, grpo_stall_timeout=4, output_dir=str(tmp_path / "out")))
    process = start("grpo", "train", config, MARK=str(tmp_path), TMPDIR=str(tmp_path))
    output = finish(process, returncode=1)
    ((_, sign, _),) = LINE.findall(output)
    assert sign.endswith("in: training step, scoring, hangs_later")
    assert len(output[output.index("axolotl-grpo-plugin: no step") :].splitlines()) == 1
    assert "in hangs_later" in (tmp_path / "out" / "debug.log").read_text()
    assert marked(str(tmp_path)) == [] and list(tmp_path.glob("axolotl-grpo-*")) == []
