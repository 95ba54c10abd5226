"""Read a value from text as JSON or as a Python literal, and compare values. Text is never executed.

As in completions.py, each function takes time linear in the text and never raises.
"""

import ast
import json
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import plain_number

_DEEPEST = 50  # brackets in brackets, because the parsers and the comparison recurse

# A string without an end takes the rest of the text, so that no character is read twice.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|\'(?:[^\'\\]|\\.)*+\'?|[\[({]|[\])}]', re.DOTALL)
_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(?:\.[0-9]*)?")
_GROUPED = re.compile(r"-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")


class Value(NamedTuple):
    """The value of a text.

    Attributes:
        value: The value.
        plain: The text is neither JSON nor a literal, so it is its own value.
    """

    value: Any
    plain: bool = False


def read_value(text: str) -> Value:
    """Return the value of a text without outer whitespace.

    >>> read_value("1,234").value, read_value("['a', (1, None)]").value, read_value("[true]").value
    (1234, ['a', (1, None)], [True])
    >>> read_value("sum([1])")
    Value(value='sum([1])', plain=True)
    """
    if not text.isascii() and _NUMBER.fullmatch(plain_number(text)):
        text = plain_number(text).rstrip(".")
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    if _depth(text) <= _DEEPEST:
        try:
            return Value(json.loads(text))
        except (ValueError, RecursionError):
            pass  # try the next
        try:
            with warnings.catch_warnings():  # "1 is 1" and "\d" cause warnings
                warnings.simplefilter("ignore")
                return Value(ast.literal_eval(text))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            pass  # plain text
    return Value(text, plain=True)


def read_object(value: object) -> dict[str, Any]:
    """Return a mapping, or the one that a JSON text states; {} for anything else."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def _depth(text: str) -> int:
    depth = deepest = 0
    for match in _TOKEN.finditer(text):
        if match[0] in "[({":
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in "])}":
            depth -= 1
    return deepest


def same(left: object, right: object, ignore_case: bool = False) -> bool:
    """Return whether two values are equal.

    Numbers are compared by value, but True is not 1. Lists and tuples are compared entry by entry.
    The dict keys 1 and "1" are equal, because JSON keys are strings. Strings are compared exactly,
    or in their normal form with ignore_case.
    """
    return comparable(left, ignore_case) == comparable(right, ignore_case)


def comparable(value: Any, ignore_case: bool = False) -> object:
    """Return the form of a value that decides whether two are `same`."""
    if isinstance(value, str):
        text = normal(value) if ignore_case else value
        return str, text
    if isinstance(value, (list, tuple)):
        return [comparable(entry, ignore_case) for entry in value]
    if isinstance(value, dict):
        forms = {}
        for key, entry in value.items():
            # Python refuses to write very long integers as text.
            is_short = isinstance(key, int) and abs(key) < 10**18
            forms[str(key) if is_short else key] = comparable(entry, ignore_case)
        return forms
    if value != value:
        return "NaN"
    return value if is_number(value) else (type(value), value)


def matched[Left, Right](
    answers: Sequence[Left], golds: Sequence[Right], equal: Callable[[Left, Right], bool]
) -> bool:
    """Return whether two lists have the same members, in any order."""
    left = list(golds)
    if len(answers) != len(left):
        return False
    for answer in answers:
        for index, gold in enumerate(left):
            if equal(answer, gold):
                # By its index, because an equal value may be another one: 1 == True.
                del left[index]
                break
        else:
            return False
    return True


def is_number(value: object) -> bool:
    """Return True for int and float, False for bool and others."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def are_strings(value: object) -> bool:
    """Return whether a value is a list or tuple of strings only."""
    if not isinstance(value, (list, tuple)):
        return False
    return all(isinstance(text, str) for text in value)


def normal(text: str) -> str:
    """Return a text without its case, its layout and a final full stop."""
    return " ".join(text.split()).casefold().rstrip(".")
