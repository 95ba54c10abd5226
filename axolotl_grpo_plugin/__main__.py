"""`python -m axolotl_grpo_plugin ...`: the same as `axolotl-grpo ...`."""

from axolotl_grpo_plugin.cli import grpo

grpo(prog_name="python -m axolotl_grpo_plugin")
