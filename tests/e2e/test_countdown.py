"""Countdown's runs: the quickstart learns, and two tasks train as one."""

from concurrent.futures import ThreadPoolExecutor
from statistics import fmean

import pyarrow.parquet as parquet
import pytest

from axolotl_grpo_plugin.held_out import read_changes
from tests.e2e.conftest import finish, start


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Both configs, shortened, at the same time, a core each: their output folders."""
    folder = tmp_path_factory.mktemp("countdown")
    steps = {"quickstart": 80, "mixed-gsm8k": 4}
    running = [
        start(
            "train",
            f"configs/countdown/{name}.yaml",
            "--max-steps",
            count,
            "--output-dir",
            folder / name,
        )
        for name, count in steps.items()
    ]
    with ThreadPoolExecutor() as threads:  # their pipes are read at the same time
        list(threads.map(finish, running))
    return {name: folder / name for name in steps}


def test_held_out_correctness_rises(runs):
    changes = {
        change.mode: change
        for change in read_changes(runs["quickstart"] / "held_out.jsonl")
        if change.reward == "equation_reward_func"
    }
    assert changes.keys() == {"greedy", "sampled"}
    assert all(change.rows == 200 for change in changes.values())
    assert changes["sampled"].low > 0.0, changes


def test_two_tasks_train_as_one(runs):
    files = sorted((runs["mixed-gsm8k"] / "completions").glob("*.parquet"))
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
