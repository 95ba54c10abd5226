"""Which scores of a run are right."""

from collections.abc import Mapping, Sequence
from math import nan
from typing import NamedTuple

MOST_FREQUENT = "answers/most_frequent"  # the share of one answer, as the first reward reads them
_ROUNDING = 1e-6  # TRL's scores are float32, which rounds by up to 6e-8 of a value

Ranges = Mapping[str, Sequence[float] | None]  # by reward function, in the order of the run


class LoggedReward(NamedTuple):
    """A reward function of a run. `dict` of several are their ranges by name.

    The first reward function of a run says which completions are right.

    Attributes:
        name: The name in logs.
        range: The lowest and the highest score that it declares. None if it declares none, or if the log does not
            say.
    """

    name: str
    range: Sequence[float] | None = None

    def right(self, score: float | None) -> bool | None:
        """Return whether a score is the declared maximum.

        Args:
            score: None if the completion has none, or if its scoring failed.

        Returns:
            None without a score or a declared maximum.
        """
        if score is None or self.range is None:
            return None
        return score >= self.least_right

    @property
    def least_right(self) -> float:
        """The lowest score that is right, NaN if no maximum is declared."""
        if self.range is None:
            return nan
        _, high = self.range
        return high - _ROUNDING * abs(high)

    @property
    def no_right(self) -> str:
        """Why no score is right, as a sentence, or ""."""
        if self.range:
            return ""
        return (
            f"No completion counts as right, because {self.name} has no declared maximum on record."
        )


def rewards_of(ranges: Ranges) -> list[LoggedReward]:
    """Return the reward functions in their order."""
    return [LoggedReward(*pair) for pair in ranges.items()]


def short(reward: str) -> str:
    """Return a reward function's name without its usual ending."""
    return reward.removesuffix("_reward_func")
