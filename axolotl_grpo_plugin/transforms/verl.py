"""verl's rows -> the prompt as it stands, and the columns that its rewards read, in one type each."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from axolotl_grpo_plugin.transforms.rows import DatasetError, source_of, texts, within_budget


def verl(
    cfg: Any, dataset_idx: int = 0, **_: Any
) -> tuple[Callable[..., dict[str, list[Any]]], dict[str, Any]]:
    """Axolotl's factory for the Parquet files of verl, xLR and Reasoning360.

    `prompt` stays what it is: chat messages, which the trainer templates, or text that was templated
    already, which it feeds as it stands. A dataset has one kind. `data_source` is text. `ground_truth`
    is that of `reward_model`, or the column of this name: text as it is, all else as JSON text.
    `extra_info` becomes JSON text, "{}" where there is none; `reward_model` keeps its style ("rule").
    All other columns stay, so a reward may read a ground truth of its own name: only a dataset
    that has neither `reward_model` nor `ground_truth`, as some of xLR's, gets none. Rows with too long
    a prompt are dropped, with their count.

    YAML keys read (see args.py): `grpo_max_prompt_length`.

    Source: https://verl.readthedocs.io/en/latest/preparation/prepare_data.html

    Raises: DatasetError with dataset, row and column for a row without a prompt, a `data_source` or
        a ground truth.
    """
    source = source_of(cfg, dataset_idx)
    budget = cfg.get("grpo_max_prompt_length")

    def transform(
        rows: dict[str, list[Any]], numbers: list[int], tokenizer: Any
    ) -> dict[str, list[Any]]:
        texts(rows, numbers, source, "data_source")
        made = {**rows, "prompt": _prompts(rows, numbers, source)}
        nothing = [None] * len(numbers)
        made["extra_info"] = [
            "{}" if info is None else as_text(info) for info in rows.get("extra_info", nothing)
        ]
        if "reward_model" in rows or "ground_truth" in rows:
            made["ground_truth"] = _ground_truths(rows, numbers, source)
        if "reward_model" in rows:
            made["reward_model"] = [
                model.get("style") if isinstance(model, Mapping) else None
                for model in rows["reward_model"]
            ]
        return within_budget(made, numbers, tokenizer, budget, source)

    # A row with the tests of a program can be megabytes.
    return transform, {"batched": True, "with_indices": True, "batch_size": 1_000}


def as_text(value: Any) -> str:
    """Text as it is, all else as JSON text: a column that is merged with others has one type.

    >>> as_text("18"), as_text(18), as_text({"words": ["a", None]})
    ('18', '18', '{"words": ["a", null]}')
    """
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)  # numpy's; dates


def _ground_truths(rows: Mapping[str, list[Any]], numbers: Sequence[int], source: str) -> list[str]:
    found = []
    for place, number in enumerate(numbers):
        model = rows["reward_model"][place] if "reward_model" in rows else None
        truth = model.get("ground_truth") if isinstance(model, Mapping) else None
        if truth is None and "ground_truth" in rows:
            truth = rows["ground_truth"][place]
        if truth is None:
            column = "reward_model" if "reward_model" in rows else "ground_truth"
            raise DatasetError(
                f'{source}, row {number}, column "{column}": no ground truth: {str(model)[:100]}: '
                'give every row a reward_model like {"style": "rule", "ground_truth": "18"}'
            )
        found.append(as_text(truth))
    return found


def _prompts(rows: Mapping[str, list[Any]], numbers: Sequence[int], source: str) -> list[Any]:
    if "prompt" not in rows:
        raise DatasetError(
            f'{source}: no column "prompt" (it has: {", ".join(rows)}): '
            "name a transform that reads these columns in `type:`"
        )
    prompts = [each if isinstance(each, str) else _chat(each) for each in rows["prompt"]]
    for number, prompt, given in zip(numbers, prompts, rows["prompt"], strict=True):
        where = f'{source}, row {number}, column "prompt"'
        if not prompt:
            raise DatasetError(
                f"{where}: neither text nor chat messages: {str(given)[:100]!r}: "
                'write [{"role": "user", "content": "..."}]'
            )
        if isinstance(prompt, str) != isinstance(prompts[0], str):
            raise DatasetError(
                f"{where}: text in some rows and chat messages in others: make two datasets of them"
            )
    return prompts


def _chat(messages: Any) -> list[dict[str, Any]] | None:
    """Chat messages as plain lists and dicts, of Arrow's or numpy's making; None for anything else."""
    if not hasattr(messages, "__iter__"):
        return None
    chat = list(messages)
    if not all(
        isinstance(each, Mapping)
        and isinstance(each.get("role"), str)
        and isinstance(each.get("content"), str)
        for each in chat
    ):
        return None
    # Arrow gives every message the fields of any.
    return [{key: value for key, value in each.items() if value is not None} for each in chat]
