r"""Accuracy for problems with LaTeX answers: MATH, NuminaMath, OpenR1-Math, and GSM8K too.

`completions.find_answer` finds the answer after the reasoning: in `<answer>`, else in `\boxed{}`, else after
`####`. A number in prose is not an answer. Different boxes are several answers, unless they are a list and
the gold is a list, too.

An answer equals the gold if both have the same normal form (latex.py) or the same exact value (exact.py), or
if math-verify finds them equal within a limit of CPU time. An answer with an operation that the gold does not
have is `unevaluated` ("12\times 34" for 408). An expression of the question is an `echo`. A fraction is a
number: "36/2" is 18. A percent may be written as "28%", "28" or "0.28".
"""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any

import math_verify

from axolotl_grpo_plugin.completions import Answer, find_answer, read_boxes, text_of
from axolotl_grpo_plugin.exact import exact
from axolotl_grpo_plugin.latex import LONGEST, layout, normal, split
from axolotl_grpo_plugin.limits import HelperDied, TooSlow, call
from axolotl_grpo_plugin.reward import Score, reward

LOG = logging.getLogger(__name__)
for _name in ("math_verify.parser", "math_verify.grader"):
    # math-verify warns that it runs without a time limit, but limits.py sets one.
    logging.getLogger(_name).setLevel(logging.ERROR)

_CPU_SECONDS = 3.0  # for math-verify on one completion
_CLOSE = 1e-12  # relative: for math-verify, values are equal if they agree after rounding
_DEEPEST = 20  # brackets in brackets
_MOST_PARTS = 12  # of a list that math-verify compares part by part

_PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{6}")
# math-verify would read "x12", "0x12" and "1'8" as products, and "17 1/1" as a sum.
_NO_MATHS = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]+[0-9]|[0-9]'[0-9]|(?<!_)[0-9] [0-9]")
_CODE_NUMBER = re.compile(r"[0-9][eE][+-]?[0-9]")
# A power of a power of numbers (not "x^2y^2" or "e^{x^2}"), or a power, factorial or number with many digits.
_TOWER = re.compile(
    r"\^\{(?:[^{}\\a-zA-Z]|\\[a-zA-Z]+)*\^|\^\{?-?[0-9]{4,}|[0-9]{3,}!|!!|[0-9]{100,}"
)
_BASED = re.compile(r"[0-9A-Z]+_(?:[0-9]|\{(?:[12][0-9]|3[0-6])\})")
_INDEXED = re.compile(r"[0-9]_")
_TIME = re.compile(r"[0-9]{1,2}(?:(?::[0-9]{2})+(?:[ap]\.?m\.?)?|[ap]\.?m\.?)", re.IGNORECASE)
_ORDERED = ("()", "[]", "(]", "[)")
_PLAIN = re.compile(r"\\cup|[-+]?\\infty|[,()\[\]]")

_TOKEN = re.compile(r"\\[a-zA-Z]+|[0-9]+(?:\.[0-9]+)?|[a-zA-Z]+|\S")
_OPERATOR = re.compile(r"[-+/^!|]|\\(?!pi|infty|theta)[a-zA-Z]|\)\(|[0-9a-zA-Z]\(")
_LOOSE = frozenset(r"( ) { } [ ] / + \frac \cdot $ .".split())
_SCIENTIFIC = re.compile(r"-?[0-9.]+\\cdot ?10\^\{-?[0-9]+\}")
_OPERATORS = frozenset(
    r"\le \ge \ne \cdot \cup \cap \in \pm \mp \to \lor \land \circ \approx \sim".split()
)
_WORK = frozenset(
    r"\int \iint \sum \prod \lim \det \gcd \lcm gcd lcm \binom \lfloor \lceil \bmod \mod \pmod mod \max \min max min".split()
)
# A function of a number has to be evaluated. A function of a variable is part of an answer: "\sin x".
_NUMERIC_WORK = frozenset(
    r"\log \ln \lg \exp \sin \cos \tan \cot \sec \csc \arcsin \arccos \arctan \sinh \cosh \tanh "
    r"log ln sin cos tan".split()
)


