"""TRL's GRPO trainer with the packed step, for scripts without Axolotl.

Change one import: `from axolotl_grpo_plugin.trl import GRPOTrainer`.
"""

from axolotl_grpo_plugin.training.packed_step.step import PackedStep


class GRPOTrainer(PackedStep):
    """TRL's trainer with the same gradient from real tokens only. It takes TRL's arguments."""
