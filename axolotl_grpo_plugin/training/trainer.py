"""Axolotl's GRPO trainers with the methods of this plugin.

The order of the bases is the order of the calls: each class may call `super()`, which is the next one.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from axolotl.core.trainers.grpo.trainer import AxolotlAsyncGRPOTrainer, AxolotlGRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.training.packed_step.settings import other_trainer
from axolotl_grpo_plugin.training.packed_step.step import PackedStep
from axolotl_grpo_plugin.training.packed_step.support import SKIP


class SynchronousTrainer(PackedStep, AxolotlGRPOTrainer):
    """Axolotl's trainer that generates before each step."""


class DataProducerTrainer(PackedStep, AxolotlAsyncGRPOTrainer):
    """Axolotl's trainer for `trl.use_data_producer` and `trl.async_prefetch`."""

    removes_used = True

    def __init__(self, *arguments: Any, **options: Any):
        """Make Axolotl's trainer. It takes Axolotl's arguments."""
        super().__init__(*arguments, **options)
        if SKIP not in self._off:
            # Axolotl would leave a pass without advantages on one rank, while others gather in theirs.
            self.args.skip_zero_advantage_batches = False

    def _autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a pass. Axolotl's data producer computes log-probabilities in bfloat16."""
        return torch.autocast(self.accelerator.device.type, dtype=torch.bfloat16)

    def _gathering_rows(self, most: int) -> AbstractContextManager[Any]:
        """Leave the gather as it is: the loss gathers no value per row, and the thread that generates may gather."""
        return nullcontext()

    def _precision(self) -> torch.dtype:
        """Return the type in which a pass computes."""
        return torch.bfloat16


def choose_trainer(cfg: Config) -> str:
    """Let Axolotl make the trainer of this module that fits a config.

    Returns:
        Why Axolotl makes another one, or "".
    """
    if reason := other_trainer(cfg):
        return reason
    trl = cfg.get("trl") or {}
    has_producer = trl.get("use_data_producer") or trl.get("async_prefetch")
    trainer = DataProducerTrainer if has_producer else SynchronousTrainer
    cfg["trainer_cls"] = f"{trainer.__module__}.{trainer.__name__}"
    return ""
