"""Runs of the Countdown configs: the quickstart learns, and two tasks train together."""

from statistics import fmean

import pytest

from tests.e2e.conftest import held_out, train


@pytest.mark.seconds(40)
def test_held_out_correctness_rises(tmp_path):
    train("configs/countdown/quickstart.yaml", tmp_path, steps=80)
    changes = held_out(tmp_path, "equation_reward_func")
    assert all(change.rows == 200 for change in changes.values())
    assert changes["sampled"].low > 0.0, changes


def test_each_task_is_scored_by_its_own_reward(tmp_path):
    rows = train("configs/countdown/mixed-gsm8k.yaml", tmp_path, steps=4)
    rewards = {"sums": "equation_reward_func", "words": "correctness_reward_func"}
    scores = {name: [] for name in rewards}
    for row in rows:
        task = "sums" if "to make" in str(row["prompt"]) else "words"
        for name, reward in rewards.items():
            missing = row[reward] is None or row[reward] != row[reward]
            assert missing == (name != task)
            if not missing:
                scores[name].append(row[reward])
    assert all(fmean(each) > 0.0 for each in scores.values())  # both tasks can be learnt
