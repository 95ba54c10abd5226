"""Countdown's runs: the quickstart learns, and two tasks train as one."""

from statistics import fmean

import pyarrow.parquet as parquet
import pytest

from axolotl_grpo_plugin.training.held_out import read_changes
from tests.e2e.conftest import axolotl


def train(name, steps, folder):
    """A config, shortened: its output folder."""
    more = ("--max-steps", steps, "--output-dir", folder)
    axolotl("train", f"configs/countdown/{name}.yaml", *more)
    return folder


@pytest.mark.seconds(40)
def test_held_out_correctness_rises(tmp_path):
    folder = train("quickstart", 80, tmp_path)
    changes = {
        change.mode: change
        for change in read_changes(folder / "held_out.jsonl")
        if change.reward == "equation_reward_func"
    }
    assert changes.keys() == {"greedy", "sampled"}
    assert all(change.rows == 200 for change in changes.values())
    assert changes["sampled"].low > 0.0, changes


def test_two_tasks_train_as_one(tmp_path):
    folder = train("mixed-gsm8k", 4, tmp_path)
    files = sorted((folder / "completions").glob("*.parquet"))
    assert len(files) == 4
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    rewards = {"sums": "equation_reward_func", "words": "correctness_reward_func"}
    scores = {name: [] for name in rewards}
    for row in rows:
        task = "sums" if "to make" in str(row["prompt"]) else "words"
        for name, reward in rewards.items():
            missing = row[reward] is None or row[reward] != row[reward]
            assert missing == (name != task)
            if not missing:
                scores[name].append(row[reward])
    assert all(fmean(each) > 0.0 for each in scores.values())  # both are there, and can be learnt
