r"""Puzzles with a value as answer: orderings, graphs, zebra grids, ARC, program inputs and outputs, tables.

`completions.find_answer` finds the answer after the reasoning: in `<answer>`, else in `\boxed{}`, else in a
Markdown fence. Different blocks or boxes are not an answer. The answer is read as JSON or as a Python
literal and never executed. Values are compared, so layout, quotes and the order of keys do not matter.
"""

import re
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import Answer, find_answer, read_number
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.values import Value, are_strings, is_number, normal, read_value, same

LONGEST_ANSWER = 20_000  # characters: a grid of 30 x 30 with one number per line has half as many
_TEXT = re.compile(r"\\(?:text|textbf|textit|texttt|mathrm|mathbf)\{([^{}]*)\}")
_ESCAPED = re.compile(r"\\([$%&#_])")
_NO_ANSWER = "no_answer truncated empty_answer several_answers too_long bad_gold".split()


@reward(
    range=(0.0, 1.0),
    reads="solution",
    reasons=["correct", "wrong_value", *_NO_ANSWER],
    inline=True,
)
def exact_reward_func(
    completion: str, solution: Any, ignore_case: bool = False, separator: str = ""
) -> Score:
    """Return 1.0 if the answer equals the gold value, else 0.0.

    Numbers are compared by value (1 equals 1.0, but not True), lists and tuples item by item, dicts by key,
    strings exactly. A number may have its unit ("18 dollars"). A list of strings may lack quotes.

    solution: a value, or its text. Text that is neither JSON nor a literal is plain text. Its case, spaces
        and final full stop do not matter. CodeIO's '"output": ...' and '"input": ...' are also right without
        the key. If it is empty, the score is None.
    ignore_case: compare all strings as plain text.
    separator: separates several answers, which may be in any order ("|" in Reasoning360's tables).

    Source: the tasks `ordering_puzzle`, `graph_logical`, `arcagi`, `codeio`, `cruxeval` and `table` of
    https://github.com/LLM360/Reasoning360 (Apache-2.0), on the contract of this module.

    >>> exact_reward_func([""], ["<answer>['owl', 'crow']</answer>"], solution=['["owl", "crow"]'])
    [1.0]
    """
    gold = _read_gold(solution)
    if gold is None:
        return Score(None, "bad_gold")
    answer = _find(completion)
    if answer.text is None:
        return Score(0.0, answer.problem)
    if separator and isinstance(solution, str) and separator in solution:
        golds = [read_value(each.strip()) for each in solution.split(separator)]
        equal = _match(answer.text.split(separator), golds, ignore_case)
    else:
        equal = _equal(answer.text, gold, ignore_case)
    return Score(float(equal), "correct" if equal else "wrong_value", answer.text)


@reward(
    range=(0.0, 1.0),
    reads="solution",
    reasons=["correct", "wrong_cells", "wrong_shape", "not_a_grid", *_NO_ANSWER],
    inline=True,
)
def grid_reward_func(completion: str, solution: Any, partial: bool = False) -> Score:
    """Return 1.0 if each cell of a zebra puzzle's grid is right, else 0.0.

    The answer has all rows in the gold order, and all columns in any order. Case and spaces of a cell do not
    matter.

    solution: {"header": ["House", ...], "rows": [["1", ...], ...]}, or its JSON text. The answer has the same
        form. If it is not such a grid, the score is None.
    partial: return the share of right cells, as Reasoning360 does. This also pays for the column of house
        numbers.

    Source: the task `zebra_puzzle` of https://github.com/LLM360/Reasoning360 (Apache-2.0).

    >>> grid = '{"header": ["House", "Pet"], "rows": [["1", "cat"], ["2", "%s"]]}'
    >>> grid_reward_func([""], [f"<answer>{grid % 'owl'}</answer>"], solution=[grid % "dog"])
    [0.0]
    """
    gold = _grid(read_value(solution.strip()).value if isinstance(solution, str) else solution)
    if gold is None or not gold.rows or len(set(gold.header)) < len(gold.header):
        return Score(None, "bad_gold")
    answer = _find(completion)
    if answer.text is None:
        return Score(0.0, answer.problem)
    grid = _grid(read_value(answer.text).value)
    if grid is None:
        return Score(0.0, "not_a_grid", answer.text)
    if sorted(grid.header) != sorted(gold.header) or len(grid.rows) != len(gold.rows):
        return Score(0.0, "wrong_shape", answer.text)
    columns = [grid.header.index(name) for name in gold.header]
    right = [
        _same_cell(row[column], cell)
        for row, golds in zip(grid.rows, gold.rows, strict=True)
        for column, cell in zip(columns, golds, strict=True)
    ]
    share = sum(right) / len(right)
    value = share if partial else float(share == 1)
    return Score(value, "correct" if share == 1 else "wrong_cells", answer.text)


