"""The rows of TRL's micro-batches: compare, join, select, gather and replace them."""

from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch.nn.functional import pad

Batch = dict[str, Any]  # TRL's: tensors with one row per completion, and values without rows

_PROMPT = ("prompt_ids", "prompt_mask")  # padded on the left, all others on the right


def row_names(batch: Batch) -> list[str]:
    """Return the names of the tensors that have one row per completion."""
    return [name for name, value in batch.items() if torch.is_tensor(value) and value.dim()]


def distinct_rows(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Find the equal rows of a matrix.

    Returns:
        The index of one row of each kind, shaped [kinds], and the kind of each row, shaped [rows].
    """
    distinct, kinds = torch.unique(values, dim=0, return_inverse=True)
    examples = kinds.new_zeros(len(distinct))
    # Equal rows write to the same entry. Any of them may be the example.
    examples[kinds] = torch.arange(len(kinds), device=kinds.device)
    return examples, kinds


def distinct_prompts(
    prompt_ids: torch.Tensor, prompt_mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the index of one row with each distinct prompt, and the index of each row's prompt among them."""
    return distinct_rows(torch.cat([prompt_ids * prompt_mask, prompt_mask], dim=1))


def joined(batches: Sequence[Batch]) -> Batch:
    """Return the rows of several micro-batches as one."""
    whole = dict(batches[0])
    for name in row_names(whole):
        whole[name] = torch.cat([batch[name] for batch in batches])
    return whole


def selected(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return some rows of a batch. Without rows, return one row that has no token to train on.

    All ranks must make equally many passes, so a pass without rows still needs one.
    """
    if not rows:
        return _row_without_tokens(batch)
    return batch | {name: batch[name][list(rows)] for name in row_names(batch)}


def _row_without_tokens(batch: Batch) -> Batch:
    empty = batch | {name: batch[name][:1] for name in row_names(batch)}
    empty["completion_mask"] = torch.zeros_like(empty["completion_mask"])
    empty["prompt_mask"] = torch.zeros_like(empty["prompt_mask"])
    empty["prompt_mask"][:, -1] = 1  # a model needs a token
    return empty


def loss_mask(batch: Batch) -> torch.Tensor:
    """Return TRL's mask of the tokens to train on, shaped [rows, tokens], without the tokens of tools."""
    mask: torch.Tensor = batch["completion_mask"]
    if "tool_mask" in batch:
        mask = mask * batch["tool_mask"]
    return mask


def gathered_rows(batch: Batch, accelerator: Accelerator) -> Batch:
    """Return the rows of all ranks in the order of the ranks, padded to the longest of them."""
    whole = dict(batch)
    for name in row_names(batch):
        value = batch[name]
        if value.dim() > 1:
            value = accelerator.pad_across_processes(value, dim=1, pad_first=name in _PROMPT)
        whole[name] = accelerator.gather(value.contiguous())
    return whole


def replace_rows(batch: Batch, other: Batch, rows: dict[int, int]) -> None:
    """Put rows of another batch into this one. Both are padded to the longer of them.

    Args:
        batch: Changed in place.
        other: Has the rows to put there.
        rows: From the index in `batch` to the index in `other`.
    """
    for name in row_names(batch):
        value = batch[name]
        new = other[name][list(rows.values())]
        if value.dim() > 1:
            missing = new.shape[1] - value.shape[1]
            value = _widened(value, missing, name)
            new = _widened(new, -missing, name)
        indices = value.new_tensor(list(rows), dtype=torch.long)
        batch[name] = value.index_copy(0, indices, new)


def _widened(value: torch.Tensor, missing: int, name: str) -> torch.Tensor:
    """Return a copy with more columns of padding, which the masks leave out."""
    columns = max(missing, 0)
    return pad(value, (columns, 0) if name in _PROMPT else (0, columns))
