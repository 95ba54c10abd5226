"""Compare the output or the return value of a program with the expected one."""

import re

# For expected numbers with a decimal point: absolute below 1, relative above.
TOLERANCE = 1e-6
# The marks around a number, as in "[(0.5, 1.5)]".
_MARKS = "[](){},;"

_DECIMAL = re.compile(r"[+-]?[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def same_output(printed: str, expected: str) -> bool:
    r"""Return whether two outputs have the same lines.

    More or fewer spaces are the same, unless the expected output itself is laid out with spaces.

    >>> same_output("1 \n0.3333333\n\n", "1\n0.333333333"), same_output("1", "1\n2")
    (True, False)
    """
    lines, wanted = _lines(printed), _lines(expected)
    if wanted == list(map(_words, wanted)):
        lines = list(map(_words, lines))
    return len(lines) == len(wanted) and all(map(_same_line, lines, wanted))


def _words(line: str) -> str:
    return " ".join(line.split())


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_line(line: str, wanted: str) -> bool:
    words = line.split()
    others = wanted.split()
    if line == wanted or len(words) != len(others):
        return line == wanted
    has_decimal = any(_DECIMAL.fullmatch(_number_of(word)) for word in others)
    return has_decimal and all(map(_same_word, words, others))


def _same_word(word: str, wanted: str) -> bool:
    number, wanted_number = _number_of(word), _number_of(wanted)
    if _DECIMAL.fullmatch(wanted_number) and _NUMBER.fullmatch(number):
        marks, wanted_marks = word.rpartition(number)[::2], wanted.rpartition(wanted_number)[::2]
        return marks == wanted_marks and _close(float(number), float(wanted_number))
    return word == wanted


def _number_of(word: str) -> str:
    """Return a word without the marks around it and the name before it: "[x=0.5," is "0.5"."""
    return word.rpartition("=")[2].strip(_MARKS)


def same_value(value: object, expected: object) -> bool:
    """Return whether a JSON value is the expected one, floats within the tolerance."""
    if isinstance(expected, float) and isinstance(value, int | float):
        return _close(value, expected)
    if isinstance(expected, list) and isinstance(value, list):
        if len(value) != len(expected):
            return False
        return all(map(same_value, value, expected))
    if isinstance(expected, dict) and isinstance(value, dict):
        if value.keys() != expected.keys():
            return False
        return all(same_value(value[key], expected[key]) for key in expected)
    return bool(value == expected)


def _close(number: float, wanted: float) -> bool:
    # Compare, do not subtract: an int may be too large for a float.
    if wanted != wanted:  # NaN
        return number != number
    margin = TOLERANCE * max(1.0, abs(wanted))
    return number == wanted or wanted - margin <= number <= wanted + margin
