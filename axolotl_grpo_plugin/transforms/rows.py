"""Shared by the transforms: errors that name the row, chat prompts, and the limit on a prompt's length."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from itertools import compress
from math import isfinite
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import Config, RawConfig
from axolotl_grpo_plugin.findings import Finding, FindingError
from axolotl_grpo_plugin.runlog.schema import as_text

LOG = logging.getLogger(__name__)

# Names of columns, the most certain first. An id, a source or a level is neither question nor answer.
_QUESTIONS = (
    "question",
    "problem",
    "q",
    "query",
    "prompt",
    "instruction",
    "input",
    "task",
    "messages",
    "conversation",
    "text",
)
SYSTEMS = ("system", "system_prompt")  # columns with a row's own system text
GOLD_COLUMNS = (
    "answer",
    "gold",
    "a",
    "ground_truth",
    "label",
    "target",
    "solution",
    "output",
    "response",
    "completion",
)
_NOT_GUESSED = (
    "id",
    "idx",
    "index",
    "uuid",
    "data_source",
    "source",
    "split",
    "level",
    "difficulty",
    "subject",
    "category",
    "title",
    "context",
)

Row = dict[str, Any]
Columns = dict[str, list[Any]]
Messages = list[dict[str, str]]
Ask = Callable[[str], Any]  # makes a prompt of a question: chat messages, or text
MapArguments = tuple[Callable[..., Columns], Row]


_MOMENTS = date | time | Decimal  # which `as_text` writes as text
DATASET_FIX = "Correct the row, or the transform"


class DatasetError(FindingError):
    """The dataset cannot be trained on. The finding names the dataset, the row and the column.

    A finding without a fix gets `DATASET_FIX`.
    """

    def at(self, where: str, source: str) -> Finding:
        """Return the finding at another place.

        Args:
            where: The place.
            source: The dataset's name in the error's place. The row and the column stay.
        """
        row = self.finding.where.removeprefix(source).lstrip(":, ")
        what = self.finding.what
        if row:
            what = f"{row}: {what}"
        return Finding(where, what, self.finding.fix or DATASET_FIX)


class DataRow(NamedTuple):
    """A dataset's row before its transform.

    Attributes:
        values: The columns.
        source: The name of the dataset, for messages.
        number: The index of the row in the dataset, for messages.
    """

    values: Row
    source: str
    number: int

    def column(self, *names: str) -> str:
        """Return the first of these names that is a column. Raises: DatasetError."""
        for name in names:
            if name in self.values:
                return name
        question, answer = guess_columns(self.values)
        what = f'no column "{names[0]}" (it has: {", ".join(self.values)})'
        named = f"{{question: {question or '...'}, answer: {answer or '...'}}}"
        fix = f"Set type: axolotl_grpo_plugin.qa and grpo_columns: {named}"
        raise DatasetError(Finding(self.source, what, fix))

    def text(self, *names: str) -> str:
        """Return the text in the first of these columns that exists. Raises: DatasetError."""
        column = self.column(*names)
        value = self.values[column]
        if not isinstance(value, str) or not value.strip():
            raise self.fault(column, f"no text: {value!r}")
        return value

    def gold(self, column: str, value: object) -> str:
        """Return a gold answer as text: text as it is, and anything else as JSON.

        Args:
            column: The name of the column, for the error.
            value: The answer in that column.

        Raises:
            DatasetError: The answer is NaN, or has bytes or another type that is no JSON.
        """
        if isinstance(value, str | _MOMENTS):
            return str(value)
        wrong = _not_json(value)
        if wrong is not None:
            what = f"an answer of type {type(wrong).__name__}: {wrong!r:.60}"
            if isinstance(wrong, float):
                what = f"no answer: {wrong}"
            raise self.fault(column, what, "Write it as text, or remove the row")
        return str(as_text(value) or "")

    def fault(self, column: str, what: str, fix: str = "") -> DatasetError:
        """Return an error to raise for the value in a column. `DatasetError` documents the fix."""
        where = f'{self.source}, row {self.number}, column "{column}"'
        return DatasetError(Finding(where, what, fix))


def _not_json(value: Any) -> object:
    """Return the first part of a value that JSON cannot hold, None if there is none."""
    if hasattr(value, "tolist"):  # NumPy's
        value = value.tolist()
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        parts = map(_not_json, value)
        return next((part for part in parts if part is not None), None)
    if isinstance(value, float) and not isfinite(value):
        return value
    is_known = value is None or isinstance(value, str | int | float | _MOMENTS)
    return None if is_known else value


def batched(
    cfg: RawConfig,
    dataset_idx: int,
    change: Callable[[DataRow], Row],
    data_source: str = "",
    batch_size: int = 10_000,
) -> MapArguments:
    """Return a function and its options for `datasets.Dataset.map`, as Axolotl expects of a factory.

    Rows with a prompt longer than `grpo_max_prompt_length` tokens are dropped, and their number is
    logged.

    Args:
        cfg: The config.
        dataset_idx: The index of the dataset in `datasets` or `test_datasets`.
        change: Returns the new columns of a row. All other columns stay.
        data_source: The source of rows that have none, because `rewards.dispatch` chooses by it.
        batch_size: The number of rows per call of the function.
    """
    source = source_of(cfg, dataset_idx)

    def transform(columns: Columns, numbers: list[int], tokenizer: object) -> Columns:
        changed: Columns = {}
        for number, row in zip(numbers, rows_of(columns), strict=True):
            new = {**row, **change(DataRow(row, source, number))}
            new["data_source"] = row.get("data_source") or data_source
            for name, value in new.items():
                changed.setdefault(name, []).append(value)
        return within_budget(changed, tokenizer, cfg, source)

    return transform, {"batched": True, "with_indices": True, "batch_size": batch_size}


def rows_of(columns: Columns) -> list[Row]:
    """Return the rows of a batch's columns."""
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def source_of(cfg: RawConfig, dataset_idx: int) -> str:
    """Return the dataset's name for messages.

    Axolotl does not tell a transform whether the number is of `datasets` or of `test_datasets`.
    """
    names = []
    config = Config(cfg)
    for key, entries in (("datasets", config.datasets), ("test_datasets", config.test_datasets)):
        if dataset_idx < len(entries):
            names.append(f"{key}[{dataset_idx}] ({entries[dataset_idx]['path']})")
    return " or ".join(names) or f"dataset {dataset_idx}"


