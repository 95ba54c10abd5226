from time import process_time

import pytest

from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.report.lenient import forms, reads_gold

GSM8K = load_reward(RewardRef("axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"))
MATH = load_reward(RewardRef("axolotl_grpo_plugin.rewards.math.accuracy_reward_func"))
ROW = {"answer": "18", "solution": "18"}


def is_right(reward, text, row):
    return reward.score(text, **{name: row[name] for name in reward.spec.reads}).value == (reward.highest)


def lenient(reward, text, row):
    return is_right(reward, text, row) or any(is_right(reward, form, row) for form in forms(text))


# The first is not closed, and neither is the box.
RIGHT = r"""<answer>18 | <answer>18</answer> | The answer is 18. | The answer is $18.00 per day. | <answer>17</answer> No, it is 18
    <reasoning>9 * 2 = 18</reasoning> | It is \boxed{18}, 20 at most. | It is \boxed{18"""
WRONG = "20 - 2 = 18 = 20-2 | It is 18 or 19 | It is -18 | It is 1,018 | It is 0.18 | It is 180 | eighteen | "


@pytest.mark.parametrize("reward", [GSM8K, MATH], ids=["gsm8k", "math"])
@pytest.mark.parametrize("completions, right", [(RIGHT, True), (WRONG, False)])
def test_last_box_or_number_decides(reward, completions, right):
    for completion in completions.replace("\n", "|").split("|"):
        assert lenient(reward, completion.strip(), ROW) is right, completion


def test_minus_after_a_number_is_an_operator():
    row = {"answer": "-5"}
    assert lenient(GSM8K, "x = -5", row) and lenient(GSM8K, "it costs -$5", row)
    assert not lenient(GSM8K, "15-5", row) and lenient(GSM8K, "15-5", {"answer": "5"})


@pytest.mark.parametrize(
    "path, has",
    [
        ("gsm8k.correctness_reward_func", True),
        ("math.accuracy_reward_func", True),
        ("gsm8k.strict_format_reward_func", False),
        ("countdown.equation_reward_func", False),
    ],
)
def test_reward_without_a_gold_answer_has_no_lenient_verdict(path, has):
    assert reads_gold(load_reward(RewardRef(f"axolotl_grpo_plugin.rewards.{path}"))) is has


@pytest.mark.parametrize("piece", ["1,", "-", "1,234", r"\boxed{", "1.", "<answer>", "$-", "}"])
def test_takes_linear_time(piece):
    times = []
    for count in (20_000, 160_000):
        start = process_time()
        assert lenient(GSM8K, piece * count, ROW) is False
        times.append(process_time() - start)
    assert times[1] < 25 * times[0] + 0.1
