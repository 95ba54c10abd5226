"""Axolotl's GRPO trainers with the methods of this plugin.

The order of the bases is the order of the calls: each class may call `super()`, which is the next one.
"""

from typing import Any

import torch
from axolotl.core.trainers.grpo.trainer import AxolotlAsyncGRPOTrainer, AxolotlGRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.training.packed_step.settings import why_other_trainer
from axolotl_grpo_plugin.training.packed_step.step import PackedStep
from axolotl_grpo_plugin.training.packed_step.support import REARRANGE


class SynchronousTrainer(PackedStep, AxolotlGRPOTrainer):
    """Axolotl's trainer that generates before each step."""


class DataProducerTrainer(PackedStep, AxolotlAsyncGRPOTrainer):
    """Axolotl's trainer for `trl.use_data_producer` and `trl.async_prefetch`."""

    pops_buffer = True
    averages_ranks = True
    autocast_dtype = torch.bfloat16  # of Axolotl's log-probabilities

    def __init__(self, *arguments: Any, **options: Any):
        """Make Axolotl's trainer. It takes Axolotl's arguments."""
        super().__init__(*arguments, **options)
        if REARRANGE not in self._off:
            # With it, Axolotl returns early from a pass whose advantages are all 0. Here that can be so on one rank
            # only, and the others would wait for it in their gathers.
            self.args.skip_zero_advantage_batches = False


def choose_trainer(cfg: Config) -> str:
    """Let Axolotl make the trainer of this module that fits a config.

    Returns:
        Why Axolotl makes another one, or "".
    """
    if reason := why_other_trainer(cfg):
        return reason
    trl = cfg.get("trl") or {}
    has_producer = trl.get("use_data_producer") or trl.get("async_prefetch")
    trainer = DataProducerTrainer if has_producer else SynchronousTrainer
    cfg["trainer_cls"] = f"{trainer.__module__}.{trainer.__name__}"
    return ""
