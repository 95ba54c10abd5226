"""`axolotl grpo lint`, on a user's rewards and a config."""

import json

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


@pytest.fixture(autouse=True)
def folder(working_folder, monkeypatch):
    monkeypatch.setattr(load, "_built", {})
    (working_folder / "rewards" / "ours.py").write_text(OURS)
    (working_folder / "my.yaml").write_text(CONFIG)


def call(*words):
    result = CliRunner().invoke(grpo, ["lint", *words, "--data", "my.yaml"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_table_names_each_attack_that_was_paid():
    code, printed = call("rewards.ours.anywhere", "--rows", "3")
    assert code == 1
    assert "It reads answer, so only a right answer may be paid. 3 rows." in printed
    (line,) = [each for each in printed.splitlines() if each.strip().startswith("hedge")]
    assert line.split()[:6] == ["hedge", "not", "pay", "3/3", "0.75", "PAID"], "the config's parameter is used"
    assert "9, maybe 5" in line, "the example is one line"
    assert max(map(len, printed.splitlines())) <= 100


def test_all_rewards_of_the_config_and_their_faults_as_json():
    code, printed = call("all", "--rows", "2", "--json")
    first, second = json.loads(printed)
    assert code == 1 and first["faults"] > 3
    assert (second["reward"], second["reads"]) == ("rewards.ours.tagged", [])
    assert {each["must"] for each in second["lines"] if each["attack"] == "another row's gold"} == {"may pay"}


def test_right_reward_without_fault_exits_with_0():
    code, printed = call("axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func", "--rows", "3")
    assert code == 0, printed
    assert "No fault." in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rewards.ours.anywere"], "Did you mean `anywhere`?"),
        (["all", "--arg", "pay=1"], "all takes no --arg"),
        (["rewards.ours.anywhere", "--arg", "py=1"], "no reward has this parameter"),
    ],
)
def test_reports_the_mistake(words, message):
    code, printed = call(*words)
    assert code and message in printed
