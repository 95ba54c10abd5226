"""One training with the plugin: what it opens, wraps and closes."""

import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.environments.seams import Tools
from axolotl_grpo_plugin.repairs import upstream
from axolotl_grpo_plugin.repairs.end_tokens import stop_at_end_tokens
from axolotl_grpo_plugin.repairs.lora_sync import keep_base
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.training.banner import show_summary
from axolotl_grpo_plugin.training.callbacks import callbacks
from axolotl_grpo_plugin.training.card import write_card
from axolotl_grpo_plugin.training.dynamic_sampling import DynamicSampling
from axolotl_grpo_plugin.training.fewer_tokens import generate_fewer_tokens
from axolotl_grpo_plugin.training.packed_step.step import PackedStep
from axolotl_grpo_plugin.training.record import facts_of, show_end, write_run
from axolotl_grpo_plugin.training.stall import Watchdog
from axolotl_grpo_plugin.training.trainer import choose_trainer


class Run:
    """The guarded rewards and tools of a training. given: the config before Axolotl's defaults."""

    def __init__(self, cfg: Config, given: Config):
        self.cfg = cfg
        self.given = given
        self.rewards = RewardRunner(cfg)
        self.tools: Tools | None = None
        self.watchdog: Watchdog | None = None
        self._no_packed_step = ""  # the reason
        self._opened = ExitStack()

    def open(self) -> None:
        """Start the tools. Let Axolotl make our trainer with our rewards and tools, and load the model once."""
        self._no_packed_step = choose_trainer(self.cfg)
        self._opened.enter_context(upstream.no_reference_model())
        self.rewards.open(self.cfg)
        if uses_tools(self.cfg):
            self.tools = Tools(self.cfg)
            self.tools.open()

    def wrap(self, trainer: GRPOTrainer) -> None:
        """Wrap the trainer's methods. A later wrapper is outside of an earlier one, so the order counts."""
        cfg = self.cfg
        stop_at_end_tokens(cfg, trainer)  # before all that read end tokens
        upstream.decode_with(trainer.model, generate_fewer_tokens)
        self.rewards.wrap_trainer(trainer)  # failed scores, dead groups, rollout log
        if self.tools:
            self.tools.wrap_trainer(trainer, self.rewards.rollouts)
        if cfg.get("grpo_dynamic_sampling"):
            # After the log, because it logs the groups that are replaced.
            DynamicSampling.of(cfg, trainer, self.rewards)
        if cfg.get("adapter"):
            keep_base(trainer.model)
        upstream.write_card_with(trainer, partial(write_card, trainer, self.given))
        speed = f"TRL's own step: {self._no_packed_step or 'another trainer class'}"
        if isinstance(trainer, PackedStep):
            speed = trainer.packed_step
        show_summary(cfg, trainer, speed)
        if trainer.accelerator.is_main_process:
            write_run(self.given, Path(trainer.args.output_dir), facts_of(trainer))

    def callbacks(self, trainer: GRPOTrainer) -> list[TrainerCallback]:
        """Return the callbacks in the order of their calls."""
        first = []
        timeout = self.cfg.get("grpo_stall_timeout")
        if timeout != 0:
            # Others generate in their on_train_begin.
            self.watchdog = Watchdog(timeout, trainer.args.output_dir)
            first.append(self.watchdog)
        return [*first, *callbacks(self.cfg, trainer, self.rewards)]

    def close(self) -> None:
        """End threads and processes, and undo the changes of Axolotl."""
        if self.watchdog:
            self.watchdog.close()
        self.rewards.close()
        if self.tools:
            self.tools.close()
        self._opened.close()
        if not sys.exception():  # Axolotl calls this also after an error
            show_end(self.cfg)


def arguments_of_cpu(cfg: Config) -> dict[str, bool]:
    """Return the training argument without which transformers refuses bf16 on a CPU."""
    return {"use_cpu": True} if cfg.get("bf16") and not torch.accelerator.is_available() else {}


def set_threads(cfg: Config) -> None:
    """Set the CPU threads of torch."""
    if threads := cfg.get("grpo_cpu_threads"):
        torch.set_num_threads(threads)
    elif "OMP_NUM_THREADS" not in os.environ:  # `accelerate launch` sets it to 1
        torch.set_num_threads(1)
