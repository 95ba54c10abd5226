"""The indices of the tokens of a packed row: each distinct prompt once, then the completions, without padding.

Attention needs rows again. A `Tile` has the indices of rows of like length, padded to the longest of them.
"""

from dataclasses import dataclass

import torch

_MASK_ELEMENTS = 2**27  # of one tile's mask at the most, 128 MiB of booleans


@dataclass
class Tile:
    """Rows that attend together.

    Attributes:
        queries: The index of each token, shaped [rows, tokens]. Padding has index 0.
        keys: The index of each token that a row may see, shaped [rows, keys]. Padding has index 0.
        is_query: Whether an entry of `queries` is no padding.
        is_key: Whether an entry of `keys` is no padding.
        is_causal: Whether `keys` are `queries`.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    is_query: torch.Tensor
    is_key: torch.Tensor
    is_causal: bool


class Layout:
    """The packed row of some prompts and completions.

    Attributes:
        input_ids: The packed row, shaped [1, tokens].
        positions: The position of each token in its own prompt and completion, shaped [1, tokens].
        tiles: Cover all tokens, in the order of the packed row.
        before: The index of the token before each completion token, shaped [completion tokens].
        targets: The completion tokens in the same order.
        windows: The sliding windows that attention has asked for.
    """

    def __init__(
        self,
        prompt_ids: torch.Tensor,
        prompt_mask: torch.Tensor,
        completion_ids: torch.Tensor,
        completion_mask: torch.Tensor,
        prompts: torch.Tensor,
    ):
        """Pack rows.

        Args:
            prompt_ids: The distinct prompts, shaped [prompts, tokens].
            prompt_mask: 1 for each token of a prompt, with the padding on the left.
            completion_ids: Shaped [rows, tokens].
            completion_mask: 1 for each token of a completion, with the padding on the right.
            prompts: The index of each row's prompt, shaped [rows].
        """
        prompt_tokens, tokens = prompt_mask.sum(dim=1), completion_mask.sum(dim=1)
        # Rows of like length follow each other, so that a tile has little padding.
        order = tokens.argsort(descending=True, stable=True)
        completion_ids, is_token, prompts = (
            completion_ids[order],
            completion_mask[order].bool(),
            prompts[order],
        )
        prompt_starts = prompt_tokens.cumsum(0) - prompt_tokens
        starts = prompt_tokens.sum() + tokens[order].cumsum(0) - tokens[order]
        prompt_part = _indices(prompt_starts, prompt_tokens)
        part = _indices(starts, tokens[order])

        ids = [prompt_ids[prompt_mask.bool()], completion_ids[is_token]]
        self.input_ids = torch.cat(ids)[None]
        self.targets = ids[1]
        positions = [_columns(prompt_part), prompt_tokens[prompts][:, None] + _columns(part)]
        self.positions = torch.cat([positions[0][prompt_part >= 0], positions[1][part >= 0]])[None]
        last = (prompt_starts + prompt_tokens - 1)[prompts]
        self.before = torch.cat([last[:, None], part], dim=1)[:, :-1][part >= 0]
        self.tiles = [_tile(prompt_part, prompt_part, is_causal=True)]
        for rows in _like_lengths(tokens[order].tolist(), int(prompt_tokens.max())):
            own = part[rows, : int(tokens[order[rows.start]])]
            self.tiles.append(_tile(own, torch.cat([prompt_part[prompts[rows]], own], dim=1)))
        self.windows: set[int] = set()
        self._is_token = is_token
        self._inverse = order.argsort()
        self._masks: dict[tuple[int, int | None], torch.Tensor] = {}

    @property
    def tokens(self) -> int:
        """The length of the packed row."""
        return self.input_ids.shape[1]

    def unpacked(self, values: torch.Tensor) -> torch.Tensor:
        """Return values of the completion tokens as rows of TRL's batch, with 0 for padding."""
        # `masked_scatter` keeps the result connected to the model if there is no token.
        rows = values.new_zeros(self._is_token.shape).masked_scatter(self._is_token, values)
        return rows[self._inverse]

    def mask(self, number: int, window: int | None) -> torch.Tensor:
        """Return which keys each query of a tile sees, shaped [rows, 1, queries, keys].

        Args:
            number: The index of the tile.
            window: The number of positions that a query sees, None for all.
        """
        if (number, window) not in self._masks:
            tile = self.tiles[number]
            distance = self.positions[0][tile.queries][:, :, None]
            distance = distance - self.positions[0][tile.keys][:, None]
            seen = (distance >= 0) & tile.is_key[:, None]
            if window is not None:
                seen &= distance < window
            self._masks[number, window] = seen[:, None]
        return self._masks[number, window]


def _indices(starts: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the index of each token of each row, shaped [rows, longest], with -1 for padding."""
    columns = torch.arange(int(lengths.max()), device=lengths.device)
    return torch.where(columns < lengths[:, None], starts[:, None] + columns, -1)


def _columns(indices: torch.Tensor) -> torch.Tensor:
    """Return the number of the column of each entry."""
    return torch.arange(indices.shape[1], device=indices.device).expand_as(indices)


def _tile(queries: torch.Tensor, keys: torch.Tensor, is_causal: bool = False) -> Tile:
    return Tile(queries.clamp(min=0), keys.clamp(min=0), queries >= 0, keys >= 0, is_causal)


def _like_lengths(lengths: list[int], prompt: int) -> list[slice]:
    """Cut rows that are sorted by their length, the longest first, into slices of like length.

    Args:
        lengths: The tokens of each completion. Empty ones are left out.
        prompt: The tokens of the longest prompt.
    """
    slices: list[slice] = []
    for row, length in enumerate(lengths):
        if not length:
            break
        if slices:
            start = slices[-1].start
            longest = lengths[start]
            elements = (row + 1 - start) * longest * (prompt + longest)
            if 2 * length >= longest and elements <= _MASK_ELEMENTS:
                slices[-1] = slice(start, row + 1)
                continue
        slices.append(slice(row, row + 1))
    return slices
