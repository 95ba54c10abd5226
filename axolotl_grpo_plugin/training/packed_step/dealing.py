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
    prompt_of_row: torch.Tensor, prompt_mask: torch.Tensor, completion_mask: torch.Tensor
) -> list[Size]:
    """Return the size of each row.

    Args:
        prompt_of_row: The index of each row's prompt, shaped [rows].
        prompt_mask: 1 for each token of a prompt, shaped [rows, tokens].
        completion_mask: 1 for each token of a completion, shaped [rows, tokens].
    """
    columns = (prompt_of_row, prompt_mask.sum(dim=1), completion_mask.sum(dim=1))
    return [Size(*row) for row in torch.stack(columns, dim=1).tolist()]


def deal(
    rows: Iterable[int], sizes: Sequence[Size], pass_count: int, budget: int, ranks: int = 1
) -> list[list[int]]:
    """Deal rows to the passes of all ranks, so that they compute few tokens and no rank waits long for another one.

    Rows with the same prompt stay together, because a pass computes their prompt once. As few passes as possible get
    rows, while none has more tokens than the budget. All ranks get about as many tokens.

    Args:
        rows: The indices of the rows.
        sizes: The size of each row, by its index.
        pass_count: The number of passes of each rank.
        budget: The tokens that a pass may have. If the rows need more in so many passes, the largest pass has more.
        ranks: The number of ranks.

    Returns:
        The rows of `pass_count * ranks` passes. The largest one is the first, and the last ones may be empty.
    """
    order = sorted(rows, key=lambda row: (sizes[row].prompt, -sizes[row].completion_tokens))
    fewest = min(max(ceil(tokens_of(order, sizes) / max(budget * ranks, 1)), 1), pass_count)
    for used in range(fewest, pass_count + 1):
        passes = _evenly_filled(order, sizes, used * ranks)
        if max((tokens_of(part, sizes) for part in passes), default=0) <= budget:
            break
    # Without a break, the rows are in all passes, and the largest one is above the budget.
    passes += [[] for _ in range(pass_count * ranks - len(passes))]
    return sorted(passes, key=lambda part: tokens_of(part, sizes), reverse=True)


def tokens_of(rows: Iterable[int], sizes: Sequence[Size]) -> int:
    """Return the tokens that a pass of these rows computes."""
    used = [sizes[row] for row in rows]
    prompts = {size.prompt: size.prompt_tokens for size in used}
    return sum(prompts.values()) + sum(size.completion_tokens for size in used)


def passes_of_rank(passes: Sequence[list[int]], ranks: int, rank: int) -> list[list[int]]:
    """Return the passes of a rank. All ranks get equally many, and about as many tokens.

    Args:
        passes: Of all ranks, the largest first.
        ranks: The number of ranks.
        rank: The index of the rank.
    """
    # Each turn gives a pass to each rank. The order of the ranks turns round after each turn, so that no rank gets
    # the larger pass each time.
    turns = batched(passes, ranks)
    return [
        turn[index] for turn, index in zip(turns, cycle([rank, ranks - 1 - rank]), strict=False)
    ]


def _evenly_filled(rows: Sequence[int], sizes: Sequence[Size], pass_count: int) -> list[list[int]]:
    """Fill at most so many passes with the rows in their order. The largest pass is as small as that allows."""

    def fits(limit: int) -> bool:
        return len(_filled(rows, sizes, limit)) <= pass_count

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
