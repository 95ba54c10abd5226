"""Rearrange the completions of an optimizer step, so that its micro-batches compute fewer tokens."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import batched, cycle
from math import ceil
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch.nn.functional import pad

Batch = dict[str, Any]  # TRL's: tensors with one row per completion, and tensors without rows

_PROMPT = ("prompt_ids", "prompt_mask")


class Size(NamedTuple):
    """The tokens of a completion and of its prompt. Rows with the same `group` share the prompt.

    Sizes sort by their completions first.
    """

    completion: int
    prompt: int
    group: int


def row_names(batch: Batch) -> list[str]:
    """Return the names of the tensors that have one row per completion."""
    return [name for name, value in batch.items() if torch.is_tensor(value) and value.dim()]


def joined(batches: Sequence[Batch]) -> Batch:
    """Return the rows of several micro-batches as one."""
    whole = dict(batches[0])
    for name in row_names(whole):
        whole[name] = torch.cat([batch[name] for batch in batches])
    return whole


def chosen(batch: Batch, rows: Sequence[int]) -> Batch:
    """Return some rows of a batch."""
    return batch | {name: batch[name][list(rows)] for name in row_names(batch)}


def of_all_ranks(batch: Batch, accelerator: Accelerator) -> Batch:
    """Return the rows of all ranks in the order of the ranks, padded to the longest of them."""
    whole = dict(batch)
    for name in row_names(batch):
        value = batch[name]
        if value.dim() > 1:
            value = accelerator.pad_across_processes(
                value,
                dim=1,
                pad_first=name in _PROMPT,
            )
        whole[name] = accelerator.gather(value.contiguous())
    return whole


def replace_rows(
    batch: Batch,
    other: Batch,
    rows: dict[int, int],
) -> None:
    """Put rows of another batch into this one. Both are padded to the longer of them.

    rows: from the place in this batch to the row of the other one.
    """
    for name in row_names(batch):
        value = batch[name]
        new = other[name][list(rows.values())]
        if value.dim() > 1:
            missing = new.shape[1] - value.shape[1]
            value = _widened(value, missing, name)
            new = _widened(new, -missing, name)
        places = value.new_tensor(list(rows), dtype=torch.long)
        batch[name] = value.index_copy(0, places, new)


def _widened(
    value: torch.Tensor,
    missing: int,
    name: str,
) -> torch.Tensor:
    """Return a copy with more columns of padding, which the masks leave out."""
    columns = max(missing, 0)
    return pad(value, (columns, 0) if name in _PROMPT else (0, columns))


def loss_mask(batch: Batch) -> torch.Tensor:
    """Return TRL's mask of the tokens to train on, without the tokens of tools."""
    mask: torch.Tensor = batch["completion_mask"]
    if "tool_mask" in batch:
        mask = mask * batch["tool_mask"]
    return mask


def dealt(
    shares: Sequence[list[int]],
    ranks: int,
    rank: int,
) -> list[list[int]]:
    """Return a rank's part of micro-batches that are sorted by size. All ranks get like sizes.

    Each pass takes the next ones, in turns from the first and from the last rank.
    """
    places = cycle([rank, ranks - 1 - rank])
    return [turn[place] for turn, place in zip(batched(shares, ranks), places, strict=False)]


def emptied(row: Batch) -> Batch:
    """Return a batch of one row with one prompt token and without a completion that counts.

    It takes the place of a micro-batch without rows, because all ranks must make equally many passes.
    """
    masks = {name: torch.zeros_like(row[name]) for name in ("prompt_mask", "completion_mask")}
    masks["prompt_mask"][:, -1] = 1
    return row | masks


def trimmed(
    batch: Batch,
    multiple: int = 1,
    prompts: bool = True,
) -> Batch:
    """Return the batch without the columns that are padding in all of its rows.

    multiple, prompts: as in `used_columns`.
    """
    width = batch["completion_mask"].shape[1]
    left, right = used_columns(
        batch["prompt_mask"],
        batch["completion_mask"],
        multiple,
        prompts,
    )
    result = dict(batch)
    for name in row_names(batch):
        value = batch[name]
        if name in _PROMPT:
            result[name] = value[:, value.shape[1] - left :]
        elif value.shape[1:] == (width,):  # other tensors have no column per token
            result[name] = value[:, :right]
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
    left = prompt_mask.shape[1]
    if prompts:
        left = _used(prompt_mask.flip(1), multiple)
    return left, _used(completion_mask, multiple)


