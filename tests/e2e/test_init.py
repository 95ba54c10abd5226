"""The folder that `axolotl-grpo init` writes passes its tests, passes `check`, and trains."""

import subprocess
import sys

import pytest

from axolotl_grpo_plugin.commands.init import EMBEDDED
from tests.conftest import write_rows
from tests.e2e.conftest import axolotl, environment, held_out_answers, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Start from 120 rows with the columns q and a."""
    folder = tmp_path_factory.mktemp("init")
    rows = [{"q": f"What is {n} + 2?", "a": n + 2} for n in range(120)]
    write_rows(folder / "sums.jsonl", rows)
    axolotl("grpo", "init", "sums.jsonl", "--model", EMBEDDED, cwd=folder)
    return folder / "sums"


def test_new_folder_passes_its_tests_and_check(folder):
    command = [sys.executable, "-m", "pytest", "-q"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "  OK" in axolotl("grpo", "check", "grpo.yaml", "--gpus", 0, cwd=folder)


def test_new_folder_trains(folder):
    rows = train("grpo.yaml", folder / "out", cwd=folder)
    assert len(rows) == 2 * 16
    assert all("What is " in row["prompt"] for row in rows)
    assert {"reward/correctness_reward_func", "reward/xmlcount_reward_func"} <= rows[0].keys()
    reward = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
    assert "32 completions, 0 without a score, mean" in axolotl(
        "grpo", "reward", "score", folder / "out", "--reward", reward
    )
    held_out = {f"What is {n} + 2?" for n in range(12)}
    assert {answer["column/q"] for answer in held_out_answers(folder / "out")} == held_out
    assert not any(question in row["prompt"] for question in held_out for row in rows)
