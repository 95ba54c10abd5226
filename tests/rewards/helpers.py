"""Completions in GSM8K's layout, and the cases of a table whose first column is a name."""

import pytest


def tagged(answer, reasoning="9 * 2 = 18"):
    return f"<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>"


def named(table, given=None):
    """Return a case per row. given: the number of columns before the expected ones, which become one list."""
    cases = []
    for name, *row in table:
        if given is not None:
            row = [*row[:given], row[given:]]
        cases.append(pytest.param(*row, id=name))
    return cases


def lines(text, given=1):
    """Return (key, ..., cell) for each cell of a table. A line has `given` keys, then cells, with "¦" between."""
    found = []
    for line in text.strip().splitlines():
        *keys, rest = line.split(" ¦ ", given)
        found += [(*keys, cell) for cell in rest.split(" ¦ ")]
    return found
