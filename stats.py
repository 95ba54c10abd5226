"""Sequence-length budgets: `python stats.py CONFIG`, the same as `axolotl-grpo stats CONFIG`."""

import sys

from axolotl_grpo_plugin.cli import grpo

if __name__ == "__main__":
    grpo(["stats", *sys.argv[1:]], prog_name="axolotl-grpo")
