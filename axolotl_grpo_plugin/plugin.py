"""The class that Axolotl loads."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from axolotl.integrations import base

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.batch import check_batch, check_groups, name_run
from axolotl_grpo_plugin.checks.config import check_config, check_keys, check_plugin
from axolotl_grpo_plugin.checks.rewards import check_ready
from axolotl_grpo_plugin.checks.tools import check_start, check_tool_use
from axolotl_grpo_plugin.checks.trl_args import trl_args
from axolotl_grpo_plugin.checks.validation import refusals
from axolotl_grpo_plugin.checks.versions import check_versions, check_wandb
from axolotl_grpo_plugin.config import PLUGIN, is_grpo, is_named, limit_prompts
from axolotl_grpo_plugin.environments.names import training_args, uses_tools
from axolotl_grpo_plugin.findings import END, Finding, first_line, stop_on, write_end
from axolotl_grpo_plugin.serving.address import settle_address
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.request import CANARY, request_or_check, wait
from axolotl_grpo_plugin.training.banner import quiet_console, show_summary
from axolotl_grpo_plugin.training.card import write_card
from axolotl_grpo_plugin.training.end_tokens import stop_at_end_tokens
from axolotl_grpo_plugin.training.record import facts_of, show_end, write_run

if TYPE_CHECKING:
    from axolotl_grpo_plugin.environments.seams import Tools
    from axolotl_grpo_plugin.scoring.runner import RewardRunner
    from axolotl_grpo_plugin.training.stall import Watchdog


def _load_plugin(name: str) -> Any:
    """Refuse a misspelt path of this plugin. Axolotl loads all plugins before it registers any."""
    if len(name) == 1:  # Axolotl takes a text for a list of its characters
        stop_on([Finding("plugins", "not a list", f"Write - {PLUGIN}")])
    stop_on(check_plugin({"plugins": [name]}))
    return _axolotls_load_plugin(name)


_axolotls_load_plugin = base.load_plugin
base.load_plugin = _load_plugin


class GRPOPlugin(base.BasePlugin):
    """GRPO with checked configs, guarded rewards, and a report of the model's progress.

    Axolotl loads it in all runs of a user who has installed it. Outside `rl: grpo|gdpo` it does
    nothing. In such runs it makes the working folder importable and checks its own keys. All other
    features need it listed under `plugins:`.
    """

    _runner: "RewardRunner | None" = None
    _tools: "Tools | None" = None
    _watchdog: "Watchdog | None" = None
    _given: dict[str, Any]  # the config with its command line's options, before Axolotl's defaults
    _row: Any = None  # of the training dataset, to try the rewards on

    def register(self, cfg: Any) -> None:
        if is_named(cfg):
            self._given = cfg.to_dict()
            paths.resolve_packaged(cfg)  # for all commands, because `axolotl inference` clears `rl`
        if not is_grpo(cfg):
            return
        paths.add_working_folder()
        stop_on([*check_plugin(cfg), *check_keys(cfg)])
        if is_named(cfg):
            _pass_crashes()
            quiet_console(everything=False)
            stop_on(check_config(cfg))
            limit_prompts(cfg)
            name_run(cfg, _ranks())
            settle_address(cfg)

    def get_input_args(self) -> str:
        return "axolotl_grpo_plugin.args.GRPOArgs"

    def on_config_validation_error(self, cfg: Any) -> None:
        if is_named(cfg) and (error := sys.exception()):
            batch = list(check_batch(cfg, _ranks()))
            others = refusals(cfg, error)
            # Axolotl's message for a wrong batch says less than check_batch.
            stop_on([*batch, *(o for o in others if not (batch and o.what.startswith("GRPO")))])

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> Any:
        # Axolotl takes the datasets of one plugin, and NeMo Gym's plugin loads its own.
        if not _active(cfg) or cfg.get("nemo_gym_enabled"):
            return None
        from axolotl_grpo_plugin.checks.datasets import load_checked

        if not preprocess:
            quiet_console(everything=True)
            stop_on([*check_ready(cfg), *check_groups(cfg, _ranks())])
            stop_on([*check_versions(cfg), *check_wandb(cfg)])
        loaded = load_checked(cfg)
        self._row = loaded.train_dataset[0]
        if uses_tools(cfg):
            stop_on(check_tool_use(cfg, self._row["prompt"], int(os.environ.get("WORLD_SIZE", 1))))
        if mode_of(cfg) == "server" and not preprocess:
            request_or_check(cfg)
        return loaded

    def pre_model_load(self, cfg: Any) -> None:
        if not _active(cfg):
            return
        if threads := cfg.get("grpo_cpu_threads"):
            torch.set_num_threads(threads)
        elif "OMP_NUM_THREADS" not in os.environ:  # `accelerate launch` sets it to 1
            torch.set_num_threads(1)
        if self._runner is None:  # Axolotl calls this again for a reference model
            from axolotl_grpo_plugin.checks.samples import check_row
            from axolotl_grpo_plugin.scoring.runner import RewardRunner

            self._runner = RewardRunner(cfg)
            if self._row:
                stop_on(check_row(cfg, self._runner, self._row))
            self._runner.open(cfg)
            if uses_tools(cfg):
                from axolotl_grpo_plugin.environments.seams import Tools

                self._tools = Tools(cfg)
                if self._row:
                    stop_on(check_start(cfg, self._tools, self._row, _ranks()))
                self._tools.open()

    def get_training_args(self, cfg: Any) -> dict[str, Any] | None:
        if not _active(cfg):
            return None
        if mode_of(cfg) == "server":
            wait(cfg)  # because the trainer's client connects next
        return {**trl_args(cfg), **training_args(cfg)}

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        if self._runner:
            from axolotl_grpo_plugin.generation.fewer_tokens import generate_fewer_tokens

            stop_at_end_tokens(cfg, trainer)
            trainer.model.generate = partial(
                trainer.model.generate, custom_generate=generate_fewer_tokens
            )
            self._runner.wrap_trainer(trainer)
            if self._tools:
                self._tools.wrap_trainer(trainer, self._runner.rollouts)
            if cfg.get("grpo_dynamic_sampling"):
                from axolotl_grpo_plugin.training.dynamic_sampling import DynamicSampling

                trainer.add_callback(DynamicSampling.of(cfg, trainer, self._runner))
            if cfg.get("adapter"):
                from axolotl_grpo_plugin.training.lora_sync import KeepBase

                trainer.add_callback(KeepBase(trainer.model))
            from axolotl_grpo_plugin.training.lean_step import LeanStep

            trim, skip = cfg.get("grpo_trim_padding"), cfg.get("grpo_skip_zero_advantage")
            lean = LeanStep(trainer, trim, skip)
            show_summary(cfg, trainer, lean.summary())
            if trainer.accelerator.is_main_process:
                write_run(self._given, Path(trainer.args.output_dir), facts_of(trainer))
            trainer.create_model_card = partial(write_card, trainer, self._given)

    def post_train_unload(self, cfg: Any) -> None:
        if self._watchdog:
            self._watchdog.close()
            self._watchdog = None
        if self._runner:
            self._runner.close()
            self._runner = None
            if self._tools:
                self._tools.close()
                self._tools = None
            if not sys.exception():  # Axolotl calls this also after an error
                show_end(cfg)

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        if not self._runner:
            return []
        from axolotl_grpo_plugin.training.callbacks import callbacks

        added = callbacks(cfg, trainer, self._runner)
        if os.environ.get(CANARY):
            from axolotl_grpo_plugin.serving.canary import Canary

            added.insert(0, Canary(trainer))
        timeout = cfg.get("grpo_stall_timeout")
        if timeout != 0:
            from axolotl_grpo_plugin.training.stall import Watchdog

            # First, because others generate in their on_train_begin.
            self._watchdog = Watchdog(timeout, trainer.args.output_dir)
            added.insert(0, self._watchdog)
        return added


def _pass_crashes() -> None:
    """Pass the error of a crash to `axolotl grpo train`, if that started the run."""
    before = sys.excepthook

    def hook(kind: Any, error: BaseException, trace: Any) -> None:
        write_end(
            f"axolotl-grpo-plugin: the training ended with {kind.__name__}: {first_line(error)}."
        )
        before(kind, error, trace)

    if END in os.environ:
        sys.excepthook = hook


def _ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def _active(cfg: Any) -> bool:
    """Return whether the config lists the plugin and trains by GRPO or GDPO."""
    return is_grpo(cfg) and is_named(cfg)
