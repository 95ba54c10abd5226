"""Shared by the transforms: errors that name the row, chat prompts, and the limit on a prompt's length."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from axolotl_grpo_plugin.config import template_options

LOG = logging.getLogger(__name__)

# Names of columns, the most certain first. An id, a source or a level is neither question nor answer.
_QUESTIONS = (
    "question problem q query prompt instruction input task messages conversation text".split()
)
_ANSWERS = "answer gold a ground_truth label target solution output response completion".split()
_NOT_GUESSED = (
    "id idx index uuid data_source source split level difficulty subject category".split()
)

Columns = dict[str, list[Any]]
Messages = list[dict[str, str]]
MapArguments = tuple[Callable[..., Columns], dict[str, Any]]


DATASET_FIX = "Correct the row, or name another transform in `type:`"


class DatasetError(ValueError):
    """The dataset cannot be trained on. The message names the dataset, the row and the column."""


def batched(
    cfg: Any,
    dataset_idx: int,
    change: Callable[[Columns, Sequence[int], str], Columns],
    data_source: str = "",
    batch_size: int = 10_000,
) -> MapArguments:
    """Return a function and its options for `datasets.Dataset.map`, as Axolotl expects of a factory.

    change: takes a batch's columns, the rows' numbers and the dataset's name for messages. Returns
    new columns; all other columns stay. data_source: for rows without one, because `rewards.dispatch`
    chooses by it. Rows with a prompt longer than `grpo_max_prompt_length` tokens are dropped, and
    their number is logged.
    """
    source = source_of(cfg, dataset_idx)

    def transform(rows: Columns, numbers: list[int], tokenizer: Any) -> Columns:
        made = {**rows, **change(rows, numbers, source)}
        own = rows.get("data_source", [None] * len(numbers))
        made["data_source"] = [each or data_source for each in own]
        return within_budget(made, numbers, tokenizer, cfg, source)

    return transform, {"batched": True, "with_indices": True, "batch_size": batch_size}


def source_of(cfg: Any, dataset_idx: int) -> str:
    """Return the dataset's name for messages.

    Axolotl does not tell a transform whether the number is of `datasets` or of `test_datasets`.
    """
    paths = [
        f"{key}[{dataset_idx}] ({cfg[key][dataset_idx]['path']})"
        for key in ("datasets", "test_datasets")
        if cfg.get(key) and dataset_idx < len(cfg[key])
    ]
    return " or ".join(paths) or f"dataset {dataset_idx}"


def first_of(names: Sequence[str], rows: Columns) -> str:
    """Return the first of these names that is a column, or else the first name."""
    return next((name for name in names if name in rows), names[0])


def check_columns(rows: Columns, source: str, *columns: str) -> None:
    """Check that the columns exist. Raises: DatasetError."""
    for column in columns:
        if column not in rows:
            question, answer = guess_columns(rows)
            mapping = f"{{question: {question or '...'}, answer: {answer or '...'}}}"
            raise DatasetError(
                f'{source}: no column "{column}" (it has: {", ".join(rows)}). '
                f"Set type: axolotl_grpo_plugin.qa and grpo_columns: {mapping}."
            )


def guess_columns(rows: Columns) -> tuple[str, str]:
    """Guess the columns of question and gold answer. Each is "" if no column can be it.

    Known names decide first. Otherwise the question is the column whose values end in "?", or the
    first text, and the answer is the next column.
    """
    names = [
        name
        for name, values in rows.items()
        if name.lower() not in _NOT_GUESSED
        and not any(isinstance(value, Mapping) for value in values)
        and any(value is not None for value in values)
    ]
    lower = {name.lower(): name for name in reversed(names)}
    question = next((lower[name] for name in _QUESTIONS if name in lower), "")
    answer = next((lower[name] for name in _ANSWERS if lower.get(name, question) != question), "")
    written = [name for name in names if name != answer and isinstance(rows[name][0], str | list)]
    asking = [name for name in written if str(rows[name][0]).rstrip().endswith("?")]
    question = question or next(iter([*asking, *written]), "")
    later = names[names.index(question) + 1 :] if question else []
    others = (name for name in [*later, *names] if name != question)
    return question, answer or next(others, "")


def texts(rows: Columns, numbers: Sequence[int], source: str, *columns: str) -> list[list[str]]:
    """Return the columns, after a check that each row holds text in them. Raises: DatasetError."""
    check_columns(rows, source, *columns)
    for column in columns:
        for number, value in zip(numbers, rows[column], strict=True):
            if not isinstance(value, str) or not value.strip():
                raise DatasetError(f'{source}, row {number}, column "{column}": no text: {value!r}')
    return [rows[column] for column in columns]


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def messages_of(messages: Any) -> list[dict[str, Any]] | None:
    """Return the messages of Arrow or NumPy as lists and dicts, or None if they are not messages."""
    chat: list[Any] = list(messages) if hasattr(messages, "__iter__") else [None]
    for each in chat:
        if not isinstance(each, Mapping):
            return None
        if not isinstance(each.get("role"), str) or not isinstance(each.get("content"), str):
            return None
    # Arrow gives every message the fields of all.
    return [{key: value for key, value in each.items() if value is not None} for each in chat]


def text_prompt(cfg: Any) -> Callable[[str], str] | None:
    """Return a function that writes a question into `grpo_prompt_template`, None without that key."""
    template: str | None = cfg.get("grpo_prompt_template")
    return (lambda question: template.replace("{question}", question)) if template else None


def instructions_beside(cfg: Any, default: str) -> Callable[[str], Any]:
    """Return a function that makes a prompt of a problem.

    `grpo_system_prompt`, or else the default, is a system turn. If `grpo_system_in` is "user", it
    follows the problem instead.
    """
    if by_template := text_prompt(cfg):
        return by_template
    system = cfg.get("grpo_system_prompt") or default
    in_user_turn = cfg.get("grpo_system_in") == "user"

    def ask(problem: str) -> Messages:
        if not system:
            return [turn("user", problem)]
        if in_user_turn:
            return [turn("user", f"{problem}\n{system}")]
        return [turn("system", system), turn("user", problem)]

    return ask


def within_budget(
    rows: Columns, numbers: Sequence[int], tokenizer: Any, cfg: Any, source: str
) -> Columns:
    """Drop the rows whose prompt exceeds `grpo_max_prompt_length`, and log how many.

    Counts as the trainer does: chats are rendered by the template, strings are not.
    """
    budget: int | None = cfg.get("grpo_max_prompt_length")
    if budget is None or not rows["prompt"]:
        return rows
    if isinstance(rows["prompt"][0], str):
        encoded = tokenizer(text=rows["prompt"])
    else:
        encoded = tokenizer.apply_chat_template(
            rows["prompt"],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            **template_options(cfg),
        )
    lengths = [len(ids) for ids in encoded["input_ids"]]
    kept = [place for place, length in enumerate(lengths) if length <= budget]
    if len(kept) == len(lengths):
        return rows
    longest = lengths.index(max(lengths))
    LOG.warning(
        "%s: dropped %d of %d rows, whose prompts are longer than %d tokens "
        "(grpo_max_prompt_length); the longest, row %d, has %d",
        source,
        len(lengths) - len(kept),
        len(lengths),
        budget,
        numbers[longest],
        lengths[longest],
    )
    return {column: [values[place] for place in kept] for column, values in rows.items()}
