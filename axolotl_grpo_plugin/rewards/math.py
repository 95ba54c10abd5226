r"""Accuracy for problems whose answers are LaTeX: MATH, NuminaMath, OpenR1-Math, and GSM8K too.

The answer is looked for after the reasoning (`</think>`, `</reasoning>`): in the last `<answer>` block,
within it in its `\boxed{}` if it has one; else in `\boxed{}`; else after `####`. A number in prose is
no answer. Boxes that differ, and a hedge ("17 or 18", "17, 18" where the gold is one value), are
none either: math-verify alone pays them. Two answers are compared as exact numbers where both are such
(fractions are answers here: "36/2" is 18; "9 * 2 = 18" is an equation and none), then as text in a
normal form, and only then by math-verify, which runs where it can be killed.
tests/rewards/test_math.py has the completions with what each must score.
"""

import re
import threading
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import math_verify
from math_verify.errors import TimeoutException

from axolotl_grpo_plugin.completions import after_reasoning, read_answer, read_boxes, read_number
from axolotl_grpo_plugin.reward import Score, reward

_LONGEST = 400  # characters of an answer: longer is prose, and costs time
_LARGEST_POWER = 1_000
_SECONDS = 5  # of math-verify's own limit, where no room stands around it
_CLOSE = 1e-6  # relative: what math-verify calls equal after rounding

_DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|limits)(?![a-zA-Z])|\\[!,;: ]|\\\(|\\\)|\\\[|\\\]|\\(?=\$)|\$|~|\s+"
    r"|\^\{?\\circ\}?|°|\\(?:degrees?|quad|qquad)(?![a-zA-Z])"
)
_WORDS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}")
_UNIT = re.compile(r"(?<=[0-9}])\\(?:text|mathrm|mbox)\s*\{\s*[^{}0-9,;]*\}(?:\^\{?[23]\}?)?$")
_ASSIGNED = re.compile(r"[a-zA-Z](?:\([a-zA-Z]\))?=(?!.*=)")
_POWER = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:\^(?:\{(-?[0-9]{1,6})\}|([0-9])))?"
_TERM = re.compile(rf"([+-]?){_POWER}")
_FRACTION = re.compile(r"([+-]?)\\frac\{([^{}]*(?:\{[^{}]*\})?)\}\{([^{}]*(?:\{[^{}]*\})?)\}")
_ROOT = re.compile(r"\{([0-9]{1,15})\}|([0-9])")
_GROUPED = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
_HEDGE = re.compile(r"\b(?:or|and|either|maybe)\b")
_TOWER = re.compile(r"\^[^+\-*/,=]*\^|\^\{?-?[0-9]{4,}|[0-9]{3,}!|!!|[0-9]{100,}")
_OPENING, _CLOSING = "([{", ")]}"
_ORDERED = ("()", "[]", "(]", "[)")


class Answer(NamedTuple):
    """text: in the normal form, words apart from it; None where there is none. problem: then why."""

    text: str | None
    problem: str = ""
    words: str = ""


def _exactly(completion: str, solution: str) -> Score | None:
    """The score where numbers or equal texts decide it, None where math-verify has to."""
    gold = _read_gold(str(solution))
    if gold is None:
        return Score(None, "bad_gold")
    found = _find(completion)
    if found.text is None:
        return Score(0.0, found.problem)
    answer = normal(found.text)
    if answer == gold:
        return Score(1.0, "correct")
    ours, golds = parts(answer), parts(gold)
    if len(ours) > len(golds) or (len(golds) == 1 and _HEDGE.search(found.words)):
        return Score(0.0, "several_answers")
    if "=" in answer and "=" not in gold:
        return Score(0.0, "equation")
    if _TOWER.search(answer):
        return Score(0.0, "too_large")
    bracket, ours, gold_bracket, golds = *_inside(ours), *_inside(golds)
    values, gold_values = [exact(part) for part in ours], [exact(part) for part in golds]
    if None not in gold_values and None not in values and bracket == gold_bracket:
        return _verdict(
            values == gold_values if bracket in _ORDERED else _same(values, gold_values)
        )
    if answer.isalpha() and gold.isalpha() and min(len(answer), len(gold)) > 1:
        return _verdict(answer.lower() == gold.lower())
    if None not in gold_values and answer.isalpha():
        return Score(0.0, "wrong_value")  # a word or a variable for a number
    return None


