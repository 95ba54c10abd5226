"""Rearrange the completions of an optimizer step, so that its micro-batches have fewer columns of padding."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

Batch = dict[str, Any]  # TRL's: tensors with one row per completion, and tensors without rows

_PROMPT = ("prompt_ids", "prompt_mask")


class Lengths(NamedTuple):
    """The number of tokens of a prompt and of its completion."""

    prompt: int
    completion: int


def joined(batches: Sequence[Batch]) -> Batch:
    """Return the rows of several micro-batches as one."""
    whole: Batch = {}
    for name, value in batches[0].items():
        has_rows = isinstance(value, torch.Tensor) and value.dim() > 0
        whole[name] = torch.cat([batch[name] for batch in batches]) if has_rows else value
    return whole


def chosen(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return some rows of a batch."""
    part: Batch = {}
    for name, value in batch.items():
        has_rows = isinstance(value, torch.Tensor) and value.dim() > 0
        part[name] = value[list(rows)] if has_rows else value
    return part


def emptied(row: Batch) -> Batch:
    """Return a batch of one row with one prompt token and without a completion that counts.

    It takes the place of a micro-batch without rows, because all ranks must make equally many passes.
    """
    prompt_mask = torch.zeros_like(row["prompt_mask"])
    prompt_mask[:, -1] = 1
    completion_mask = torch.zeros_like(row["completion_mask"])
    return {**row, "prompt_mask": prompt_mask, "completion_mask": completion_mask}


def trimmed(batch: Batch, multiple: int = 1, prompts: bool = True) -> Batch:
    """Return the batch without the columns that are padding in all of its rows.

    multiple, prompts: as in `used_columns`.
    """
    width = batch["completion_mask"].shape[1]
    left, right = used_columns(batch["prompt_mask"], batch["completion_mask"], multiple, prompts)
    result: Batch = {}
    for name, value in batch.items():
        if name in _PROMPT:
            value = value[:, value.shape[1] - left :]
        elif isinstance(value, torch.Tensor) and value.dim() == 2 and value.shape[1] == width:
            value = value[:, :right]
        result[name] = value
    return result


def used_columns(
    prompt_mask: torch.Tensor,
    completion_mask: torch.Tensor,
    multiple: int = 1,
    prompts: bool = True,
) -> tuple[int, int]:
    """Return the columns on the right of the prompts, and on the left of the completions, that some row uses.

    multiple: each result is rounded up to it. prompts: if False, all columns of the prompts count.
    """
    left = _used(prompt_mask.flip(1), multiple) if prompts else prompt_mask.shape[1]
    return left, _used(completion_mask, multiple)


def _used(mask: torch.Tensor, multiple: int) -> int:
    """Return the number of columns up to the last one that some row uses, at least one."""
    used = mask.any(dim=0).nonzero()
    last = int(used[-1]) + 1 if len(used) else 1
    rounded = -(-last // multiple) * multiple
    return min(rounded, mask.shape[1])


def lengths_of(prompt_mask: torch.Tensor, completion_mask: torch.Tensor) -> list[Lengths]:
    """Return the lengths of the rows of two masks. A completion counts as one token at least."""
    prompts = prompt_mask.sum(dim=1).tolist()
    completions = completion_mask.sum(dim=1).clamp(min=1).tolist()
    return [Lengths(*pair) for pair in zip(prompts, completions, strict=True)]


def shared_out(rows: Sequence[int], lengths: Sequence[Lengths], parts: int) -> list[list[int]]:
    """Share rows out to micro-batches, so that the largest one has as few tokens as possible.

    Rows of like length come together. The tokens of a micro-batch include its padding. If there are
    fewer rows than `parts`, some micro-batches are empty.
    """
    by_length = sorted(rows, key=lambda row: lengths[row][::-1], reverse=True)
    low = max((sum(lengths[row]) for row in rows), default=0)
    high = max(low, _tokens(by_length, lengths))
    while low < high:
        middle = (low + high) // 2
        if len(_filled(by_length, lengths, middle)) <= parts:
            high = middle
        else:
            low = middle + 1
    shares = _filled(by_length, lengths, high)
    while len(shares) < min(parts, len(rows)):  # smaller micro-batches have less padding
        place = max(range(len(shares)), key=lambda number: len(shares[number]))
        share = shares[place]
        half = len(share) // 2
        shares[place : place + 1] = [share[:half], share[half:]]
    return shares + [[] for _ in range(parts - len(shares))]


def _filled(rows: Sequence[int], lengths: Sequence[Lengths], most: int) -> list[list[int]]:
    """Fill micro-batches of at most `most` tokens with the rows, in their order."""
    shares: list[list[int]] = []
    for row in rows:
        if shares and _tokens([*shares[-1], row], lengths) <= most:
            shares[-1].append(row)
        else:
            shares.append([row])
    return shares


def _tokens(rows: Sequence[int], lengths: Sequence[Lengths]) -> int:
    """Return the tokens of a micro-batch of these rows, with its padding."""
    prompt = max((lengths[row].prompt for row in rows), default=0)
    completion = max((lengths[row].completion for row in rows), default=0)
    return len(rows) * (prompt + completion)
