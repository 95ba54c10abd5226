"""Deal the rows of an optimizer step to passes and ranks, so that all of them compute about as many tokens."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import batched, cycle
from math import ceil
from typing import NamedTuple

import torch


class Size(NamedTuple):
    """The tokens of a row's prompt and completion. Rows with the same `prompt` index share the prompt."""

    prompt: int
    prompt_tokens: int
    completion_tokens: int


def sizes_of(
    prompts: Iterable[int], prompt_mask: torch.Tensor, completion_mask: torch.Tensor
) -> list[Size]:
    """Return the size of each row.

    Args:
        prompts: The index of each row's prompt.
        prompt_mask: 1 for each token of a prompt, shaped [rows, tokens].
        completion_mask: 1 for each token of a completion, shaped [rows, tokens].
    """
    prompt_tokens = prompt_mask.sum(dim=1).tolist()
    completion_tokens = completion_mask.sum(dim=1).tolist()
    return [Size(*row) for row in zip(prompts, prompt_tokens, completion_tokens, strict=True)]


def dealt(
    rows: Iterable[int], sizes: Sequence[Size], passes: int, budget: int, ranks: int = 1
) -> list[list[int]]:
    """Deal rows to the passes of all ranks, so that they compute few tokens and no rank waits long for another one.

    Rows with the same prompt stay together, because a pass computes their prompt once. So few passes get rows, as
    long as none has more tokens than the budget. All ranks get about as many tokens.

    Args:
        rows: The indices of the rows.
        sizes: The size of each row, by its index.
        passes: The number of passes of each rank.
        budget: The tokens that a pass may have. The largest pass has more only if all passes have rows.
        ranks: The number of ranks.

    Returns:
        The rows of `passes * ranks` passes. The largest one is the first, and the last ones may be empty.
    """
    order = sorted(rows, key=lambda row: (sizes[row].prompt, -sizes[row].completion_tokens))
    fewest = min(max(ceil(tokens_of(order, sizes) / max(budget * ranks, 1)), 1), passes)
    for used in range(fewest, passes + 1):
        filled = _evenly_filled(order, sizes, used * ranks)
        if max((tokens_of(part, sizes) for part in filled), default=0) <= budget:
            break
    filled += [[] for _ in range(passes * ranks - len(filled))]
    return sorted(filled, key=lambda part: tokens_of(part, sizes), reverse=True)


def tokens_of(rows: Iterable[int], sizes: Sequence[Size]) -> int:
    """Return the tokens that a pass of these rows computes."""
    used = [sizes[row] for row in rows]
    prompts = {size.prompt: size.prompt_tokens for size in used}
    return sum(prompts.values()) + sum(size.completion_tokens for size in used)


def of_rank(passes: Sequence[list[int]], ranks: int, rank: int) -> list[list[int]]:
    """Return the passes of a rank. All ranks get equally many, and about as many tokens.

    Args:
        passes: Of all ranks, the largest first.
        ranks: The number of ranks.
        rank: The index of the rank.
    """
    # The largest pass of one turn goes to the first rank, that of the next turn to the last rank.
    turns = batched(passes, ranks)
    return [
        turn[index] for turn, index in zip(turns, cycle([rank, ranks - 1 - rank]), strict=False)
    ]


def _evenly_filled(rows: Sequence[int], sizes: Sequence[Size], passes: int) -> list[list[int]]:
    """Fill at most so many passes with the rows in their order. The largest pass is as small as that allows."""

    def fits(limit: int) -> bool:
        return len(_filled(rows, sizes, limit)) <= passes

    limit = bisect_left(range(tokens_of(rows, sizes)), True, key=fits)
    return _filled(rows, sizes, limit)


def _filled(rows: Sequence[int], sizes: Sequence[Size], limit: int) -> list[list[int]]:
    """Fill passes of at most `limit` tokens, or of one row, with the rows in their order."""
    passes: list[list[int]] = []
    tokens = 0
    for row in rows:
        size = sizes[row]
        added = size.completion_tokens
        if not passes or sizes[passes[-1][-1]].prompt != size.prompt:
            added += size.prompt_tokens
        if passes and tokens + added <= limit:
            passes[-1].append(row)
            tokens += added
        else:
            passes.append([row])
            tokens = size.prompt_tokens + size.completion_tokens
    return passes
