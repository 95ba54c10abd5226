"""Rows with a question, options and the right option -> chat prompts that show the options by letter."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import Config, RawConfig
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT, instructions_before
from axolotl_grpo_plugin.transforms.rows import DataRow, MapArguments, Row, batched, guess_columns

CHOICE_PROMPT = f"{SYSTEM_PROMPT}\nThe answer is the letter of the right option."
LISTS = ("choices", "options", "endings", "answer_choices", "candidates")
GOLDS = (
    "answer",
    "answerKey",
    "answer_key",
    "answer_idx",
    "answer_index",
    "correct",
    "correct_answer",
    "correct_option",
    "cop",
    "label",
    "gold",
    "target",
    "solution",
)
QUESTIONS = (
    "question",
    "question_stem",
    "problem",
    "query",
    "Question",
    "ctx",
    "sentence",
    "prompt",
)
# Columns with one option each. The last form is GPQA's, in which the first option is right.
COLUMNS = (
    [*ascii_uppercase[:10]],
    [*ascii_uppercase[:10].lower()],
    [f"option_{letter}" for letter in ascii_uppercase[:10].lower()],
    [f"option{number}" for number in range(1, 11)],
    [f"ending{number}" for number in range(10)],
    ["opa", "opb", "opc", "opd", "ope"],
    ["Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"],
)
_KEPT_IN_ORDER = re.compile(
    r"\b(?:above|below|preceding|previous|following)\b|\b(?:both|neither|only)\b.*\b[A-J]\b",
    re.IGNORECASE,
)


class RowOptions(NamedTuple):
    """The options of a row.

    Attributes:
        texts: Their texts in order.
        labels: The names by which the gold answer may call them, [] if it has none.
        columns: The columns that have them.
        first_is_right: The first option is right, as in GPQA.
    """

    texts: list[str]
    labels: list[str]
    columns: list[str]
    first_is_right: bool = False


def choice(cfg: RawConfig, dataset_idx: int = 0, **_: object) -> MapArguments:
    """Make prompts of multiple-choice rows: MMLU, ARC, GPQA, MedMCQA and others.

    The options are a list ("choices", "options", "endings"), an object by letter, {text, label} as in ARC, or
    one column each (A to E, option_a, opa, GPQA's). The gold answer is a letter, a label, the text of an
    option, or an index from 0. Several letters are several right options. `grpo_columns` names the columns
    `question`, `options` and `answer` if they have other names. `grpo_shuffle_options`, a number, shuffles the
    options of each row by it, except those that speak of the others ("all of the above"). RowOptions in which the
    first is always right are shuffled anyway.

    Adds `prompt`, chat messages that show the options as "A) text" and ask for the letter in the layout of
    GSM8K. `solution` and `answer` become the letter, and `options` the JSON text of the options in order. A row
    without `data_source` gets "choice". `grpo_examples`
    is read, too: their questions are shown as they are.
    """
    config = Config(cfg)
    names = config.grpo_columns
    seed = config.grpo_shuffle_options
    ask = instructions_before(cfg, CHOICE_PROMPT, config.grpo_examples)

    def change(row: DataRow) -> Row:
        options = find_options(row.values, names.options)
        if options is None:
            column = row.column(names.options or LISTS[0])
            raise row.fault(
                column, f"no options: {row.values[column]!r:.80}", "Write a list of texts"
            )
        question = row.text(_question_column(row.values, options, names.question))
        right = [0] if options.first_is_right else _right(row, options, names.answer)
        order = list(range(len(options.texts)))
        by = seed if seed is not None else 0
        is_free = not any(map(_KEPT_IN_ORDER.search, options.texts))
        if is_free and (seed is not None or options.first_is_right):
            random.Random(f"{by} {question}").shuffle(order)
        texts = [options.texts[index] for index in order]
        letters = sorted(ascii_uppercase[order.index(index)] for index in right)
        shown = "\n".join(
            f"{letter}) {text}" for letter, text in zip(ascii_uppercase, texts, strict=False)
        )
        gold = ", ".join(letters)
        return {
            "prompt": ask(f"{question.strip()}\n\n{shown}"),
            "solution": gold,
            "answer": gold,
            "options": json.dumps(texts, ensure_ascii=False),
        }

    return batched(cfg, dataset_idx, change, "choice")


def find_options(row: Row, named: str | None = None) -> RowOptions | None:
    """Return the options of a row, None if it has none.

    Args:
        row: The columns.
        named: The column of the options, None to look for it.
    """
    for name in [named] if named else LISTS:
        found = _listed(row.get(name), name)
        if found:
            return found
    if named:
        return None
    for names in COLUMNS:
        present = [name for name in names if isinstance(row.get(name), str | int | float)]
        if len(present) >= 2 and present == names[: len(present)]:
            texts = [str(row[name]).strip() for name in present]
            is_gpqa = present[0] == "Correct Answer"
            return RowOptions(texts, [] if is_gpqa else present, present, is_gpqa)
    return None


def _listed(value: Any, column: str) -> RowOptions | None:
    """Return the options in a list, an object, or their JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    labels: Sequence[Any] = []
    if isinstance(value, Mapping):
        given = {key: item for key, item in value.items() if item is not None}
        if {"text", "label"} <= given.keys():
            value, labels = given["text"], given["label"]
        else:
            labels = sorted(given)
            value = [given[label] for label in labels]
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        labels = [item.get("label", item.get("key")) for item in value]
        value = [item.get("text", item.get("value")) for item in value]
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= len(ascii_uppercase):
        return None
    if not all(isinstance(item, str | int | float) for item in value):
        return None
    names = [str(label) for label in labels]
    return RowOptions([str(item).strip() for item in value], names, [column])


def right_options(gold: Any, options: RowOptions) -> list[int]:
    """Return the indices of the right options, [] if the gold answer names none.

    A number is an index from 0. If all labels are numbers, or if it is also the text of another option, it is
    none of them.
    """
    if isinstance(gold, list | tuple):
        several = [right_options(part, options) for part in gold]
        return sorted({index for part in several for index in part}) if all(several) else []
    texts, labels = options.texts, options.labels
    if isinstance(gold, bool) or gold is None:
        return []
    if isinstance(gold, float) and gold.is_integer():
        gold = int(gold)
    text = str(gold).strip()
    for label in (text, f"option{text}"):  # WinoGrande's "1" is its column option1
        if label in labels:
            return [labels.index(label)]
    bare = text.strip("()[]. ")
    letters = ascii_uppercase[: len(texts)]
    if len(bare) == 1 and bare.upper() in letters:
        return [letters.index(bare.upper())]
    as_text = [index for index, option in enumerate(texts) if option.casefold() == text.casefold()]
    if text.isdecimal() and not (labels and all(map(str.isdecimal, labels))):
        by_index = [int(text)] if int(text) < len(texts) else []
        if isinstance(gold, str) and as_text:
            return as_text
        return by_index if not as_text or as_text == by_index else []
    if len(as_text) == 1:
        return as_text
    parts = re.split(r"\s*[,;]\s*", bare)
    if len(parts) > 1 and all(len(part) == 1 and part.upper() in letters for part in parts):
        return sorted({letters.index(part.upper()) for part in parts})
    return []


def gold_column(row: Row, options: RowOptions) -> str:
    """Return the column of the gold answer, "" if no column names an option."""
    names = [name for name in GOLDS if name in row]
    guessed = guess_columns(
        {name: value for name, value in row.items() if name not in options.columns}
    )[1]
    for name in [*names, guessed]:
        if name and name not in options.columns and right_options(row[name], options):
            return name
    return ""


def _question_column(row: Row, options: RowOptions, named: str | None) -> str:
    """Return the column of the question: the named one, else a known one, else a guess."""
    if named:
        return named
    known = [name for name in QUESTIONS if isinstance(row.get(name), str)]
    others = {name: value for name, value in row.items() if name not in options.columns}
    return next(iter(known), "") or guess_columns(others)[0] or QUESTIONS[0]


def _right(row: DataRow, options: RowOptions, named: str | None) -> list[int]:
    column = named or gold_column(row.values, options)
    if not column:
        column = row.column(*GOLDS)
    if column not in row.values:
        column = row.column(column)
    right = right_options(row.values[column], options)
    if not right:
        count = len(options.texts)
        raise row.fault(
            column,
            f"no option: {row.values[column]!r:.60} is neither a letter nor the text of one of {count} options",
            "Write its letter, its text, or its index from 0",
        )
    return right
