"""Compare the output or the return value of a program with the expected one."""

import re
from typing import Any

# For expected numbers with a decimal point: absolute below 1, relative above.
TOLERANCE = 1e-6

_DECIMAL = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def same_output(printed: str, expected: str) -> bool:
    """Return whether two outputs have the same lines.

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
    """Return whether a JSON value is the expected one, floats within the tolerance."""
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
    # Compare, do not subtract: an int may be too large for a float.
    margin = TOLERANCE * max(1.0, abs(wanted))
    both_nan = number != number and wanted != wanted
    return both_nan or number == wanted or wanted - margin <= number <= wanted + margin