def _quick(completion: str, solution: str, prompt: Any = None) -> Score | None:
    """Return the score if texts or exact values decide it, or None if math-verify has to."""
    answer, written = _find(completion), read_gold(str(solution))
    if written is None:
        return Score(None, "bad_gold")
    if answer.text is None:
        return Score(0.0, answer.problem)
    score = _decide(answer.text, written, prompt)
    return score and score._replace(read=answer.text)


def _decide(text: str, written: str, prompt: Any) -> Score | None:
    answer, gold = normal(text), normal(written)
    if answer.removeprefix("-").isdecimal() and gold.removeprefix("-").isdecimal():
        return _verdict(answer == gold)
    ours, golds = _values(answer), _values(gold)
    named, gold_named = _by_name(text), _by_name(written)
    gold_bracket, inner = _inside(golds)
    if named and gold_named.keys() == named.keys():
        gold = f"({','.join(gold_named.values())})"
        gold_bracket, inner, golds = "()", [*gold_named], [gold]
    if gold_bracket == "()" and len(named) == len(inner):
        answer = f"({','.join(named.values())})"  # x=3, y=2
        ours = [answer]
    if answer == gold and _is_plain(gold):
        return Score(1.0, "correct")
    if len(ours) > len(golds):
        return Score(0.0, "several_answers")
    if "=" in answer and "=" not in gold and ("=" not in written or answer.count("=") > 1):
        return Score(0.0, "equation")
    if _TOWER.search(answer) or _depth(answer) > _DEEPEST:
        return Score(0.0, "too_large")
    if _TOWER.search(gold):
        return Score(0.0, "wrong_value")  # math-verify would hang on the gold
    if answer == gold:
        return None  # math-verify decides whether the gold can be read
    if _TIME.fullmatch(answer) or _TIME.fullmatch(gold):
        one, other = sorted((_clock(answer), _clock(gold)), key=len)
        return _verdict(one == other or (one.isdecimal() and other in (f"{one}am", f"{one}pm")))
    if _BASED.fullmatch(answer) and _BASED.fullmatch(gold):
        return Score(0.0, "wrong_value")  # math-verify ignores the bases
    if prompt is not None and _is_echo((layout(text), answer), (layout(written), gold), prompt):
        return Score(0.0, "echo")
    if "%" in answer + gold:
        equal = _equal_percents(answer, gold)
        if equal is not None:
            return _verdict(equal)
    bracket, ours, gold_bracket, golds = *_inside(ours), *_inside(golds)
    values, gold_values = [_value(part) for part in ours], [_value(part) for part in golds]
    gold_is_exact = None not in gold_values
    is_text = any(isinstance(value, str) for value in gold_values)
    if answer.isalpha() and gold.isalpha() and min(len(answer), len(gold)) > 1:
        return _verdict(answer.lower() == gold.lower())
    if gold_is_exact and not is_text and (answer.isalpha() or _PROSE.search(answer)):
        return Score(
            0.0, "wrong_value"
        )  # a word, a variable or a sentence, but the gold is a number
    if not _is_readable(answer):
        return Score(0.0, "unreadable")
    if operations(answer) - operations(gold):
        return Score(0.0, "unevaluated")
    if gold_is_exact and None not in values:
        if gold_bracket in _ORDERED and bracket == gold_bracket:
            return _verdict(values == gold_values)
        return _verdict(bracket == gold_bracket and Counter(values) == Counter(gold_values))
    if r"\mathbb{R}" in (answer, gold):
        return Score(0.0, "wrong_value")  # for math-verify, it equals other unbounded sets
    return None


@lru_cache(maxsize=65536)
def gold_problem(solution: str) -> str:
    """Return why the gold answer of a solution cannot be read, or "" if it can."""
    written = read_gold(solution)
    if written is None:
        return f"no gold answer can be read from {solution[-60:]!r}"
    if _is_plain(normal(written)) or _TOWER.search(normal(written)):
        return ""
    try:
        reason = call(_compare, written, written, seconds=_CPU_SECONDS)
    except TooSlow:
        reason = "too_slow"
    return "" if reason == "correct" else f"math-verify cannot read the gold answer {written!r}"


