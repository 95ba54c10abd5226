"""Tools that a config may name."""

from axolotl_grpo_plugin.environments.tools.arithmetic import calculator
from axolotl_grpo_plugin.environments.tools.programs import python

__all__ = ["calculator", "python"]
