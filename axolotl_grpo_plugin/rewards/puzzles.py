r"""Puzzles with a value as answer: orderings, graphs, zebra grids, ARC, program inputs and outputs, tables.

`completions.find_answer` finds the answer after the reasoning: in `<answer>`, else in `\boxed{}`, else in a
Markdown fence, else in a line "Answer: ...". Blocks or boxes with different values are not an answer. The answer is
read as JSON or as a Python literal and never executed. Values are compared, so layout, quotes and the order of keys do
not matter.
"""

import re
from typing import Any

from axolotl_grpo_plugin.completions import Answer, find_answer, read_number, turns_of
from axolotl_grpo_plugin.reward import Row, Score, reward
from axolotl_grpo_plugin.rewards.choice import read_choice
from axolotl_grpo_plugin.rewards.mathematics.values import (
    Value,
    are_strings,
    comparable,
    is_number,
    matched,
    normal,
    read_value,
    same,
)
from axolotl_grpo_plugin.thinking import after_thinking

LONGEST_ANSWER = 20_000  # characters: a grid of 30 x 30 with one number per line has half as many
_TEXT = re.compile(r"\\(?:text|textbf|textit|texttt|mathrm|mathbf)\{([^{}]*)\}")
_ESCAPED = re.compile(r"\\([$%&#_])")
# The whole answer is one Markdown block. Its first line may be a label.
_FENCED = re.compile(r"```((?:(?!```).)*)```", re.DOTALL)
_LABEL = re.compile(r"\s*[^\W_]*\s*")
_QUOTES = str.maketrans("\u201c\u201d\u2018\u2019", "\"\"''")
_ARROW = re.compile(r"\s*(?:->|=>|\u2192)\s*")
_LIST_MARK = re.compile(r"\s*(?:[-*\u2022]|[0-9]{1,3}[.)])\s+")  # "- owl", "1. owl"
_CELL = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_LONGEST_COMPARED = 2_000  # characters: longer blocks are one answer only if they are equal texts
_LISTS = (list, tuple)
_LETTER = re.compile(r"[(\[]?[A-J][)\]]?")  # of an option
_NO_ANSWER = ("no_answer", "truncated", "empty_answer", "several_answers", "too_long", "bad_gold")


@reward(
    range=(0.0, 1.0),
    reads="solution",
    may_read="prompt",
    reasons=["correct", "wrong_value", *_NO_ANSWER],
    inline=True,
)
def exact_reward_func(
    completion: str,
    solution: Any,
    prompt: Any = None,
    ignore_case: bool = False,
    separator: str = "",
    any_of: bool = False,
) -> Score:
    """Return 1.0 if the answer equals the gold value, else 0.0.

    Numbers are compared by value (1 equals 1.0, but not True), lists and tuples item by item, dicts by key,
    strings exactly. A number may have its unit ("18 dollars"). A list of strings may lack quotes, and its members may
    stand on lines or between arrows. A list of rows of numbers may have a line for each row.

    Args:
        solution: A value, or its text. Text that is neither JSON nor a literal is plain text. Its case, spaces
            and final full stop do not matter. The letter of an option ("D") may stand as in `rewards.choice`:
            "(D)", "D. Paris". CodeIO's '"output": ...' and '"input": ...' are also right without
            the key. If it is empty, the score is None.
        prompt: A string or chat messages. If it asks for JSON and for no other layout, a JSON object alone is an
            answer.
        ignore_case: Compare all strings as plain text.
        separator: Separates several answers, which may be in any order ("|" in Reasoning360's tables).
        any_of: A list has different right answers, as TriviaQA's aliases: one of them is enough.

    Source: the tasks `ordering_puzzle`, `graph_logical`, `arcagi`, `codeio`, `cruxeval` and `table` of
    https://github.com/LLM360/Reasoning360 (Apache-2.0), on the contract of this module.

    >>> exact_reward_func([""], ["<answer>['owl', 'crow']</answer>"], solution=['["owl", "crow"]'])
    [1.0]
    """
    answer = _find(completion)
    if answer.problem == "no_answer" and _asks_for_json(prompt):
        answer = _bare_object(completion) or answer
    if isinstance(solution, str) and not solution.strip():
        return Score(None, "bad_gold")
    if answer.text is None:
        return Score(0.0, answer.problem)

    gold = _read(solution.strip()) if isinstance(solution, str) else Value(solution)
    if any_of and isinstance(gold.value, _LISTS):
        is_right = any(
            _is_right(answer.text, Value(alias, isinstance(alias, str)), ignore_case)
            for alias in gold.value
        )
    elif isinstance(solution, str) and separator and separator in solution:
        golds = [read_value(text.strip()) for text in solution.split(separator)]
        answers = answer.text.split(separator)
        is_right = matched(
            golds, answers, lambda each, text: _equal(text.strip(), each, ignore_case)
        )
    else:
        is_right = _is_right(answer.text, gold, ignore_case)
    return Score(float(is_right), "correct" if is_right else "wrong_value", answer.text)


