"""Tools that a config may name."""

from axolotl_grpo_plugin.environments.tools.arithmetic import calculator
from axolotl_grpo_plugin.environments.tools.database import RowDatabase, sqlite
from axolotl_grpo_plugin.environments.tools.programs import python
from axolotl_grpo_plugin.environments.tools.retrieval import search

__all__ = ["RowDatabase", "calculator", "python", "search", "sqlite"]
