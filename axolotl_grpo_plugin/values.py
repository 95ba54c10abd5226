"""Read a value from text, as JSON or as a Python literal, and compare it. Nothing is ever run.

As in completions.py, everything here takes time linear in the text, and nothing raises.
"""

import ast
import json
import re
import warnings
from typing import Any, NamedTuple

_DEEPEST = 50  # brackets in brackets: the parsers recurse, and so does the comparison

# A string whose end is missing takes all that follows: so no character is looked at twice.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|\'(?:[^\'\\]|\\.)*+\'?|[\[({]|[\])}]', re.DOTALL)
_GROUPED = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")


class Value(NamedTuple):
    """What a text says. plain: it is neither JSON nor a literal, and the value is the text itself."""

    value: Any
    plain: bool = False


def read_value(text: str) -> Value:
    """The value of a text without outer whitespace.

    >>> read_value("1,234").value, read_value("['a', (1, None)]").value, read_value("[true]").value
    (1234, ['a', (1, None)], [True])
    >>> read_value("sum([1])")
    Value(value='sum([1])', plain=True)
    """
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if _depth(text) <= _DEEPEST:
        try:
            return Value(json.loads(text))
        except (ValueError, RecursionError):
            pass  # no JSON
        try:
            with warnings.catch_warnings():  # of "1 is 1" and "\d"
                warnings.simplefilter("ignore")
                return Value(ast.literal_eval(text))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass  # no literal
    return Value(text, plain=True)


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _TOKEN.finditer(text):
        if match[0] in "[({":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "])}":
            depth -= 1
    return deepest


def same(one: Any, other: Any, ignore_case: bool = False) -> bool:
    """Whether two values are: numbers by value, but True is not 1; lists and tuples alike, item by item.

    Of dicts the number 1 and "1" are one key, for JSON has only strings there. Strings are
    compared exactly, or with ignore_case in their normal form.
    """
    if isinstance(one, str) and isinstance(other, str):
        return one == other or (ignore_case and normal(one) == normal(other))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(
            same(*pair, ignore_case) for pair in zip(one, other, strict=True)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        ours, theirs = ({_key(key): each[key] for key in each} for each in (one, other))
        return ours.keys() == theirs.keys() and all(
            same(ours[key], theirs[key], ignore_case) for key in ours
        )
    alike = type(one) is type(other) or (is_number(one) and is_number(other))
    return bool(alike and (one == other or (one != one and other != other)))  # NaN is NaN


def _key(key: Any) -> Any:
    # Longer ones may be too long to be written.
    return str(key) if isinstance(key, int) and abs(key) < 10**18 else key


def is_number(value: Any) -> bool:
    """Whether it is one; a bool is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def are_strings(value: Any) -> bool:
    """Whether it is a list of strings and nothing else."""
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)


def normal(text: str) -> str:
    """A text without its case, its layout and a final full stop."""
    return " ".join(text.split()).casefold().rstrip(".")
