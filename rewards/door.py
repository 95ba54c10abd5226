"""An example of an environment of your own: a door that opens with a code.

grpo_environment: rewards.door.Door
grpo_environment_args: {tries: 6}
"""

from typing import Any

from axolotl_grpo_plugin.environments import Environment


class Door(Environment):
    """Open the door. The rows need a column `code` with three digits."""

    def __init__(self, tries: int = 8):
        self.tries = tries

    def reset(self, **row: Any) -> str:
        self.code, self.left, self.opened, self.done = str(row["code"]), self.tries, False, False
        return f" The code has {len(self.code)} digits. You may try {self.tries} times."

    def press(self, digits: str) -> str:
        """
        Press the digits of a code.

        Args:
            digits: The digits, for example "123".
        """
        self.left -= 1
        self.opened = digits == self.code
        self.done = self.opened or not self.left
        right = sum(pressed == digit for pressed, digit in zip(digits, self.code, strict=False))
        return "open" if self.opened else f"{right} digits are at the right place"

    def get_reward(self) -> float:
        return float(self.opened)
