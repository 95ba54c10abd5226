"""Deal the rows of an optimizer step to passes and ranks, so that all of them compute about as many tokens."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import batched, cycle
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


def dealt(rows: Iterable[int], sizes: Sequence[Size], passes: int) -> list[list[int]]:
    """Deal rows to passes, so that the largest pass has as few tokens as possible.

    Rows with the same prompt stay together, because a pass computes their prompt once.

    Returns:
        The rows of each pass. The largest pass is the first. A pass may be empty.
    """
    order = sorted(rows, key=lambda row: (sizes[row].prompt, -sizes[row].completion_tokens))

    def fits(limit: int) -> bool:
        return len(_filled(order, sizes, limit)) <= passes

    limit = bisect_left(range(tokens_of(order, sizes)), True, key=fits)
    filled = _filled(order, sizes, limit)
    filled += [[] for _ in range(passes - len(filled))]
    return sorted(filled, key=lambda rows: tokens_of(rows, sizes), reverse=True)


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
