"""`axolotl grpo score --against` and `--weights`, on a small rollout log."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from axolotl_grpo_plugin import load
from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.commands import replay
from axolotl_grpo_plugin.runlog.schema import save, write

OURS = """
from axolotl_grpo_plugin.reward import Score, reward


@reward(range=(0.0, 1.0), reads="answer")
def loose(completion: str, answer: str, digits: int = 1) -> Score:
    return Score(float(completion[-digits:] == answer[-digits:]), f"last_{digits}")
"""
# Two prompt groups. The log paid only the exact text, and only in the first.
TEXTS = [["18", "it is 18", "28", "7"], ["8", "a 9", "6", "5"]]
GOLDS = ["18", "19"]


@pytest.fixture(autouse=True)
def run(working_folder, monkeypatch):
    monkeypatch.setattr(load, "_built", {})
    (working_folder / "rewards" / "ours.py").write_text(OURS)
    rows = [(group, text) for group, texts in enumerate(TEXTS) for text in texts]
    right = [float(text == GOLDS[group]) for group, text in rows]
    short = [float(len(text) == 1) for _, text in rows]
    columns = {
        "attempt": [1] * 8, "step": [3] * 8, "rank": [0] * 8, "mode": ["train"] * 8,
        "prompt": [f"p{group}" for group, _ in rows],
        "completion": [text for _, text in rows],
        "column/answer": [GOLDS[group] for group, _ in rows],
        "reward/exact": right,
        "reason/exact": ["correct" if each else "wrong" for each in right],
        "reward/short": short,
        "reason/short": [""] * 8,
        "reward": [a + 0.5 * b for a, b in zip(right, short, strict=True)],
        "discarded": [False] * 8,
    }  # fmt: skip
    write(working_folder / "run" / "rollouts", 0, columns)
    # This group never trained.
    write(working_folder / "run" / "rollouts", 1, {**columns, "discarded": [True] * 8})
    return "run"


def call(*words):
    result = CliRunner().invoke(grpo, ["score", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def changes(*words):
    code, printed = call(*words, "--json")
    assert code == 0, printed
    return json.loads(printed[printed.index("[") :])  # after a note


LOOSE = ["--reward", "rewards.ours.loose"]


def test_counts_flips_and_groups_that_wake(run):
    (found,) = changes(run, *LOOSE, "--against", "exact")
    assert (found["gained"], found["lost"], found["groups"]) == (3, 0, 2)
    assert (found["dead"], found["woken"]) == (0, 1)
    # Group 1: advantages of 1,0,0,0 and 1,1,1,0. Their signs differ for two of eight completions.
    assert found["signs"] == pytest.approx(2 / 8)
    (reverse,) = changes(run, *LOOSE, "--against", "exact", "--limit", "4")
    assert reverse["correlation"] == pytest.approx(1 / 3, abs=1e-3)


def test_leaves_out_steps_that_a_later_attempt_repeats_and_says_so(run):
    for file in Path("run/rollouts/train").iterdir():
        shutil.copy(file, file.with_name(file.name.replace("001-", "002-", 1)))
    code, printed = call(run, *LOOSE, "--against", "exact")
    assert (code, printed.count("against exact, 2 prompt groups")) == (0, 1)
    assert "16 rollouts of earlier attempts are left out" in printed


def test_groups_of_one_prompt_are_told_apart_also_if_the_dataset_has_such_columns(run):
    columns = {"attempt": [1] * 4, "step": [1] * 4, "group": [0, 0, 1, 1], "prompt": ["p"] * 4}
    columns |= {"completion": ["18", "19", "18", "18"], "reward/a": [1.0, 0.0, 1.0, 1.0], "reward": [1.0, 0, 1, 1]}
    columns |= {f"column/{name}": ["18"] * 4 for name in ("group", "step", "answer")}
    save(Path("own.parquet"), columns)
    (found,) = changes("own.parquet", *LOOSE, "--against", "a")
    assert (found["groups"], found["correlation"]) == (2, pytest.approx(1))
    Path("rewards/reads.py").write_text(OURS.replace("answer", "group"))
    (found,) = changes("own.parquet", "--reward", "rewards.reads.loose", "--against", "a")
    assert found["correlation"] == pytest.approx(1)


def test_weights_of_the_completions_of_trl_need_no_reward(run):
    columns = {"step": [1, 1], "prompt": ["p", "p"], "completion": ["a", "b"], "r": [1.0, 0.0], "s": [0.0, 0.5]}
    pq.write_table(pa.table({**columns, "advantage": [1.0, -1.0]}), "completions_00001.parquet")
    assert "TRL's completions lack the weights of the run" in call("completions_00001.parquet", "--weights", "1,4")[1]
    (found,) = changes("completions_00001.parquet", "--weights", "1,4")
    assert found["correlation"] == pytest.approx(-1)


def test_shows_reasons_and_examples_of_flips(run):
    code, printed = call(run, *LOOSE, "--against", "exact")
    assert code == 0
    assert "against exact, 2 prompt groups" in printed
    assert "3  now paid: wrong -> last_1\n         row 1: it is 18\n" in printed


def test_compares_two_rewards_that_are_not_in_the_log(run):
    (found,) = changes(run, *LOOSE, "--against", "rewards.ours.loose")
    assert (found["gained"], found["lost"], found["signs"]) == (0, 0, 0)
    assert found["correlation"] == pytest.approx(1)


def test_repeated_argument_makes_a_line_each(run):
    found = changes(run, *LOOSE, "--against", "exact", "--arg", "digits=1", "--arg", "digits=2")
    assert [(each["label"], each["gained"]) for each in found] == [("digits=1", 3), ("digits=2", 1)]


def test_weights_of_the_log_need_no_reward(run):
    found = changes(run, "--weights", "1,0.5", "--weights", "1,0")
    assert [each["label"] for each in found] == ["weights 1,0.5", "weights 1,0"]
    assert found[0]["correlation"] == pytest.approx(1), "these are the weights of the run"
    assert (found[1]["lost"], found[1]["dead"]) == (4, 1)


def test_advantages_are_trls():
    found = replay.advantages([1.0, 0.0, None, 0.0, 5.0], [[0, 1, 2, 3], [4]])
    assert found == pytest.approx([1.1545, -0.5773, 0, -0.5773, 0], abs=1e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--weights", "1"], "--weights 1: 2 numbers are needed, one per reward"),
        ([], "Name a --reward, or --weights"),
        ([*LOOSE, "--against", "exakt"], "--reward exakt: not a path"),
    ],
)
def test_reports_the_mistake(run, words, message):
    code, printed = call(run, *words)
    assert code and message in printed
