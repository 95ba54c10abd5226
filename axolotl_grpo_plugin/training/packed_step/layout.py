"""The packed row of a pass: each distinct prompt once, then the completions, without padding.

Two prompts, p and q, and three completions, a and c of p, b of q:

    index       0  1  2  3  4  5  6  7  8  9 10
    token       p  p  p  q  q  a  a  a  b  b  c
    position    0  1  2  0  1  3  4  5  2  3  3
    before                     2  5  6  4  8  2

All layers see this row. Only attention needs rows again. A `Tile` has the indices of rows of like length, padded to
the longest of them:

               queries     keys
    tile 0     0  1  2     the same, each query sees itself and the keys before it
               3  4  -
    tile 1     5  6  7     0  1  2  5  6  7
               8  9  -     3  4  -  8  9  -
    tile 2     10          0  1  2 10
"""

from dataclasses import dataclass

import torch

# The most elements of the mask of a tile, 128 MiB of booleans. A longer row has a tile for itself.
_MASK_ELEMENTS = 2**27


@dataclass
class Tile:
    """Rows that attend together.

    Attributes:
        queries: The index of each token, shaped [rows, tokens]. Padding has index 0.
        keys: The index of each token that a row may see, shaped [rows, keys]. Padding has index 0.
        query_entries: The entries of the flattened `queries` that are no padding.
        is_key: Whether an entry of `keys` is no padding.
        is_causal: True for prompts. Their keys are their queries, so attention needs no mask.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    query_entries: torch.Tensor
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
        prompt_of_row: torch.Tensor,
    ):
        """Pack rows.

        Args:
            prompt_ids: The distinct prompts, shaped [prompts, tokens].
            prompt_mask: 1 for each token of a prompt, with the padding on the left.
            completion_ids: Shaped [rows, tokens].
            completion_mask: 1 for each token of a completion, with the padding on the right.
            prompt_of_row: The index of each row's prompt, shaped [rows].
        """
        # Rows of like length follow each other, so that a tile has little padding.
        prompt_lengths, prompt_order = prompt_mask.sum(dim=1).sort(descending=True, stable=True)
        lengths, order = completion_mask.sum(dim=1).sort(descending=True, stable=True)
        prompt_ids, prompt_mask = prompt_ids[prompt_order], prompt_mask[prompt_order]
        completion_ids, is_token = completion_ids[order], completion_mask[order].bool()
        prompt_of_row = prompt_order.argsort()[prompt_of_row[order]]

        prompt_ends = prompt_lengths.cumsum(0)
        starts = prompt_lengths.sum() + lengths.cumsum(0) - lengths
        prompt_indices = _indices(prompt_ends - prompt_lengths, prompt_lengths)
        indices = _indices(starts, lengths)

        self.targets = completion_ids[is_token]
        self.input_ids = torch.cat([prompt_ids[prompt_mask.bool()], self.targets])[None]
        prompt_positions = _columns(prompt_indices)[prompt_indices >= 0]
        positions = (prompt_lengths[prompt_of_row][:, None] + _columns(indices))[indices >= 0]
        self.positions = torch.cat([prompt_positions, positions])[None]
        last_of_prompt = (prompt_ends - 1)[prompt_of_row]
        self.before = torch.cat([last_of_prompt[:, None], indices], dim=1)[:, :-1][indices >= 0]

        self.tiles = []
        for rows in _like_lengths(prompt_lengths.tolist(), 0):
            queries = prompt_indices[rows, : int(prompt_lengths[rows.start])]
            self.tiles.append(_tile(queries, queries, is_causal=True))
        for rows in _like_lengths(lengths.tolist(), int(prompt_lengths[0])):
            queries = indices[rows, : int(lengths[rows.start])]
            keys = torch.cat([prompt_indices[prompt_of_row[rows]], queries], dim=1)
            self.tiles.append(_tile(queries, keys, is_causal=False))

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


def _tile(queries: torch.Tensor, keys: torch.Tensor, is_causal: bool) -> Tile:
    entries = (queries >= 0).flatten().nonzero().flatten()
    return Tile(queries.clamp(min=0), keys.clamp(min=0), entries, keys >= 0, is_causal)


def _like_lengths(lengths: list[int], prompt: int) -> list[slice]:
    """Cut rows that are sorted by their length, the longest first, into slices of like length.

    Args:
        lengths: The tokens of each row. Empty ones are left out.
        prompt: The tokens of the longest prompt that a row sees before its own tokens.
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
