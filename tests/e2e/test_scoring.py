"""Axolotl trainings with rewards that hang, crash and return no numbers, and a training that is killed."""

import signal
import time
from pathlib import Path

import pytest

from axolotl_grpo_plugin.rewards.gsm8k import correctness_reward_func
from axolotl_grpo_plugin.scoring.guard import TOO_SLOW
from tests.e2e.conftest import axolotl, curves, fork, kill, rollouts, shipped_config, write

GOOD = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
BAD = ("raises", "no_number", "too_few", "hangs", "eats_memory", "exits")
STEPS = 24
LIMITS = {"grpo_reward_timeout": 0.1, "grpo_reward_batch_timeout": 1.4, "grpo_reward_memory": 1.0}
HERE = "tests.scoring.rewards_that_fail"


def config(folder, bad=BAD, **changes):
    """Write the quickstart with bad rewards beside the good one into a new folder."""
    folder.mkdir()
    changed = shipped_config(
        trl__reward_funcs=[GOOD, *(f"{HERE}.{name}" for name in bad)],
        output_dir=str(folder / "out"),
        grpo_held_out_rows=None,
        test_datasets=None,
        grpo_rollouts=True,
        **{**LIMITS, **changes},
    )
    return write(folder, changed)


def left_of(session):
    """Return the processes of a session that do not end within 15 seconds."""
    deadline = time.monotonic() + 15
    while (left := _session(session)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def _session(number):
    left = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = status.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue  # it has ended
        if int(session) == number and state != "Z":
            left.append(status.parent.name)
    return left


TRAINERS = {"default": {}, "producer": {"trl__use_data_producer": True}}


@pytest.fixture(scope="module", params=["default", pytest.param("producer", marks=pytest.mark.slow)])
def trained(request, tmp_path_factory):
    """The folder and session of a run in the default trainer, and of one in the async trainer."""
    folder = tmp_path_factory.mktemp("bad") / request.param
    lifted = {"grpo_reward_error_limit": 1.0, "max_steps": STEPS, **TRAINERS[request.param]}
    ended = fork("train", config(folder, **lifted))
    assert ended.returncode == 0, ended.output[-6000:]
    return folder, ended.pid


def test_good_reward_learns_beside_six_bad_ones(trained):
    folder, session = trained
    assert not left_of(session)
    curve = curves(folder / "out")
    good = curve["rewards/correctness_reward_func/mean"]
    assert sum(good[-10:]) / 10 > sum(good[:10]) / 10 + 0.2

    def shares(name):  # a curve begins with its first value above 0
        values = curve.get(name, [])
        return [0.0] * (STEPS - len(values)) + values

    for name in BAD:
        failed = zip(shares(f"reward_errors/{name}"), shares(f"reward_timeouts/{name}"), strict=True)
        if name == "no_number":  # three per batch of 64
            assert {errors for errors, _ in failed} <= {3 / 64, 0.0}
        elif name != "eats_memory":  # it may use up its CPU time first, which is a score
            assert all(errors + late == 1.0 for errors, late in failed)
    assert "reward_errors/correctness_reward_func" not in curve
    reasons = [
        shares(f"reward_reasons/correctness_reward_func/{reason}") for reason in correctness_reward_func.spec.reasons
    ]
    assert all(0.99 < sum(step) <= 1.01 for step in zip(*reasons, strict=True))


def test_every_rollout_is_logged_with_its_rewards_and_reasons(trained):
    folder, _ = trained
    logged = rollouts(folder / "out")
    assert logged.groupby("step").size().to_dict() == dict.fromkeys(range(1, STEPS + 1), 64)
    right = logged["reason/correctness_reward_func"] == "correct"
    earned = logged["reward/correctness_reward_func"]
    assert (earned[right] == 2.0).all() and (earned[~right] == 0.0).all()
    shares = right.groupby(logged["step"]).mean()
    assert curves(folder / "out")["reward_right/correctness_reward_func"] == pytest.approx([*shares], abs=1e-4)
    assert (logged["reward"] == earned + logged["reward/no_number"].fillna(0.0)).all()
    assert logged["read/correctness_reward_func"][right].notna().all()
    assert logged["error/raises"].notna().all()
    used_its_time = logged["reason/eats_memory"] == TOO_SLOW  # before it ran out of memory
    assert (logged["error/eats_memory"].notna() | used_its_time).all()
    advantages = logged.groupby(["step", "prompt"])["advantage"].sum()
    assert advantages.abs().max() < 1e-3
    assert logged["column/answer"].notna().all()


def test_default_error_limit_stops_the_run_with_one_error(tmp_path):
    shown = axolotl("train", config(tmp_path / "limit", bad=("raises_on_an_answer",)), returncode=1)
    (line,) = [line for line in shown.splitlines() if "axolotl-grpo-plugin: " in line]
    assert f"the reward {HERE}.raises_on_an_answer failed in 64 of 64 scores of one batch (step 0)" in line
    assert "The first error, for the prompt that ends in" in line
    assert "ZeroDivisionError: division by zero" in line
    assert "grpo_reward_error_limit (now 0.05)" in shown


def test_killed_run_leaves_its_rollouts_and_no_process(tmp_path):
    folder = tmp_path / "killed"
    file = config(folder, bad=("hangs",), grpo_reward_error_limit=1.0, max_steps=100)
    written = folder / "out" / "rollouts" / "train"
    ended = kill("train", file, when=lambda: len(list(written.glob("*.parquet"))) >= 4)
    assert ended.returncode == -signal.SIGKILL and not left_of(ended.pid)
    before = rollouts(folder / "out")
    steps = before["step"].max()
    assert before.groupby("step").size().to_dict() == dict.fromkeys(range(1, steps + 1), 64)
