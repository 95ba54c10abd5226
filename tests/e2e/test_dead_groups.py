"""Dead prompt groups of rewards that are fractions: every place counts the same ones, and none trains."""

import re

import pytest

from axolotl_grpo_plugin.viewer.run import RunRecord
from tests.e2e.conftest import axolotl, curves, rollouts, shipped_config, write

STEPS, GROUP = 25, 8
REWARD = """
def fraction(prompts, completions, **_):
    # Nine prompts in ten have one reward for all completions. In float32, the mean of eight 2.9 is not 2.9.
    marks = [sum(map(ord, str(prompt))) % 10 for prompt in prompts]
    return [0.37 * mark or len(str(text)) / 10 for mark, text in zip(marks, completions)]

def third(completions, **_):
    return [1 / 3] * len(completions)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run, and what the run printed."""
    folder = tmp_path_factory.mktemp("dead")
    (folder / "rewards_of_fractions.py").write_text(REWARD)
    config = shipped_config(
        trl__reward_funcs=["rewards_of_fractions.fraction", "rewards_of_fractions.third"],
        grpo_rollouts=True,
        grpo_held_out_rows=None,
        test_datasets=None,
        max_steps=STEPS,
        save_strategy="steps",
        save_steps=STEPS,
        output_dir=str(folder / "out"),
    )
    return folder / "out", axolotl("train", write(folder, config), cwd=folder)


def shares(trained):
    """Return the share of dead groups per step, counted from the scores in the rollout log."""
    totals = rollouts(trained[0]).assign(total=lambda rows: rows["reward/fraction"] + rows["reward/third"])
    spread = totals.groupby(["step", "prompt"])["total"].agg(lambda scores: scores.max() - scores.min())
    return (spread < 1e-5).groupby("step").mean().tolist()


def test_tensorboard_and_the_bar_show_the_share_that_the_scores_have(trained):
    expected = shares(trained)
    assert 0.7 < sum(expected) / STEPS < 1
    assert curves(trained[0])["frac_reward_zero_std"] == pytest.approx(expected)
    shown = re.findall(r"dead (\d+)%", trained[1])
    assert {f"{share:.0%}" for share in expected} == {f"{number}%" for number in shown}


def test_advantages_of_dead_groups_are_exactly_zero(trained):
    groups = rollouts(trained[0]).groupby(["step", "prompt"])
    spread = groups["reward/fraction"].agg(lambda scores: scores.max() - scores.min())
    largest = groups["advantage"].agg(lambda advantages: advantages.abs().max())
    assert (largest[spread == 0] == 0).all()
    assert (largest[spread > 0] > 0.5).all()


def test_health_and_card_name_the_share_of_the_last_steps(trained):
    expected = f"{sum(shares(trained)[:20]) / 20:.0%} teach nothing"
    assert expected in trained[1]
    assert expected in (trained[0] / "README.md").read_text()


def test_viewer_counts_the_same_groups(trained):
    steps = RunRecord(trained[0]).data()["steps"]
    assert [step["dead"] for step in steps] == pytest.approx(shares(trained), abs=1e-3)
