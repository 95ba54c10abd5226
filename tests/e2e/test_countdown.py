"""Countdown's runs: the quickstart learns, and two tasks train as one."""

from statistics import fmean

import pyarrow.parquet as parquet

from axolotl_grpo_plugin.held_out import read_changes
from tests.e2e.conftest import axolotl


def test_held_out_correctness_rises(tmp_path):
    arguments = ("--max-steps", 80, "--output-dir", tmp_path)
    axolotl("train", "configs/countdown/quickstart.yaml", *arguments)
    changes = {
        change.mode: change
        for change in read_changes(tmp_path / "held_out.jsonl")
        if change.reward == "equation_reward_func"
    }
    assert changes.keys() == {"greedy", "sampled"}
    assert all(change.rows == 200 for change in changes.values())
    assert changes["sampled"].low > 0.0, changes


def test_two_tasks_train_as_one(tmp_path):
    arguments = ("--max-steps", 4, "--output-dir", tmp_path)
    axolotl("train", "configs/countdown/mixed-gsm8k.yaml", *arguments)
    files = sorted((tmp_path / "completions").glob("*.parquet"))
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
