"""Distributions of lengths."""

from collections import Counter
from collections.abc import Iterable
from math import ceil

SHARES = (0.5, 0.9, 0.95, 0.99, 0.999)


class Lengths:
    """The number of texts of each length in tokens."""

    def __init__(self, lengths: Iterable[int] = ()):
        self.counts = Counter(lengths)

    def add(self, lengths: Iterable[int]) -> None:
        self.counts.update(lengths)

    @property
    def rows(self) -> int:
        return self.counts.total()

    @property
    def most(self) -> int:
        return max(self.counts)

    def at(self, share: float) -> int:
        """Return the smallest length that at least this share (0 to 1) of the texts does not exceed.

        It is a length that occurs, never a mean of two. Raises: ValueError if there are no texts.
        """
        wanted = ceil(round(share * self.rows, 6))
        seen = 0
        for length, count in sorted(self.counts.items()):
            seen += count
            if seen >= wanted:
                return length
        raise ValueError("no lengths")

    def over(self, limit: int) -> int:
        """Return the number of texts that are longer than the limit."""
        return sum(count for length, count in self.counts.items() if length > limit)