@reward(
    range=(0.0, 1.0),
    reads="solution",
    reasons="correct wrong_value no_answer truncated empty_answer several_answers equation too_large "
    "too_long unreadable bad_gold".split(),
    first=_exactly,
)
def accuracy_reward_func(completion: str, solution: str) -> Score:
    r"""1.0 where the answer equals the gold one, else 0.0.

    solution: the gold answer ("\frac{3}{4}"), or a worked solution with it in its last `\boxed{}`
    or after `####`. None where that cannot be read.

    Source: open-r1's and TRL's `accuracy_reward`, on the contract of this module.

    >>> accuracy_reward_func([""], [r"So \boxed{0.75}."], solution=[r"\frac{3}{4}"])
    [1.0]
    """
    gold = _parse_gold(_read_gold(str(solution)) or "")
    if not gold:
        return Score(None, "bad_gold")
    answer = _parse(normal(_find(completion).text or ""))
    if not answer:
        return Score(0.0, "unreadable")
    try:
        equal = math_verify.verify(gold, answer, timeout_seconds=_limit(), raise_on_error=True)
    except TimeoutException as error:
        raise TimeoutError("math-verify did not compare the answers in time") from error
    return _verdict(equal and not _differ(gold[0], answer[0]))


def _verdict(equal: bool) -> Score:
    return Score(1.0, "correct") if equal else Score(0.0, "wrong_value")


def _find(completion: str) -> Answer:
    """The answer as it was written."""
    said = after_reasoning(completion)
    if "<answer>" in said or "</answer>" in said:
        block = read_answer(said)
        if block.text is None:
            return Answer(None, "no_answer" if block.problem == "no_answer_tag" else block.problem)
        found = read_boxes(block.text) or [block.text]
    else:
        found = read_boxes(said) or [
            line.partition("\n")[0].strip() for line in said.split("####")[1:]
        ]
    if not found:
        return Answer(None, "truncated" if "\\boxed{" in said else "no_answer")
    if any(len(each) > _LONGEST for each in found):
        return Answer(None, "too_long")
    if len({normal(each) for each in found}) > 1:
        return Answer(None, "several_answers")
    return Answer(found[-1], words=found[-1]) if found[-1] else Answer(None, "empty_answer")


@lru_cache(maxsize=65536)
def _read_gold(solution: str) -> str | None:
    marked = read_boxes(solution)[-1:] or solution.split("####")[1:][-1:]
    gold = (marked or [solution])[0].strip()
    return normal(gold) if 0 < len(gold) <= _LONGEST and normal(gold) else None


@lru_cache(maxsize=65536)
def normal(text: str) -> str:
    r"""An answer in the form in which two that are the same mostly read the same.

    Without layout, `\text{}`, a unit after a number, degrees and dollar signs; `\dfrac` is `\frac`,
    U+2212 is "-", "1{,}234" and "1,234" are "1234", and "x = 5" is "5".
    """
    text = text.strip().replace("\u2212", "-").replace("{,}", ",").strip("*").strip()
    plain = read_number(text.replace("\\$", "$"))
    if plain.value is not None:
        return _decimal(plain.value)
    text = _DROPPED.sub("", _UNIT.sub("", text.replace("\\%", "%")))
    text = _WORDS.sub(r"\1", text).replace("dfrac", "frac").replace("tfrac", "frac")
    text = re.sub(r"\\frac([0-9])([0-9])", r"\\frac{\1}{\2}", text).rstrip(".")
    text = _GROUPED.sub(lambda match: match[0].replace(",", ""), text) if "(" not in text else text
    return _ASSIGNED.sub("", text, count=1) if _ASSIGNED.match(text) else text


