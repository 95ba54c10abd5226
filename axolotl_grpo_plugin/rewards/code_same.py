"""Whether what a program printed or returned is what was expected."""

import re
from typing import Any

# Of a number that is expected with a decimal point: absolute below 1, and else relative.
TOLERANCE = 1e-6

_DECIMAL = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def same_output(printed: str, expected: str) -> bool:
    """Whether two outputs are the same, line by line and whole.

    >>> same_output("1 \n0.3333333\n\n", "1\n0.333333333"), same_output("1", "1\n2")
    (True, False)
    """
    lines, wanted = _lines(printed), _lines(expected)
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_line(line: str, wanted: str) -> bool:
    words, others = line.split(), wanted.split()
    if line == wanted or not any(map(_DECIMAL.fullmatch, others)):
        return line == wanted
    return len(words) == len(others) and all(map(_same_word, words, others))


def _same_word(word: str, wanted: str) -> bool:
    if word == wanted or not _DECIMAL.fullmatch(wanted) or not _NUMBER.fullmatch(word):
        return word == wanted
    return _close(float(word), float(wanted))


def same_value(value: Any, expected: Any) -> bool:
    """Whether a value of JSON's is the expected one: numbers with a decimal point within the tolerance."""
    if isinstance(expected, float) and isinstance(value, int | float):
        return _close(value, expected)
    if isinstance(expected, list) and isinstance(value, list):
        return len(value) == len(expected) and all(map(same_value, value, expected))
    if isinstance(expected, dict) and isinstance(value, dict):
        return value.keys() == expected.keys() and all(
            same_value(value[key], each) for key, each in expected.items()
        )
    return bool(value == expected)


def _close(number: float, wanted: float) -> bool:
    # Compared, not subtracted: an int may be too large for a float, and all is near to infinity.
    margin = TOLERANCE * max(1.0, abs(wanted))
    both_nan = number != number and wanted != wanted
    return both_nan or number == wanted or wanted - margin <= number <= wanted + margin