@reward(
    range=(0.0, 1.0),
    reads="solution",
    reasons=["correct", "wrong_cells", "wrong_shape", "not_a_grid", *_NO_ANSWER],
    inline=True,
)
def grid_reward_func(completion: str, solution: Any, partial: bool = False) -> Score:
    """Return 1.0 if each cell of a zebra puzzle's grid is right, else 0.0.

    The answer has all rows in the gold order, and all columns in any order. Case and spaces of a cell do not
    matter, and the name of the column may stand before its value ("House 1").

    Args:
        solution: {"header": ["House", ...], "rows": [["1", ...], ...]}, or its JSON text. The answer has the same
            form, or is a list with an object for each row. If the solution is no grid, the score is None.
        partial: Return the share of right cells, as Reasoning360 does. This also pays for the column of house
            numbers.

    Source: the task `zebra_puzzle` of https://github.com/LLM360/Reasoning360 (Apache-2.0).

    >>> grid = '{"header": ["House", "Pet"], "rows": [["1", "cat"], ["2", "%s"]]}'
    >>> grid_reward_func([""], [f"<answer>{grid % 'owl'}</answer>"], solution=[grid % "dog"])
    [0.0]
    """
    gold = _grid(solution)
    if not gold:
        return Score(None, "bad_gold")
    answer = _find(completion)
    if answer.text is None:
        return Score(0.0, answer.problem)
    grid = _grid(answer.text)
    if grid is None:
        return Score(0.0, "not_a_grid", answer.text)
    if len(grid) != len(gold) or grid[0].keys() != gold[0].keys():
        return Score(0.0, "wrong_shape", answer.text)

    right = 0
    for row, wanted in zip(grid, gold, strict=True):
        for name in wanted:
            right += _same_cell(name, row[name], wanted[name])
    share = right / (len(gold) * len(gold[0]))
    if share == 1:
        return Score(1.0, "correct", answer.text)
    return Score(share if partial else 0.0, "wrong_cells", answer.text)


def _asks_for_json(prompt: Any) -> bool:
    """Return whether a prompt asks for JSON, and for no other layout."""
    text = "\n".join(turns_of(prompt)) if prompt else ""
    return "json" in text.lower() and "<answer>" not in text and r"\boxed" not in text


def _bare_object(completion: str) -> Answer | None:
    """Return the answer of a completion that is a JSON object alone."""
    bare = after_thinking(completion).strip()
    is_object = bare.startswith("{") and bare.endswith("}") and not read_value(bare).plain
    return Answer(bare) if is_object else None


def _find(completion: str) -> Answer:
    answer = find_answer(
        completion, ["tag", "box", "fence", "line"], _stated, LONGEST_ANSWER, every_tag=True
    )
    text = _without_fence(answer.text or "")
    return Answer(None, answer.problem or "empty_answer") if not text else Answer(text)


def _stated(text: str) -> object:
    """Return a value that is equal for texts that state the same answer."""
    text = _without_fence(text)
    value = _read(text) if len(text) < _LONGEST_COMPARED else Value(text, plain=True)
    return normal(text) if value.plain else comparable(value.value)


def _without_fence(text: str) -> str:
    """Return a text without the Markdown fence around all of it."""
    fence = _FENCED.fullmatch(text)
    if fence is None:
        return text
    label, line_end, body = fence[1].partition("\n")
    return (body if line_end and _LABEL.fullmatch(label) else fence[1]).strip()


def _read(text: str) -> Value:
    if text.startswith(('"output":', '"input":')):  # CodeIO leaves out the braces
        text = f"{{{text}}}"
    return read_value(text)


def _is_right(answer: str, gold: Value, ignore_case: bool) -> bool:
    """Return whether an answer equals a gold value, or names the same option."""
    if _equal(answer, gold, ignore_case):
        return True
    is_letter = gold.plain and _LETTER.fullmatch(gold.value) is not None
    return is_letter and read_choice(answer).letters == read_choice(gold.value).letters


