"""One training with the plugin: its rewards, its log and its tools, which it opens and closes."""

import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config, output_dir
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.environments.run_tools import Tools
from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.processes import is_first_rank
from axolotl_grpo_plugin.repairs import upstream
from axolotl_grpo_plugin.scoring.rollout_log import RolloutLog
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.serving.saver import Saver
from axolotl_grpo_plugin.training.banner import show_summary
from axolotl_grpo_plugin.training.callbacks import callbacks
from axolotl_grpo_plugin.training.dynamic_sampling import SamplingSettings
from axolotl_grpo_plugin.training.ending import CollectiveEnd, is_on_several_nodes, is_sharded
from axolotl_grpo_plugin.training.packed_step.step import PackedStep
from axolotl_grpo_plugin.training.record import ENDED, add_facts, facts_of, now, show_end, write_run
from axolotl_grpo_plugin.training.stall import Watchdog
from axolotl_grpo_plugin.training.trainer import RunTrainer, choose_trainer
from axolotl_grpo_plugin.training.uploads import uploaded_files


class Run:
    """A training with the plugin.

    Attributes:
        cfg: The validated config.
        given: The config before Axolotl's defaults.
        rewards: The guarded rewards.
        tools: The guarded tools. None until `open`, or without tools.
    """

    def __init__(self, cfg: Config, given: Config):
        self.cfg = cfg
        self.given = given
        self.rewards = RewardRunner(cfg)
        self.tools: Tools | None = None
        self.watchdog: Watchdog | None = None
        self._end: CollectiveEnd | None = None  # of ranks that save together
        self._rollout_log = RolloutLog.of(cfg)
        self._no_packed_step = ""  # the reason
        self._opened = ExitStack()

    def open(self) -> None:
        """Start the tools. Let Axolotl make our trainer with our rewards, and load the model once."""
        cfg = self.cfg
        if uses_tools(cfg):
            self.tools = Tools(cfg)
        self._no_packed_step = choose_trainer(
            cfg,
            given=self.given,
            reward_runner=self.rewards,
            rollout_log=self._rollout_log,
            guarded_tools=self.tools,
            sampling=SamplingSettings.of(cfg),
            estimator=cfg.grpo_advantage,
            tokens_per_pass=cfg.grpo_tokens_per_pass,
        )
        # Axolotl's own reward workers have no time limit, and lose the columns that rewards log.
        cfg.raw["trl"]["reward_num_workers"] = 1
        self._opened.enter_context(upstream.reward_functions(self.rewards.reward_func))
        self._opened.enter_context(upstream.no_reference_model())
        self._opened.enter_context(upstream.signal_handlers(self._hear_signals))
        self._opened.enter_context(upstream.uploads(self._uploaded))

    def _uploaded(self, folder: Path) -> list[str] | None:
        """Return the files of a folder that the hub gets. None, for all, of a checkpoint (`hub_strategy`)."""
        output = output_dir(self.cfg)
        if folder.resolve() != output.resolve():
            return None
        return uploaded_files(output, self.cfg.grpo_hub_files)

    def begin(self, trainer: GRPOTrainer) -> None:
        """Show and record the run of a trainer that Axolotl has made.

        Raises:
            FindingError: Another plugin chose the class of the trainer.
        """
        if not isinstance(trainer, RunTrainer):
            stop(
                "other-trainer",
                "plugins",
                f"another plugin chose the trainer {type(trainer).__name__}, so no reward is guarded",
                "Remove that plugin",
            )
        speed = f"TRL's own step: {self._no_packed_step}"
        if isinstance(trainer, PackedStep):
            speed = trainer.packed_step
        show_summary(self.cfg, trainer, speed)
        if trainer.accelerator.is_main_process:
            write_run(self.given, Path(trainer.args.output_dir), facts_of(trainer))

    def callbacks(self, trainer: RunTrainer) -> list[TrainerCallback]:
        """Return the callbacks in the order of their calls."""
        first: list[TrainerCallback] = []
        if is_sharded(trainer) or is_on_several_nodes():
            self._end = CollectiveEnd(trainer)
            first.append(self._end)
        timeout = self.cfg.grpo_stall_timeout
        if timeout != 0:
            # Others generate in their on_train_begin.
            self.watchdog = Watchdog(timeout, trainer.args.output_dir)
            first.append(self.watchdog)
        return [*first, *callbacks(self.cfg, trainer, self.rewards)]

    def _hear_signals(self, set_axolotls_handler: Callable[[], None]) -> None:
        """Let the run save its model on a signal, right before the training begins."""
        if self._end:
            self._end.hear_signals()
        else:
            set_axolotls_handler()
        if os.environ.get("LOCAL_RANK", "0") == "0":
            Saver(os.getpid(), together=bool(self._end)).announce()

    def close(self) -> None:
        """End threads and processes, and undo the changes of Axolotl."""
        if self.watchdog:
            self.watchdog.close()
        self.rewards.close()
        if self.tools:
            self.tools.close()
        self._opened.close()
        if not sys.exception():  # Axolotl calls this also after an error
            show_end(self.cfg, self._rollout_log.loss() if self._rollout_log else "")
            is_whole = not (self._end and self._end.has_ended_run)
            if is_whole and is_first_rank():
                with suppress(OSError):  # a full disk
                    add_facts(output_dir(self.cfg), {ENDED: now()})


def arguments_of_cpu(cfg: Config) -> dict[str, bool]:
    """Return the training argument without which transformers refuses bf16 on a CPU."""
    return {"use_cpu": True} if cfg.bf16 and not torch.accelerator.is_available() else {}


def set_threads(cfg: Config) -> None:
    """Set the CPU threads of torch."""
    if threads := cfg.grpo_cpu_threads:
        torch.set_num_threads(threads)
    elif "OMP_NUM_THREADS" not in os.environ:  # `accelerate launch` sets it to 1
        torch.set_num_threads(1)