@reward(
    range=(0.0, 1.0),
    reads="solution",
    may_read=("prompt",),
    reasons="correct wrong_value no_answer truncated empty_answer several_answers equation unevaluated "
    "echo too_large too_long too_slow unreadable bad_gold not_compared".split(),
    first=_quick,
    row_problem=lambda solution: gold_problem(str(solution)),
)
def accuracy_reward_func(completion: str, solution: str, prompt: Any = None) -> Score:
    r"""Return 1.0 if the answer equals the gold answer, else 0.0.

    solution: the gold answer ("\frac{3}{4}"), or a worked solution that has it in its last `\boxed{}` or
        after `####`. If the gold answer cannot be read, the score is None for every completion.
    prompt: a string or chat messages. An expression of its last turn is not an answer.

    Source: open-r1's and TRL's `accuracy_reward`, with the stricter rules of this module.

    >>> accuracy_reward_func([""], [r"So \boxed{0.75}."], solution=[r"\frac{3}{4}"])
    [1.0]
    """
    written, answer = read_gold(str(solution)) or "", _find(completion).text or ""
    try:
        reason = call(_compare, answer, written, seconds=_CPU_SECONDS)
    except TooSlow:
        reason = "too_slow"
    except (TimeoutError, HelperDied) as error:  # not caused by the answer
        LOG.warning("math-verify did not compare %r with %r: %s", answer, written, error)
        reason = "not_compared"
    value = {"correct": 1.0, "bad_gold": None, "not_compared": None}.get(reason, 0.0)
    return Score(value, reason, answer)


def _clock(time: str) -> str:
    """Return a time of day in one form: "9:00 a.m." as "9am"."""
    return re.sub(r":00(?![0-9:])", "", time.replace(".", "").lower())


def _by_name(text: str) -> dict[str, str]:
    """Return the values of "x=3, y=2" in normal form, in the order of their names. Empty for other texts."""
    if text.count("=") < 2:
        return {}
    pairs = [part.split("=") for part in split(normal(text, named=True))]
    named = all(len(pair) == 2 and pair[0].isalpha() for pair in pairs)
    values = dict(sorted(pairs)) if named and len(pairs) > 1 else {}
    return values if len(values) == len(pairs) else {}


def _verdict(equal: bool) -> Score:
    return Score(1.0, "correct") if equal else Score(0.0, "wrong_value")


def _find(completion: str) -> Answer:
    """Return the answer of a completion as written."""
    return find_answer(completion, ["tag", "box", "hash"], _merged, LONGEST, join_boxes=True)


def _merged(text: str) -> Any:
    """Return a value that is equal for texts that state the same number."""
    value = exact(normal(text))
    return normal(text) if value is None else value


@lru_cache(maxsize=65536)
def read_gold(solution: str) -> str | None:
    """Return the gold answer as written: in the last box, after `####`, or all of the text."""
    marked = read_boxes(solution)[-1:] or solution.split("####")[1:][-1:]
    gold = (marked or [solution])[0].strip()
    return gold if 0 < len(gold) <= LONGEST and normal(gold) else None


@lru_cache(maxsize=65536)
def _is_plain(gold: str) -> bool:
    """Return whether a gold in normal form needs no math-verify: numbers, words, lists, intervals."""
    pieces = [piece for part in _values(gold) for piece in _PLAIN.split(part) if piece]
    return gold in (r"\mathbb{R}", r"\emptyset") or all(
        piece.isalpha() or _TIME.fullmatch(piece) or exact(piece) is not None for piece in pieces
    )


def _values(text: str) -> list[str]:
    r"""Return the different parts of a list in normal form, with `a\pm b` as two."""
    parts: list[str] = []
    for part in split(text):
        before, sign, after = part.partition(r"\pm")
        if (
            sign
            and not after[:1].isalpha()
            and r"\pm" not in after
            and before.count("(") == before.count(")")
        ):
            parts += [f"{before}{'+' if before else ''}{after}", f"{before}-{after}"]
        else:
            parts.append(part)
    return list({_value(part) or part: part for part in reversed(parts)}.values())[::-1]


def _value(part: str) -> frozenset[Any] | str | None:
    """Return the exact value of a part, a word in lower case, or None for other forms."""
    return part.lower() if part.isalpha() and len(part) > 2 else exact(part)


def _inside(listed: list[str]) -> tuple[str, list[str]]:
    """Return the brackets around a whole answer, or "", and the parts within."""
    text = listed[0]
    for brackets in _ORDERED if len(listed) == 1 else ():
        if text.startswith(brackets[0]) and text.endswith(brackets[1]) and r"\cup" not in text:
            inner = split(text[1:-1])
            return (brackets, inner) if len(inner) > 1 or brackets != "()" else ("", inner)
    return "", listed


