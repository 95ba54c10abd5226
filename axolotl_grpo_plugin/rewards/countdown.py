"""The reward for Countdown: write a target number with given numbers, each used once.

TinyZero, Mini-R1 and GRPO-Zero train on this task. Model text is never executed.
"""

import ast
import json
import operator
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from axolotl_grpo_plugin.completions import find_answer, without_marks
from axolotl_grpo_plugin.reward import Score, reward

LONGEST_ANSWER = 200  # characters: bounds the parser's work; solutions are far shorter

# The operators of typeset arithmetic.
_TYPESET = {
    **dict.fromkeys(["×", "·", "⋅", r"\times", r"\cdot"], "*"),
    **dict.fromkeys(["÷", r"\div"], "/"),
    **dict.fromkeys(["−", "–"], "-"),
}
_LAYOUT = re.compile(r"\\(?:left|right|,|;|!)(?![a-zA-Z])")
# A fraction without another one in it.
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
# The parser gets no other character: no name, call, comment, float, string or line break.
_ARITHMETIC = re.compile(r"[0-9+\-*/() ]+")
_DIGITS = re.compile(r"[0-9]+")
_INTEGER = re.compile(r"-?[0-9]+")
_OPERATORS: dict[type[ast.operator], Callable[..., Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@reward(
    range=(0.0, 1.0),
    reads=("nums", "target"),
    reasons=(
        "correct",
        "wrong_value",
        "wrong_numbers",
        "not_an_expression",
        "too_long",
        "no_answer_tag",
        "truncated",
        "empty_answer",
        "bad_gold",
    ),
    inline=True,
)
def equation_reward_func(completion: str, nums: Any, target: Any) -> Score:
    r"""Return 1.0 if the answer is an expression of exactly `nums` with the value `target`, else 0.0.

    The expression has each number once and no other. It may have parentheses and the operators + - * /
    (also \times, \cdot, \div and \frac) between two operands, but no sign before a number. The value is exact.
    "= target" may follow. The score is None if the row is not a problem (`read_problem`).

    Source: https://github.com/Jiayi-Pan/TinyZero (Apache-2.0), the name from Phil Schmid's Mini-R1.

    >>> equation_reward_func([""], ["<answer>8 / (3 - 8 / 3)</answer>"], nums=[[3, 3, 8, 8]], target=[24])
    [1.0]
    """
    problem = read_problem(nums, target)
    if problem is None:
        return Score(None, "bad_gold")
    answer = find_answer(completion, ["tag"], in_reasoning=True)
    if answer.text is None:
        return Score(0.0, answer.problem)
    if len(answer.text) > LONGEST_ANSWER:
        return Score(0.0, "too_long", answer.text)
    reason = _reason(answer.text, *problem)
    return Score(float(reason == "correct"), reason, answer.text)


def read_problem(nums: Any, target: object) -> tuple[list[int], int] | None:
    """Return the numbers and the target of a row, or None if one of them cannot be read.

    Args:
        nums: A list, or its JSON text, of at least one whole number. Each is 0 or more.
        target: A whole number.

    Each number may be text.

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
    goal = _whole(target)
    numbers = []
    for value in nums:
        number = _whole(value)
        if number is None or number < 0:
            return None
        numbers.append(number)
    if goal is None or not numbers:
        return None
    return numbers, goal


def _whole(value: object) -> int | None:
    if isinstance(value, str):
        is_short = len(value) < LONGEST_ANSWER
        return int(value) if is_short and _INTEGER.fullmatch(value.strip()) else None
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value


def _reason(answer: str, nums: list[int], target: int) -> str:
    answer = _in_ascii(without_marks(answer))
    left, equals, right = answer.partition("=")
    left, right = left.strip(), right.strip()
    if not _ARITHMETIC.fullmatch(left):
        return "not_an_expression"
    if equals and not _INTEGER.fullmatch(right):
        return "not_an_expression"
    # Compare texts, so that "03" is not 3. Compare before parsing, so that the tree stays small.
    if sorted(_DIGITS.findall(left)) != sorted(map(str, nums)):
        return "wrong_numbers"
    try:
        value = _value(ast.parse(left, mode="eval").body)
    except ZeroDivisionError:
        return "wrong_value"
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "not_an_expression"
    stated = int(right) if equals else target
    return "correct" if value == target == stated else "wrong_value"


def _in_ascii(answer: str) -> str:
    """Return typeset arithmetic with the operators of ASCII."""
    answer = _LAYOUT.sub("", answer)
    for sign, operator_sign in _TYPESET.items():
        answer = answer.replace(sign, operator_sign)
    changes = 1
    while changes:
        answer, changes = _FRACTION.subn(r"((\1)/(\2))", answer)
    return answer


def _value(node: ast.AST) -> Fraction:
    """Return the exact value. Raises: ValueError if a node is not a whole number or an operator."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        calculate = _OPERATORS[type(node.op)]
        return calculate(_value(node.left), _value(node.right))
    raise ValueError(f"{type(node).__name__} is not arithmetic")
