"""The reward for Countdown: write a target number with given numbers, each used once.

The task of TinyZero, Mini-R1 and GRPO-Zero, on a contract of its own: tests/rewards/test_countdown.py
has the completions with what each must score, among them those that won the rewards of the
originals without solving anything. Nothing that a model wrote is ever run.
"""

import ast
import json
import operator
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from axolotl_grpo_plugin.completions import find_answer
from axolotl_grpo_plugin.reward import Score, reward

LONGEST_ANSWER = 200  # characters: a bound on the parser's work, far above any solution's length

# The signs of typeset arithmetic. Each becomes one operator, so none can hide a number.
_TYPESET = {"×": "*", "÷": "/", "−": "-", r"\times": "*", r"\div": "/"}
# Nothing else reaches the parser: no name, call, comment, float, string or line break.
_ARITHMETIC = re.compile(r"[0-9+\-*/() ]+")
_DIGITS = re.compile(r"[0-9]+")
_INTEGER = re.compile(r"-?[0-9]+")
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@reward(
    range=(0.0, 1.0),
    reads=("nums", "target"),
    reasons="correct wrong_value wrong_numbers not_an_expression too_long no_answer_tag truncated empty_answer bad_gold".split(),
    inline=True,
)
def equation_reward_func(completion: str, nums: Any, target: Any) -> Score:
    r"""1.0 where the answer is an expression of exactly `nums` whose value is `target`, else 0.0.

    Each number once, no other; the operators + - * / (or typeset ones, \times too) between two
    operands, and parentheses; a sign before a number is none of them. The value is exact. "= target" may
    follow, and any other right side is wrong. None where the row is no problem (`read_problem`).

    Source: https://github.com/Jiayi-Pan/TinyZero (Apache-2.0), the name from Phil Schmid's Mini-R1.

    >>> equation_reward_func([""], ["<answer>8 / (3 - 8 / 3)</answer>"], nums=[[3, 3, 8, 8]], target=[24])
    [1.0]
    """
    problem = read_problem(nums, target)
    if problem is None:
        return Score(None, "bad_gold")
    found = find_answer(completion, ["tag"], in_reasoning=True)
    if found.text is None:
        return Score(0.0, found.problem)
    if len(found.text) > LONGEST_ANSWER:
        return Score(0.0, "too_long", found.text)
    reason = _judge(found.text, *problem)
    return Score(float(reason == "correct"), reason, found.text)


def read_problem(nums: Any, target: Any) -> tuple[list[int], int] | None:
    """The numbers and the target of a row, None where it has no such thing.

    nums: whole numbers, none negative, at least one; a list, or the JSON text of one. target: a
    whole number. Each may be text.

    >>> read_problem('[3, 3, 8, 8]', "24")
    ([3, 3, 8, 8], 24)
    """
    if isinstance(nums, str):
        try:
            nums = json.loads(nums)
        except (ValueError, RecursionError):
            return None
    if not isinstance(nums, list):
        return None
    numbers = [_whole(each) for each in nums]
    goal = _whole(target)
    known = [each for each in numbers if each is not None and each >= 0]
    return None if goal is None or not known or len(known) < len(numbers) else (known, goal)


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and len(value) < LONGEST_ANSWER and _INTEGER.fullmatch(value.strip()):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _judge(answer: str, nums: list[int], target: int) -> str:
    for sign, plain in _TYPESET.items():
        answer = answer.replace(sign, plain)
    left, equals, right = (part.strip() for part in answer.partition("="))
    if not _ARITHMETIC.fullmatch(left) or (equals and not _INTEGER.fullmatch(right)):
        return "not_an_expression"
    # As texts, so that "03" is no 3; and before parsing, so that a tree is as small as its row.
    if sorted(_DIGITS.findall(left)) != sorted(map(str, nums)):
        return "wrong_numbers"
    try:
        value = _value(ast.parse(left, mode="eval").body)
    except ZeroDivisionError:
        return "wrong_value"
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "not_an_expression"
    return "correct" if value == target and (not equals or int(right) == target) else "wrong_value"


def _value(node: ast.AST) -> Fraction:
    """The exact value. ValueError for anything but whole numbers and the four operators."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError(f"no arithmetic: {type(node).__name__}")