def _equal_percents(answer: str, gold: str) -> bool | None:
    """Compare with a percent: 28% equals 28 and 0.28. Return None if one value is not exact."""
    one, other = exact(answer.removesuffix("%")), exact(gold.removesuffix("%"))
    if one is None or other is None:
        return None
    if answer.endswith("%") == gold.endswith("%"):
        return one == other
    percent, value = (one, other) if answer.endswith("%") else (other, one)
    return value in (percent, frozenset((key, factor / 100) for key, factor in percent))


def _is_readable(answer: str) -> bool:
    return (
        not _NO_MATHS.search(answer)
        and not _CODE_NUMBER.search(answer)
        and (not _INDEXED.search(answer) or _BASED.fullmatch(answer) is not None)
        and _count(answer, "([") == _count(answer, ")]")
        and answer.count("{") == answer.count("}")
    )


def _count(text: str, letters: str) -> int:
    return sum(map(text.count, letters))


def operations(text: str) -> set[str]:
    r"""Return the kinds of operations in an answer in normal form: "sum", "product", `\int`, ...

    Fractions and "3\cdot10^{8}" are numbers. A product or power with a variable is not an operation, and
    neither is "\sin x".
    """
    kinds: set[str] = set()
    text = re.sub(r"\\log_(?:[0-9a-zA-Z]|\{[0-9a-zA-Z]+\})", r"\\log ", text)
    text = re.sub(r"(?<![a-zA-Z])e\^\{-?[1-9][0-9]*\}", "e ", text, count=1)  # it has no other form
    text = text.replace(r"\begin{pmatrix}", r"\begin{pmatrix}&")  # the "}" is no operand
    if text.count(r"\begin{") > 1 or re.search(r"[^(]\\begin\{|\\end\{pmatrix\}\^", text):
        kinds.add("matrices")
    text = re.sub(r"\^\{[^{}]*/[^{}]*\}|\^\{\\frac\{[^{}]*\}\{[^{}]*\}\}", r"\\sqrt", text)
    numeric = not _has_variable(text)
    for part in split(text):
        if not _SCIENTIFIC.fullmatch(part):
            kinds |= _operations(_TOKEN.findall(part), numeric)
    return kinds


def _operations(tokens: Sequence[str], numeric: bool) -> set[str]:
    kinds: set[str] = set()
    plain = numeric and not {r"\sqrt", r"\pi"} & set(tokens)
    for place, token in enumerate(tokens):
        before, after = tokens[place - 1] if place else "", "".join(tokens[place + 1 : place + 2])
        ends = before[-1:].isdecimal() or before in (")", "}")
        operand = before[-1:].isalnum() or before in tuple(")}]!|")
        if token in ("+", "-", r"\pm", r"\mp") and operand and before not in _OPERATORS:
            kinds.add("sum")
        elif (
            (token == r"\cdot" and (plain or (before[-1:].isdecimal() and after[:1].isdecimal())))
            or (token == "(" and numeric and ends and not _has_root(tokens[place + 1 :]))
            or (token == r"\frac" and plain and ends)
            or (token[:1].isdecimal() and before == ")" and numeric)
        ):
            kinds.add("product")
        elif token == "^" and numeric and r"\sqrt" not in kinds:
            kinds.add("power")
        elif (
            token in (r"\sqrt", "!", "|") or token in _WORK or (numeric and token in _NUMERIC_WORK)
        ):
            kinds.add(token)
    return kinds


def _has_root(tokens: Sequence[str]) -> bool:
    """Return whether brackets hold a number that has no other form: "5(2+\\sqrt{3})"."""
    inside = {*takewhile(lambda token: token != ")", tokens)}
    return bool(inside & {r"\sqrt", r"\pi"} and inside & {"+", "-"})


