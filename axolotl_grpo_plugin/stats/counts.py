"""Distributions of lengths."""

from collections import Counter
from collections.abc import Iterable
from math import ceil

SHARES = (0.5, 0.9, 0.95, 0.99, 0.999)


class Lengths:
    """How many texts have each length in tokens: exact, and no larger for more texts."""

    def __init__(self, lengths: Iterable[int] = ()):
        self.counts = Counter(lengths)

    def add(self, lengths: Iterable[int]) -> None:
        self.counts.update(lengths)

    @property
    def rows(self) -> int:
        return self.counts.total()

    @property
    def least(self) -> int:
        return min(self.counts)

    @property
    def most(self) -> int:
        return max(self.counts)

    def at(self, share: float) -> int:
        """The smallest length that at least this share (0 to 1) of the texts does not exceed.

        An order statistic, never between two lengths. Raises ValueError where there are no texts.
        """
        wanted = ceil(round(share * self.rows, 6))
        seen = 0
        for length in sorted(self.counts):
            seen += self.counts[length]
            if seen >= wanted:
                return length
        raise ValueError("no lengths")

    def over(self, limit: int) -> int:
        """How many texts are longer than the limit."""
        return sum(count for length, count in self.counts.items() if length > limit)

    @classmethod
    def together(cls, parts: "Iterable[Lengths]") -> "Lengths":
        """All of them as one."""
        made = cls()
        for part in parts:
            made.counts.update(part.counts)
        return made
