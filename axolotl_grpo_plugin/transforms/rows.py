"""What every transform needs: rows that say where they are from, and a length they must fit."""

import logging
from collections.abc import Sequence
from typing import Any

LOG = logging.getLogger(__name__)


class DatasetError(ValueError):
    """A dataset that cannot be trained on; the message names it, the row and the column."""


def source_of(cfg: Any, dataset_idx: int) -> str:
    """The dataset of that number, for messages.

    Axolotl does not tell a transform which of its two lists it is in.
    """
    paths = [
        f"{key}[{dataset_idx}] ({cfg[key][dataset_idx]['path']})"
        for key in ("datasets", "test_datasets")
        if cfg.get(key) and dataset_idx < len(cfg[key])
    ]
    return " or ".join(paths) or f"dataset {dataset_idx}"


def texts(
    rows: dict[str, list[Any]], numbers: Sequence[int], source: str, *columns: str
) -> list[list[str]]:
    """Those columns, each known to be there and to hold text in every row.

    Raises DatasetError with the source, the row's number and the column.
    """
    for column in columns:
        if column not in rows:
            raise DatasetError(
                f'{source}: no column "{column}" (it has: {", ".join(rows)}): '
                "name a transform that reads these columns in `type:`"
            )
        for number, value in zip(numbers, rows[column], strict=True):
            if not isinstance(value, str) or not value.strip():
                raise DatasetError(f'{source}, row {number}, column "{column}": no text: {value!r}')
    return [rows[column] for column in columns]


def data_sources(rows: dict[str, list[Any]], numbers: Sequence[int], name: str) -> list[str]:
    """The `data_source` of each row, by which `rewards.dispatch` chooses: its own, else that name."""
    return [own or name for own in rows.get("data_source", [None] * len(numbers))]


def within_budget(
    rows: dict[str, list[Any]],
    numbers: Sequence[int],
    tokenizer: Any,
    budget: int | None,
    source: str,
) -> dict[str, list[Any]]:
    """The rows whose prompt, fed as the trainer does it, is no longer than the budget in tokens.

    Chats are templated, text is not. Says how many were dropped. None is no budget.
    """
    if budget is None or not rows["prompt"]:
        return rows
    if isinstance(rows["prompt"][0], str):
        encoded = tokenizer(text=rows["prompt"])
    else:
        encoded = tokenizer.apply_chat_template(
            rows["prompt"], add_generation_prompt=True, tokenize=True, return_dict=True
        )
    lengths = [len(ids) for ids in encoded["input_ids"]]
    kept = [place for place, length in enumerate(lengths) if length <= budget]
    if len(kept) == len(lengths):
        return rows
    longest = max(range(len(lengths)), key=lengths.__getitem__)
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