def _equal(answer: str, gold: Value, ignore_case: bool) -> bool:
    wanted = gold.value
    value, is_plain = _read(answer)
    if is_plain and not gold.plain and "\u201c" in answer:
        answer = answer.translate(_QUOTES)
        value, is_plain = _read(answer)
    if is_plain and not (gold.plain and normal(value) == normal(wanted)):
        answer = _bare(answer)
        value, is_plain = _read(answer)
    if gold.plain:
        text = answer
        if isinstance(value, str):
            text = value
        return normal(text) == normal(wanted)
    if is_plain and is_number(wanted):
        number = read_number(answer).value
        return number is not None and wanted in (number, float(number))
    if is_plain and are_strings(wanted):
        value = _members(answer)
    elif is_plain and _is_table(wanted):
        value = _rows(answer)
    if same(value, wanted, ignore_case):
        return True
    # CodeIO's gold {"output": value} is also right without its key.
    if not isinstance(wanted, dict) or [*wanted] not in (["output"], ["input"]):
        return False
    (inside,) = wanted.values()
    return same(value, inside, ignore_case)


def _members(text: str) -> list[str]:
    """Return the members of a list without quotes: "owl, crow and fox", "owl -> crow", or one on each line."""
    text = text.strip("[]()")
    lines = [_LIST_MARK.sub("", line, count=1) for line in text.splitlines() if line.strip()]
    if "," in text:
        members = text.split(",")
        members[-1] = re.sub(r"^\s*and\s+", "", members[-1])
    else:
        members = lines if len(lines) > 1 else _ARROW.split(text)
    return [member.strip(" \n\"'") for member in members]


def _is_table(value: object) -> bool:
    """Return whether a value is a list of rows of numbers."""
    return isinstance(value, _LISTS) and all(
        isinstance(row, _LISTS) and all(map(is_number, row)) for row in value
    )


def _rows(text: str) -> list[list[int | float]] | str:
    """Return rows of numbers that stand on lines: "1 2", "1, 2" or "[1, 2]". Return any other text as it is."""
    rows = []
    for line in text.strip("[] \n").splitlines():
        cells = line.strip("[], ").replace(",", " ").split()
        if not all(map(_CELL.fullmatch, cells)):
            return text
        rows.append([float(cell) if "." in cell else int(cell) for cell in cells])
    return rows


def _bare(text: str) -> str:
    r"""Return a text without Markdown around it (`**owl**`) and LaTeX in it (`\text{owl}`, `\$`, `1{,}234`)."""
    marked = text.removesuffix(".")
    mark = marked[: len(marked) - len(marked.lstrip("*`"))]
    if mark and marked.endswith(mark) and len(marked) > 2 * len(mark):
        text = marked[len(mark) : -len(mark)].strip()
    text = text.removesuffix(".")
    return _ESCAPED.sub(r"\1", _TEXT.sub(r"\1", text)).replace("{,}", ",")


def _grid(value: object) -> list[Row] | None:
    """Return the rows of a grid, or of its text, each by column. Return None if it is no grid."""
    if isinstance(value, str):
        value = read_value(value.strip()).value
    if isinstance(value, _LISTS) and value and all(isinstance(row, dict) for row in value):
        # An object for each row
        value = {
            "header": [*value[0]],
            "rows": [[row.get(key) for key in value[0]] for row in value],
        }
    grid = value if isinstance(value, dict) else {}
    header, rows = grid.get("header"), grid.get("rows")
    if not header or not are_strings(header) or not isinstance(rows, _LISTS):
        return None

    names = [normal(name) for name in header]
    if len(set(names)) < len(names):
        return []  # no cell of two columns with one name can be found

    table = []
    for row in rows:
        if not isinstance(row, _LISTS) or len(row) != len(names):
            return None
        cells = zip(names, row, strict=True)
        table.append(dict(cells))
    return table


def _same_cell(name: str, cell: object, gold: object) -> bool:
    """Compare two cells. The name of the column may stand before a value: "House 1"."""
    if isinstance(cell, str):
        text, wanted_text = normal(cell), normal(str(gold))
        return text in (wanted_text, f"{name} {wanted_text}")
    wanted = gold
    if isinstance(gold, str):
        wanted = read_value(gold).value
    return same(cell, wanted, ignore_case=True)