def guess_columns(row: Row) -> tuple[str, str]:
    """Guess the columns of question and gold answer. Each is "" if no column can be it.

    Known names decide first. Otherwise the question is the first text, and the answer the column after it.
    """
    names = []
    for name, value in row.items():
        if name.lower() not in _NOT_GUESSED and not isinstance(value, Mapping):
            names.append(name)
    asked = _known(_QUESTIONS, names)
    # An answer may be a JSON object.
    answered = _known(GOLD_COLUMNS, [name for name in row if name != asked])
    if not asked:
        for name in names:
            if isinstance(row[name], str | list) and name != answered:
                asked = name
                break
    if not answered:
        after = names[names.index(asked) + 1 :] if asked else names
        answered = after[0] if after else ""
    return asked, answered


def _known(known: Sequence[str], names: list[str]) -> str:
    """Return the name that comes first among the known ones, "" without a known name."""
    lower = {name.lower(): name for name in names}
    for name in known:
        if name in lower:
            return lower[name]
    return ""


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def messages_of(messages: object) -> list[Row] | None:
    """Return the messages of Arrow or NumPy as lists and dicts, or None if they are not messages."""
    if not hasattr(messages, "__iter__"):
        return None
    chat = []
    for message in messages:
        if not isinstance(message, Mapping):
            return None
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            return None
        # Arrow gives every message the fields of all.
        chat.append({key: value for key, value in message.items() if value is not None})
    return chat


def with_system(prompt: Any, system: str) -> Any:
    """Return a chat prompt with the row's own system text at its start. Its instructions follow in the same turn."""
    if prompt[0]["role"] != "system":
        return [turn("system", system), *prompt]
    first, *others = prompt
    return [turn("system", f"{system}\n\n{first['content']}"), *others]


def text_prompt(cfg: RawConfig) -> Ask | None:
    """Return a function that writes a question into `grpo_prompt_template`, None without that key."""
    template = Config(cfg).grpo_prompt_template
    if not template:
        return None
    return lambda question: template.replace("{question}", question)


def instructions_beside(cfg: RawConfig, default: str) -> Ask:
    """Return a function that makes a prompt of a problem.

    `grpo_system_prompt`, or else the default, is a system turn. If `grpo_system_in` is "user", it
    follows the problem instead.
    """
    if by_template := text_prompt(cfg):
        return by_template
    config = Config(cfg)
    system = config.grpo_system_prompt or default
    in_user_turn = config.grpo_system_in == "user"

    def ask(problem: str) -> Messages:
        if not system:
            return [turn("user", problem)]
        if in_user_turn:
            return [turn("user", f"{problem}\n{system}")]
        return [turn("system", system), turn("user", problem)]

    return ask


def within_budget(rows: Columns, tokenizer: Any, cfg: RawConfig, source: str) -> Columns:
    """Drop the rows whose prompt exceeds `grpo_max_prompt_length`, and log how many.

    Counts as the trainer does: chats are rendered by the template, strings are not.
    """
    config = Config(cfg)
    budget = config.grpo_max_prompt_length
    prompts = rows["prompt"]
    if budget is None or not prompts:
        return rows
    if isinstance(prompts[0], str):
        encoded = tokenizer(text=prompts)
    else:
        encoded = tokenizer.apply_chat_template(
            prompts,
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            **config.grpo_trl_args.chat_template_kwargs,
        )
    fits = [len(ids) <= budget for ids in encoded["input_ids"]]
    if all(fits):
        return rows
    LOG.warning(
        "%s: dropped %d of %d rows, whose prompts are longer than %d tokens (grpo_max_prompt_length)",
        source,
        fits.count(False),
        len(fits),
        budget,
    )
    return {name: list(compress(values, fits)) for name, values in rows.items()}
