"""`axolotl-grpo reward attack`, on a user's rewards and a config."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from axolotl_grpo_plugin import load
from axolotl_grpo_plugin.cli import grpo

OURS = """
from axolotl_grpo_plugin.reward import reward


@reward(range=(0.0, 1.0), reads="answer")
def anywhere(completion: str, answer: str, pay: float = 1.0) -> float:
    return pay * (answer in completion)


@reward(range=(0.0, 0.5))
def tagged(completion: str) -> float:
    return 0.5 * ("<answer>" in completion and any(c.isalnum() for c in completion.split("<answer>")[1][:9]))


def gone(completions, **columns):
    return [float(gold == text) for gold, text in zip(columns["solution"], completions)]


@reward(range=(0.0, 1.0), reads="question")
def by_other_name(completion: str, question: str) -> float:
    return 0.0


@reward(range=(0.0, 1.0), reads="answer")
def as_number(completion: str, answer: str) -> float:
    return float(completion == int(answer))


def gives_none(completions, answer, **columns):
    return [None] * len(completions)


def asked(row):
    return {"prompt": row["question"], **row}
"""
CONFIG = """
rl: grpo
trl:
  reward_funcs: [rewards.ours.anywhere, rewards.ours.tagged]
grpo_reward_args:
  rewards.ours.anywhere: {pay: 0.75}
datasets:
  - {path: pkg://axolotl_grpo_plugin/quickstart/train.jsonl, ds_type: json, type: axolotl_grpo_plugin.gsm8k}
"""
WITHOUT_GOLD = """
rl: grpo
trl: {reward_funcs: [rewards.ours.by_other_name]}
datasets: [{path: rows.jsonl, ds_type: json, type: rewards.ours.asked}]
"""


@pytest.fixture(autouse=True)
def folder(working_folder, monkeypatch):
    monkeypatch.setattr(load, "_built", {})
    (working_folder / "rewards" / "ours.py").write_text(OURS)
    (working_folder / "my.yaml").write_text(CONFIG)


def call(*words):
    result = CliRunner().invoke(grpo, ["reward", "attack", "my.yaml", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_table_names_each_attack_that_was_paid():
    code, printed = call("--reward", "ours.anywhere", "--limit", "3")
    assert code == 1
    assert "It reads answer, so only a right answer may be paid. 3 rows." in printed
    (line,) = [each for each in printed.splitlines() if each.strip().startswith("hedge")]
    assert line.split()[:6] == ["hedge", "at", "most", "0", "0.75", "PAID"], "the config's parameter is used"
    assert "9 or 5" in line, "the example is one line"
    assert max(map(len, printed.splitlines())) <= 100


def test_all_rewards_of_the_config_and_their_faults_as_json():
    code, printed = call("--limit", "2", "--json")
    first, second = json.loads(printed)
    assert code == 1 and first["faults"] > 3
    assert (second["reward"], second["reads"]) == ("rewards.ours.tagged", [])
    assert {each["must"] for each in second["lines"] if each["attack"] == "another row's gold"} == {"any score"}


def test_reward_that_pays_no_right_answer_exits_with_1():
    code, printed = call("--reward", "rewards.ours.as_number", "--limit", "2")
    assert code == 1
    assert "Faults: right, in all layouts." in printed
    assert "UNPAID 2/2" in printed and "It pays a right answer in no layout that was tried." in printed


def test_right_reward_without_fault_exits_with_0():
    code, printed = call("--reward", "gsm8k.correctness", "--limit", "3")
    assert code == 0, printed
    assert "No fault. Only these completions of 3 rows were tried" in printed


def test_reward_that_fails_for_every_completion_is_one_finding():
    code, printed = call("--reward", "rewards.ours.gone", "--json")
    (report,) = json.loads(printed)
    (line,) = report["lines"]
    assert (code, line["attack"], line["fault"]) == (1, "any completion", "failed")
    assert 'it reads "solution", which the rows lack (they have: answer, data_source, question)' in line["note"]


def test_says_why_an_attack_has_no_score():
    Path("rows.jsonl").write_text('{"question": "How many?"}\n{"question": "Why?"}\n')
    Path("my.yaml").write_text(WITHOUT_GOLD)
    code, printed = call("--reward", "ours.by_other_name")
    assert code == 0
    words = " ".join(printed.split())
    no_column = (
        "because the reward reads no gold answer of the rows (column answer, solution, ground_truth, gold, label)"
    )
    assert f"No right answer is known, {no_column}. attack" in words
    assert f"Not tried, {no_column}: all rows' golds; hedge; denial; number 5 % off; " in words
    assert "last paragraph has a number other than the answer: numbers of the prompt." in words
    assert "Not tried, because no right answer is paid: right, 40 lines of reasoning; right, CRLF" in words


def test_reward_that_gives_none_is_not_called_faultless():
    code, printed = call("--reward", "ours.gives_none")
    assert code == 0
    assert "It gives None to each completion" in printed and "No fault" not in printed


def test_reports_a_reward_whose_column_the_rows_lack():
    code, printed = call("--reward", "trl.rewards.accuracy_reward")
    assert code and 'it reads "solution", which the rows lack (they have: question, answer,' in printed