def _used(mask: torch.Tensor, multiple: int) -> int:
    """Return the number of columns up to the last one that some row uses, at least one."""
    used = mask.any(dim=0).nonzero().flatten().tolist()
    count = max(used, default=0) + 1
    return min(ceil(count / multiple) * multiple, mask.shape[1])


def sizes_of(
    prompt_mask: torch.Tensor, completion_mask: torch.Tensor, groups: Iterable[int]
) -> list[Size]:
    """Return the sizes of the rows of two masks. A completion counts as one token at least."""
    prompts = prompt_mask.sum(dim=1).tolist()
    completions = completion_mask.sum(dim=1).clamp(min=1).tolist()
    return list(map(Size, completions, prompts, groups))


def shared_out(
    rows: Iterable[int],
    sizes: Sequence[Size],
    parts: int,
) -> list[list[int]]:
    """Share rows out to micro-batches, so that they compute few tokens. The largest one decides.

    Rows of like length come together, or rows with the same prompt, if that is better. The largest
    micro-batch is the first. If there are fewer rows than `parts`, some micro-batches are empty.
    """

    def tokens(share: Sequence[int]) -> int:
        return tokens_of(share, sizes)

    by_length = sorted(rows, key=sizes.__getitem__, reverse=True)
    by_prompt = sorted(by_length, key=lambda row: sizes[row].group)
    best = min(
        _arranged(by_length, sizes, parts),
        _arranged(by_prompt, sizes, parts),
        key=lambda shares: sum(map(tokens, shares)),
    )
    return sorted(best, key=tokens, reverse=True)


def tokens_of(rows: Sequence[int], sizes: Sequence[Size]) -> int:
    """Return the tokens of a micro-batch of these rows, with its padding."""
    total = _Total()
    for row in rows:
        total = total.plus(sizes[row])
    return total.tokens


class _Total(NamedTuple):
    """The size of a micro-batch: its longest prompt and completion, its rows, and its prompts."""

    prompt: int = 0
    completion: int = 0
    rows: int = 0
    groups: frozenset[int] = frozenset()

    def plus(self, size: Size) -> "_Total":
        """Return the size with one more row."""
        return _Total(
            max(self.prompt, size.prompt),
            max(self.completion, size.completion),
            self.rows + 1,
            self.groups | {size.group},
        )

    @property
    def tokens(self) -> int:
        return len(self.groups) * self.prompt + self.rows * self.completion


def _arranged(
    rows: Sequence[int],
    sizes: Sequence[Size],
    parts: int,
) -> list[list[int]]:
    """Cut a list of rows into micro-batches, so that the largest one has as few tokens as possible."""

    def fits(most: int) -> bool:
        return len(_filled(rows, sizes, most)) <= parts

    most = bisect_left(
        range(tokens_of(rows, sizes)),
        True,
        key=fits,
    )
    shares = _filled(rows, sizes, most)
    while len(shares) < min(parts, len(rows)):  # smaller micro-batches have less padding
        longest = max(shares, key=len)
        shares.remove(longest)
        half = len(longest) // 2
        shares += [longest[:half], longest[half:]]
    return shares + [[] for _ in range(parts - len(shares))]


def _filled(
    rows: Sequence[int],
    sizes: Sequence[Size],
    most: int,
) -> list[list[int]]:
    """Fill micro-batches of at most `most` tokens, or one row, with the rows in their order."""
    shares: list[list[int]] = []
    total = _Total()
    for row in rows:
        size = sizes[row]
        total = total.plus(size)
        if shares and total.tokens <= most:
            shares[-1].append(row)
        else:
            shares.append([row])
            total = _Total().plus(size)
    return shares