def _find(completion: str) -> Answer:
    answer = find_answer(
        completion, ["tag", "box", "fence"], normal, LONGEST_ANSWER, every_tag=True
    )
    text = answer.text or ""
    if text.startswith("```") and text.endswith("```") and text.count("```") == 2:
        label, line_end, body = text[3:-3].partition("\n")
        text = (body if line_end and (label.strip() or "json").isalnum() else text[3:-3]).strip()
        return Answer(text) if text else Answer(None, "empty_answer")
    return answer


def _read_gold(solution: Any) -> Value | None:
    if not isinstance(solution, str):
        return Value(solution)
    return _read(solution.strip()) if solution.strip() else None


def _read(text: str) -> Value:
    if text.startswith(('"output":', '"input":')):  # CodeIO leaves out the braces
        text = f"{{{text}}}"
    return read_value(text)


def _equal(answer: str, gold: Value, ignore_case: bool) -> bool:
    value, plain = _read(answer)
    wanted = gold.value
    if gold.plain and normal(value if isinstance(value, str) else answer) == normal(wanted):
        return True
    if plain:
        answer = _bare(answer)
        value, plain = _read(answer)
    if gold.plain:
        return normal(value if isinstance(value, str) else answer) == normal(wanted)
    if plain and is_number(wanted):
        number = read_number(answer).value
        return number is not None and wanted in (number, float(number))
    if plain and are_strings(wanted):
        value = [each.strip(" \"'") for each in answer.strip("[]()").split(",")]
    wrapped = isinstance(wanted, dict) and len(wanted) == 1 and wanted.keys() <= {"output", "input"}
    inside = next(iter(wanted.values())) if wrapped else wanted
    return same(value, wanted, ignore_case) or same(value, inside, ignore_case)


def _bare(text: str) -> str:
    r"""Return a text without Markdown around it (`**owl**`) and LaTeX in it (`\text{owl}`, `\$`, `1{,}234`)."""
    marked = text.removesuffix(".")
    mark = marked[: len(marked) - len(marked.lstrip("*`"))]
    if mark and marked.endswith(mark) and len(marked) > 2 * len(mark):
        text = marked[len(mark) : -len(mark)].strip()
    text = text.removesuffix(".")
    return _ESCAPED.sub(r"\1", _TEXT.sub(r"\1", text)).replace("{,}", ",")


def _match(answers: list[str], golds: list[Value], ignore_case: bool) -> bool:
    """Return whether answers and golds are equal in some order."""
    left = [each.strip() for each in answers]
    if len(left) != len(golds):
        return False
    for gold in golds:
        place = next((i for i, each in enumerate(left) if _equal(each, gold, ignore_case)), None)
        if place is None:
            return False
        del left[place]
    return True


class _Grid(NamedTuple):
    """header: the column names in normal form. rows: one cell per column each."""

    header: list[str]
    rows: list[Any]


def _grid(value: Any) -> _Grid | None:
    if not isinstance(value, dict):
        return None
    header, rows = value.get("header"), value.get("rows")
    if not isinstance(header, (list, tuple)) or not isinstance(rows, (list, tuple)):
        return None
    if not header or not are_strings(header):
        return None
    if not all(isinstance(row, (list, tuple)) and len(row) == len(header) for row in rows):
        return None
    return _Grid([normal(name) for name in header], list(rows))


def _same_cell(cell: Any, gold: Any) -> bool:
    if isinstance(cell, str):
        return normal(cell) == normal(str(gold))
    wanted = read_value(gold).value if isinstance(gold, str) else gold
    return same(cell, wanted, ignore_case=True)
