"""`python -m axolotl_grpo_plugin ...`: as `axolotl grpo ...`, without Axolotl's banner before a --json."""

from axolotl_grpo_plugin.cli import grpo

grpo(prog_name="python -m axolotl_grpo_plugin")
