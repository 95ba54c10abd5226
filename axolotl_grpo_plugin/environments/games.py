"""Games that take several turns."""

from axolotl_grpo_plugin.environments.base import Environment


class GuessNumber(Environment):
    """Find a number from hints. The row's `answer` is the number.

    The reward is 1.0 if the number is found, else 0.0. Each guess that the hints rule out costs 0.4, so the
    reward may be negative. An early find earns no more, because it is luck.

    Args:
        low, high: the range of the numbers.
        guesses: how often the model may guess.
    """

    def __init__(self, low: int = 1, high: int = 100, guesses: int = 8):
        self.low, self.high, self.guesses = low, high, guesses

    def reset(self, answer: str | int, **_: object) -> str:  # type: ignore[override]
        self.number = int(answer)
        self.possible = range(self.low, self.high + 1)  # by the hints so far
        self.used = self.wasted = 0
        self.found = self.done = False
        return (
            f" The number is between {self.low} and {self.high}. You have {self.guesses} guesses."
        )

    def guess(self, number: int) -> str:
        """
        Guess the number.

        Args:
            number: The guess.

        Returns:
            "correct", "too low" or "too high".
        """
        number = int(number)
        self.used += 1
        self.found = number == self.number
        self.done = self.found or self.used == self.guesses
        if number not in self.possible:
            self.wasted += 1
        if self.found:
            return "correct"
        first, end = self.possible.start, self.possible.stop
        if number < self.number:
            self.possible = range(max(first, number + 1), end)
            return "too low"
        self.possible = range(first, min(end, number))
        return "too high"

    def get_reward(self) -> float:
        return float(self.found) - 0.4 * self.wasted