def _decimal(value: Decimal) -> str:
    """In plain digits, without zeros that say nothing."""
    digits = f"{value:f}"
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    sign = "-" if digits.startswith("-") else ""
    return (
        (sign + (digits.lstrip("-+0") or "0")).replace("-.", "-0.") if digits.lstrip("-+0") else "0"
    )


def parts(text: str) -> list[str]:
    """The parts of a list: what stands between commas and semicolons that no bracket holds."""
    depth, start, found = 0, 0, []
    for place, letter in enumerate(text):
        if letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif letter in ",;" and depth <= 0:
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]


def _inside(listed: list[str]) -> tuple[str, list[str]]:
    """The brackets around a whole answer, and the parts within; "" and the parts where there are none."""
    text = listed[0]
    for opening in ("(", "[", "\\{"):
        for closing in (")", "]", "\\}"):
            if len(listed) == 1 and text.startswith(opening) and text.endswith(closing):
                return opening + closing, parts(text[len(opening) : -len(closing)])
    return "", listed


def exact(text: str) -> tuple[bool, Fraction] | None:
    r"""The exact value of a number in normal form, None for others: 18, -0.75, 3/4, \frac{1}{2^{98}}, 2\sqrt{3}, \frac{\pi}{2}.

    Whether it is a multiple of pi, and the square of the rest with its sign, which tells roots apart.
    """
    if pi := text.count(r"\pi") == 1:
        text = text.replace(r"\pi", "").replace("{}", "{1}")
        text = re.sub(r"^([+-]?)(?=/|$)", r"\g<1>1", text)
    if fraction := _FRACTION.fullmatch(text):
        sign, over, under = fraction[1], _square(fraction[2]), _square(fraction[3])
    else:
        left, slash, right = text.partition("/")
        sign, over, under = "", _square(left), _square(right) if slash else Fraction(1)
    if over is None or not under:
        return None
    return pi, -over / under if sign == "-" else over / under


def _square(text: str) -> Fraction | None:
    """The square of a number or a multiple of one root, with the sign of what was squared."""
    factor, root, rest = text.partition(r"\sqrt")
    under = Fraction(1)
    if root:
        match = _ROOT.fullmatch(rest)
        if not match:
            return None
        under, factor = Fraction(match[1] or match[2]), factor.removesuffix(r"\cdot")
        factor = factor + "1" if factor in ("", "+", "-") else factor
    value = _term(factor)
    return None if value is None else value * abs(value) * under


def _term(text: str) -> Fraction | None:
    match = _TERM.fullmatch(text)
    if not match:
        return None
    value, power = Fraction(match[2]), int(match[3] or match[4] or 1)
    if abs(power) > _LARGEST_POWER or len(text) > 100 or (not value and power < 0):
        return None
    return (-1 if match[1] == "-" else 1) * value**power


def _same(ours: list[Any], golds: list[Any]) -> bool:
    return sorted(ours) == sorted(golds)


def _parse(text: str) -> list[Any]:
    try:
        parsed = math_verify.parse(
            f"${text}$",
            [math_verify.LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=_limit(),
            raise_on_error=False,
        )
    except TimeoutException as error:
        raise TimeoutError("math-verify did not read an answer in time") from error
    return list(parsed)


_parse_gold = lru_cache(maxsize=65536)(_parse)


def _limit() -> Any:
    # math-verify's limit is an alarm, which only the main thread may set.
    return _SECONDS if threading.current_thread() is threading.main_thread() else None


def _differ(one: Any, other: Any) -> bool:
    """Whether two numbers that were rounded to the same are not the same: both are tiny."""
    try:
        one, other = abs(complex(one)), abs(complex(other))
    except (TypeError, ValueError, OverflowError):
        return False  # no numbers
    return bool(abs(one - other) > _CLOSE * max(one, other))
