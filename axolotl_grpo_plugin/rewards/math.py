r"""Accuracy for problems whose answers are LaTeX: MATH, NuminaMath, OpenR1-Math, and GSM8K too.

The answer is looked for after the reasoning (`</think>`, `</reasoning>`): in the last `<answer>` block,
within it in its `\boxed{}` if it has one; else in `\boxed{}`; else after `####`. A number in prose is
no answer. Boxes that differ, and a hedge ("17 or 18", "17, 18" where the gold is one value), are
none either: math-verify alone pays them. Two answers are the same where they read the same in a
normal form or are equal as exact numbers (fractions are answers here: "36/2" is 18; "9 * 2 = 18" is an
equation and none unless the gold is one), or where math-verify says so, which runs where it can be
killed. A percent is paid as "28%", "28" and "0.28"; a base that only one of the two names is not read.
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

from axolotl_grpo_plugin.completions import (
    after_reasoning,
    read_answer,
    read_boxes,
    read_number,
    thinks_on,
)
from axolotl_grpo_plugin.reward import Score, reward

_LONGEST = 400  # characters of an answer: longer is prose, and costs time
_LARGEST_POWER = 1_000
_SECONDS = 5  # of math-verify's own limit, where no room stands around it
_CLOSE = 1e-6  # relative: what math-verify calls equal after rounding

_INTEGER = re.compile(r"-?(?:[0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)")
_AS_LATEX = str.maketrans(
    {"\u2212": "-", "\u2013": "-", "\u00a0": " ", "π": r"\pi ", "√": r"\sqrt", "∞": r"\infty "}
)
_PERCENT = re.compile(r"\s*(?:\\?%|(?<![a-zA-Z])(?:per ?cent(?:age)?|pct)(?![a-zA-Z]))")
_EITHER = re.compile(
    r"(?:,\s*)?(?:\\(?:text|mathrm|mbox)\s*\{\s*(?:or|and)\s*\}|(?<![a-zA-Z])(?:or|and)(?![a-zA-Z]))"
)
_SPACED = re.compile(r"\\[,;: ]|~|\\q?quad(?![a-zA-Z])")
# One space stays where it means something: "17 18" is not 1718, and "\pi r" not "\pir".
_SPACE = re.compile(
    r"(\\[a-zA-Z]+(?=\s+[a-zA-Z])|(?<!_)[0-9](?=\s+[0-9])(?!\s[0-9]{3}(?![0-9])))?\s+"
)
_DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|limits|degrees?)(?![a-zA-Z])|\\!|\\\(|\\\)|\\\[|\\\]|\$"
    r"|\^\{?\\circ\}?|°"
)
_WORDS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}")
_UNIT = re.compile(r"(?<=[0-9}])\s*\\(?:text|mathrm|mbox)\s*\{([^{}]*)\}(?:\^\{?[23]\}?)?$")
# "18 men" has a unit and "18x", "3 xy" a variable: short words are units only where they are these.
_SHORT_WORD = re.compile(
    r"\s*(?<![a-zA-Z])(?:[cmk]m|[km]g|ml|ft|in|lb|oz|hr|mph|a|an|of)(?![a-zA-Z])"
)
_VARIABLE = re.compile(r"[0-9.][a-zA-Z](?![a-zA-Z]{4})|(?<![a-zA-Z])[a-zA-Z]{1,2}(?![a-zA-Z])")
_PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{6}")
_ASSIGNED = re.compile(r"[a-zA-Z](?:\([a-zA-Z]\))?(?:=|\\in(?![a-zA-Z]) ?)")
_CHOICE = re.compile(r"\(([A-Z])\)")
_MIXED = re.compile(
    r"([+-]?)([0-9]{1,30})(?: ([0-9]{1,30})/([0-9]{1,30})|\\frac\{([0-9]{1,30})\}\{([0-9]{1,30})\})"
)
_REPEATING = re.compile(r"([+-]?)([0-9]{0,30}\.[0-9]{0,30})\\overline\{([0-9]{1,30})\}")
_BASED = re.compile(r"[0-9A-Z]+_[0-9]+")
_POWER = r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:\^(?:\{(-?[0-9]{1,6})\}|([0-9])))?"
_TERM = re.compile(rf"([+-]?){_POWER}")
_FRACTION = re.compile(r"([+-]?)\\frac\{([^{}]*(?:\{[^{}]*\})?)\}\{([^{}]*(?:\{[^{}]*\})?)\}")
_ROOT = re.compile(r"\{([0-9]{1,15})\}|([0-9])")
_GROUPED = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
# A power of a power of numbers ("x^2y^2" and "e^{x^2}" are none), a power, factorial or number of
# many digits.
_TOWER = re.compile(
    r"\^\{(?:[^{}\\a-zA-Z]|\\[a-zA-Z]+)*\^|\^[0-9]\^|\^\{?-?[0-9]{4,}|[0-9]{3,}!|!!|[0-9]{100,}"
)
_OPENING, _CLOSING = "([{", ")]}"
_ORDERED = ("()", "[]", "(]", "[)")


class Answer(NamedTuple):
    """text: as it was written; None where there is none. problem: then why."""

    text: str | None
    problem: str = ""


def _exactly(completion: str, solution: str) -> Score | None:
    """The score where numbers or equal texts decide it, None where math-verify has to."""
    found = _find(completion)
    score = _decide(found, solution)
    return score and score._replace(read=found.text or "")


def _decide(found: Answer, solution: str) -> Score | None:
    written = read_gold(str(solution))
    if written is None:
        return Score(None, "bad_gold")
    gold = normal(written)
    if found.text is None:
        return Score(0.0, found.problem)
    answer = normal(found.text)
    if answer == gold:
        return Score(1.0, "correct")
    ours, golds = parts(answer), parts(gold)
    if len(ours) > len(golds) and r"\pm" not in gold:
        return Score(0.0, "several_answers")
    if "=" in answer and "=" not in gold and ("=" not in written or answer.count("=") > 1):
        return Score(0.0, "equation")
    if _TOWER.search(answer):
        return Score(0.0, "too_large")
    if _TOWER.search(gold):
        return Score(0.0, "wrong_value")  # math-verify would hang on it whatever the answer
    if (":0" in answer + gold) or (_BASED.fullmatch(answer) and _BASED.fullmatch(gold)):
        return Score(0.0, "wrong_value")  # times, which it divides, and bases, which it drops
    if "%" in answer + gold:
        ours_of, gold_of = exact(answer.removesuffix("%")), exact(gold.removesuffix("%"))
        if ours_of and gold_of:
            if answer.endswith("%") == gold.endswith("%"):
                return _verdict(ours_of == gold_of)
            percent, other = (ours_of, gold_of) if answer.endswith("%") else (gold_of, ours_of)
            return _verdict(_is_share(percent, other))
    bracket, ours, gold_bracket, golds = *_inside(ours), *_inside(golds)
    values, gold_values = [exact(part) for part in ours], [exact(part) for part in golds]
    if None not in gold_values and None not in values and bracket == gold_bracket:
        return _verdict(
            values == gold_values if bracket in _ORDERED else _same(values, gold_values)
        )
    if answer.isalpha() and gold.isalpha() and min(len(answer), len(gold)) > 1:
        return _verdict(answer.lower() == gold.lower())
    if None not in gold_values and (answer.isalpha() or _PROSE.search(answer)):
        return Score(0.0, "wrong_value")  # a word, a variable or a sentence for a number
    if _count(answer, "([") != _count(answer, ")]") or answer.count("{") != answer.count("}"):
        return Score(0.0, "unreadable")
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
    written, found = read_gold(str(solution)) or "", _find(completion).text or ""
    named = "=" in normal(found)  # then the gold is an equation too: compared with its names
    gold = _parse_gold(normal(written, named))
    if not gold:
        return Score(None, "bad_gold")
    answer = _parse(normal(found, named))
    if not answer:
        return Score(0.0, "unreadable", found)
    try:
        equal = math_verify.verify(gold, answer, timeout_seconds=_limit(), raise_on_error=True)
    except TimeoutException as error:
        raise TimeoutError("math-verify did not compare the answers in time") from error
    return _verdict(equal and not _differ(gold[0], answer[0]))._replace(read=found)


def _count(text: str, letters: str) -> int:
    return sum(map(text.count, letters))


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
    elif thinks_on(completion):
        return Answer(None, "truncated")
    else:
        found = read_boxes(said) or [
            line.partition("\n")[0].strip() for line in said.split("####")[1:]
        ]
    if not found:
        return Answer(None, "truncated" if "\\boxed{" in said else "no_answer")
    if any(len(each) > _LONGEST for each in found):
        return Answer(None, "too_long")
    if any(normal(each) != normal(found[-1]) for each in set(found)):
        return Answer(None, "several_answers")
    return Answer(found[-1]) if found[-1] else Answer(None, "empty_answer")


@lru_cache(maxsize=65536)
def read_gold(solution: str) -> str | None:
    """The gold answer as it was written: in the last box, after `####`, or the whole; else None."""
    marked = read_boxes(solution)[-1:] or solution.split("####")[1:][-1:]
    gold = (marked or [solution])[0].strip()
    return gold if 0 < len(gold) <= _LONGEST and normal(gold) else None


@lru_cache(maxsize=65536)
def normal(text: str, named: bool = False) -> str:
    r"""An answer in the form in which two that are the same mostly read the same.

    Without layout, `\text{}`, a unit after a number, degrees, dollar signs and the braces of a set;
    `\dfrac` is `\frac`, U+2212 is "-", "1{,}234" and "1,234" are "1234", "or" and "and" a comma,
    "1 1/2" is "3/2", and "x = 5" is "5" unless it is to stay named.
    """
    if _INTEGER.fullmatch(text):
        digits = text.replace(",", "").lstrip("-0")
        return f"-{digits}" if digits and text.startswith("-") else digits or "0"
    text = text.strip().translate(_AS_LATEX).replace("{,}", ",").strip("*").strip()
    text = _PERCENT.sub("%", _EITHER.sub(",", text))
    text = _UNIT.sub(_no_unit, text.replace("\\$", "$"))
    if not _VARIABLE.search(_SHORT_WORD.sub("", text)):
        plain = read_number(text)
        if plain.value is not None:
            return _decimal(plain.value) + ("%" if "%" in text else "")
    text = _DROPPED.sub("", _SPACED.sub(" ", text))
    text = _SPACE.sub(_one_space, _WORDS.sub(r" \1", text).strip())
    text = re.sub(r"\\[dt]frac", r"\\frac", text).rstrip(".")
    text = re.sub(r"(?<![a-zA-Z\\])pi(?![a-zA-Z])", r"\\pi", text).replace(r"*\pi", r"\pi")
    text = re.sub(r"\\frac([0-9])", r"\\frac{\1}", text)
    text = re.sub(r"(\\frac\{[^{}]*\})([0-9])", r"\1{\2}", text)
    text = re.sub(r"_\{([0-9a-zA-Z]+)\}$", r"_\1", text)
    if text.startswith("\\{") and text.endswith("\\}") and text.count("\\{") == 1:
        text = text[2:-2]
    text = _GROUPED.sub(lambda match: match[0].replace(",", ""), text) if "(" not in text else text
    if choice := _CHOICE.fullmatch(text):
        return choice[1]
    text = text if named else _unnamed(text)
    if mixed := _MIXED.fullmatch(text):
        sign, whole, over, under = mixed[1], mixed[2], mixed[3] or mixed[5], mixed[4] or mixed[6]
        return f"{sign}{int(whole) * int(under) + int(over)}/{under}"
    if repeating := _REPEATING.fullmatch(text):
        once = repeating[2].replace(".", "")
        nines = 10 ** len(repeating[3]) - 1
        under = nines * 10 ** (len(once) - repeating[2].index("."))
        return f"{repeating[1]}{int(once or 0) * nines + int(repeating[3])}/{under}"
    return text


def _no_unit(match: re.Match[str]) -> str:
    is_unit = read_number("1 " + match[1].replace("~", " ").strip()).value == 1
    return ("%" if "%" in match[1] else "") if is_unit else match[0]


def _one_space(match: re.Match[str]) -> str:
    return f"{match[1]} " if match[1] else ""


def _unnamed(text: str) -> str:
    """The values alone of "x=5", "x=1,x=2" and "n=1,2"."""
    name = _ASSIGNED.match(text)
    if not name:
        return text
    values = ",".join(part.removeprefix(name[0]) for part in parts(text))
    return text if "=" in values else values


def _decimal(value: Decimal) -> str:
    """In plain digits, without zeros that say nothing."""
    digits = f"{value.copy_abs():f}".lstrip("0")
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return ("-" if value < 0 else "") + ("0" if digits.startswith(".") else "") + (digits or "0")


def parts(text: str) -> list[str]:
    """The parts of a list: what commas, semicolons and spaces between digits part outside brackets."""
    depth, start, found = 0, 0, []
    for place, letter in enumerate(text):
        if letter in _OPENING:
            depth += 1
        elif letter in _CLOSING:
            depth -= 1
        elif depth <= 0 and (letter in ",;" or (letter == " " and text[place - 1].isdecimal())):
            found.append(text[start:place])
            start = place + 1
    return [*found, text[start:]]


def _inside(listed: list[str]) -> tuple[str, list[str]]:
    """The brackets around a whole answer, and the parts within; "" and the parts where there are none."""
    text = listed[0]
    for opening in "([":
        for closing in ")]":
            if len(listed) == 1 and text.startswith(opening) and text.endswith(closing):
                return opening + closing, parts(text[len(opening) : -len(closing)])
    return "", listed


def exact(text: str) -> tuple[bool, Fraction] | None:
    r"""The exact value of a number in normal form, None for others: 18, -0.75, 3/4, \frac{1}{2^{98}}, 2\sqrt{3}, \frac{\pi}{2}.

    Whether it is a multiple of pi, and the square of the rest with its sign, which tells roots apart.
    """
    if pi := _times_pi(text):
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


def _times_pi(text: str) -> bool:
    """Whether pi is a factor of the whole: not below a fraction line, nor under a root."""
    before, found, after = text.partition(r"\pi")
    above = (
        text.lstrip("+-").startswith(r"\frac{") and after.startswith("}{") and "}{" not in before
    )
    ends = after == "" or after.startswith("/") or above
    return bool(found) and r"\pi" not in after and "/" not in before and ends


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


def _is_share(percent: tuple[bool, Fraction], other: tuple[bool, Fraction]) -> bool:
    """Whether a percent is that number: 28% is 28 and 0.28."""
    (pi, square), (other_pi, other_square) = percent, other
    return pi == other_pi and other_square in (square, square / 10_000)


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
