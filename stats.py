"""Sequence-length budgets: `python stats.py CONFIG`, the same as `axolotl grpo stats CONFIG`."""

from axolotl_grpo_plugin.cli import stats

if __name__ == "__main__":
    stats()
