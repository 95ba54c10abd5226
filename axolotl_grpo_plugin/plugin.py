"""The class that Axolotl loads."""

import os
from typing import Any

import torch
from axolotl.integrations.base import BasePlugin

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.batch import check_groups
from axolotl_grpo_plugin.checks.config import check_config, check_keys, check_plugin
from axolotl_grpo_plugin.checks.rewards import check_ready
from axolotl_grpo_plugin.config import is_named, limit_prompts
from axolotl_grpo_plugin.findings import stop_on
from axolotl_grpo_plugin.scoring.rollouts import show_samples
from axolotl_grpo_plugin.serving.address import settle_address
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.request import CANARY, ask_or_check, wait


class GRPOPlugin(BasePlugin):
    """GRPO with checked configs, and what the model learnt shown at the end.

    Installed, it is loaded in all of a user's Axolotl runs: outside `rl: grpo|gdpo` it does
    nothing, and there it only makes the working folder importable and knows its own keys.
    The rest is for runs whose YAML names it under `plugins:`, where `pkg://` paths are real too.
    """

    def register(self, cfg: Any) -> None:
        if is_named(cfg):
            paths.resolve_packaged(cfg)  # whatever the command: `axolotl inference` clears `rl`
        if not _is_grpo(cfg):
            return
        paths.add_working_folder()
        stop_on([*check_plugin(cfg), *check_keys(cfg)])
        if is_named(cfg):
            stop_on(check_config(cfg))
            limit_prompts(cfg)
            settle_address(cfg)
            show_samples(cfg)

    def get_input_args(self) -> str:
        return "axolotl_grpo_plugin.args.GRPOArgs"

    def load_datasets(self, cfg: Any, preprocess: bool = False) -> Any:
        # NeMo Gym's plugin loads the datasets of its runs itself, and Axolotl takes one plugin's.
        if _is_grpo(cfg) and is_named(cfg) and not cfg.get("nemo_gym_enabled"):
            from axolotl_grpo_plugin.checks.datasets import load_checked

            if not preprocess:
                ranks = int(os.environ.get("WORLD_SIZE", 1))
                stop_on([*check_ready(cfg), *check_groups(cfg, ranks)])
            loaded = load_checked(cfg)
            if mode_of(cfg) == "server" and not preprocess:
                ask_or_check(cfg)
            return loaded
        return None

    def pre_model_load(self, cfg: Any) -> None:
        threads = cfg.get("grpo_cpu_threads")
        if threads and _is_grpo(cfg) and is_named(cfg):
            torch.set_num_threads(threads)
        if _is_grpo(cfg) and is_named(cfg):
            _seam().open_room(cfg)

    def get_training_args(self, cfg: Any) -> None:
        if _is_grpo(cfg) and is_named(cfg) and mode_of(cfg) == "server":
            wait(cfg)  # the trainer's client is next

    def post_trainer_create(self, cfg: Any, trainer: Any) -> None:
        if _is_grpo(cfg) and is_named(cfg):
            _seam().room().attach(trainer)

    def post_train_unload(self, cfg: Any) -> None:
        if _is_grpo(cfg) and is_named(cfg):
            _seam().close_room()

    def add_callbacks_post_trainer(self, cfg: Any, trainer: Any) -> list[Any]:
        if not (_is_grpo(cfg) and is_named(cfg)):
            return []
        from axolotl_grpo_plugin.training.callbacks import callbacks

        found = callbacks(cfg, trainer, _seam().room().highest())
        if os.environ.get(CANARY):
            from axolotl_grpo_plugin.serving.canary import Canary

            found.insert(0, Canary(trainer))
        return found


def _seam() -> Any:
    from axolotl_grpo_plugin.scoring import seam  # imports Axolotl's GRPO trainers

    return seam


def _is_grpo(cfg: Any) -> bool:
    return cfg.get("rl") in ("grpo", "gdpo")
