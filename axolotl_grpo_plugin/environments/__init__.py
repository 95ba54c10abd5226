"""Tools and environments that a model uses while it writes a completion."""

from axolotl_grpo_plugin.environments.base import Environment
from axolotl_grpo_plugin.environments.games import GuessNumber

__all__ = ["Environment", "GuessNumber"]