def _depth(text: str) -> int:
    """Return the depth of nested brackets and braces."""
    depth = deepest = 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _has_variable(text: str) -> bool:
    """Return whether a text has a letter other than e and i outside of commands."""
    letters = re.sub(r"\\(?:theta|alpha|beta|gamma|lambda|phi|omega)(?![a-zA-Z])", "x", text)
    words = re.findall(r"[a-zA-Z]+", re.sub(r"\\[a-zA-Z]+(?:\{[a-z]*matrix\})?", " ", letters))
    return any(
        word not in ("e", "i", "ei", "ie") and word not in _WORK | _NUMERIC_WORK for word in words
    )


def _is_echo(answers: Sequence[str], golds: Sequence[str], prompt: Any) -> bool:
    """Return whether an answer with an operator is an expression of the question, and the gold is not."""
    if not _OPERATOR.search(answers[-1].lstrip("-")):  # in normal form, without \text
        return False
    turn = prompt if isinstance(prompt, str) else text_of([{**prompt[-1], "role": "assistant"}])
    question = _terms(layout(turn))
    return any(_holds(question, each) for each in answers) and not any(
        _holds(question, each) for each in golds
    )


@lru_cache(maxsize=4096)
def _terms(text: str) -> tuple[str, ...]:
    """Return the tokens of a text without brackets, signs of products and fractions, and plus signs."""
    return tuple(token for token in _TOKEN.findall(text) if token not in _LOOSE)


def _holds(question: Sequence[str], expression: str) -> bool:
    """Return whether the question has the tokens of an expression side by side, in any order."""
    wanted = Counter(_terms(expression))
    size, missing = wanted.total(), wanted.total()
    for place, token in enumerate(question):
        missing -= wanted[token] > 0
        wanted[token] -= 1
        if place >= size:
            gone = question[place - size]
            wanted[gone] += 1
            missing += wanted[gone] > 0
        if not missing:
            return True
    return False


def _compare(text: str, written: str) -> str:
    """Compare with math-verify. Return "correct", "wrong_value", "unreadable" or "bad_gold"."""
    # To compare equations, keep the left side of both.
    named = "=" in normal(text) or "=" in normal(written)
    answer, gold = normal(text, named), normal(written, named)
    golds = _parse_gold(gold)
    if not golds:
        return "bad_gold"
    if answer == gold:
        return "correct"
    bracket, ours, gold_bracket, theirs = *_inside(_values(answer)), *_inside(_values(gold))
    if len(theirs) > 1 and not named and bracket == gold_bracket:
        if len(ours) != len(theirs):
            return "wrong_value"
        if len(theirs) <= _MOST_PARTS:
            return _compare_lists(ours, theirs, ordered=bracket in _ORDERED)
    parsed = _parse(answer)
    return _verify(golds, parsed) if parsed else "unreadable"


def _compare_lists(ours: list[str], golds: list[str], ordered: bool) -> str:
    if ordered:
        equal = all(_same(*pair) for pair in zip(ours, golds, strict=True))
    else:
        left = list(golds)
        for part in ours:
            match = next((gold for gold in left if _same(part, gold)), None)
            if match is not None:
                left.remove(match)
        equal = not left
    return "correct" if equal else "wrong_value"


def _same(part: str, gold: str) -> bool:
    if part == gold:
        return True
    one, other = exact(part), exact(gold)
    if one is not None and other is not None:
        return one == other
    return _verify(_parse_gold(gold), _parse(part)) == "correct"


def _verify(gold: list[Any], answer: list[Any]) -> str:
    try:
        equal = math_verify.verify(gold, answer, timeout_seconds=None, raise_on_error=True)
        return "correct" if equal and not _differ(gold[0], answer[0]) else "wrong_value"
    except Exception:  # of math-verify, whatever the text
        # The answer is unreadable if math-verify fails on it alone. If it fails on the gold, raise.
        math_verify.verify(gold, gold, timeout_seconds=None, raise_on_error=True)
        return "unreadable"


def _parse(text: str) -> list[Any]:
    return list(
        math_verify.parse(
            f"${text}$",
            [math_verify.LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=None,
            raise_on_error=False,
        )
    )


_parse_gold = lru_cache(maxsize=65536)(_parse)


def _differ(one: Any, other: Any) -> bool:
    """Return whether two numbers differ. Rounding makes tiny numbers equal in math-verify."""
    try:
        one, other = abs(complex(one)), abs(complex(other))
    except (TypeError, ValueError, OverflowError):
        return False  # not numbers
    return bool(abs(one - other) > _CLOSE * max(one, other))
