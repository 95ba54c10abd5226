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
