"""The class that Axolotl loads."""

import gc
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from axolotl.integrations import base

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.checks.batch import name_run
from axolotl_grpo_plugin.checks.config import check_plugin
from axolotl_grpo_plugin.checks.engines import check_process
from axolotl_grpo_plugin.checks.table import Facts, findings
from axolotl_grpo_plugin.checks.tools import check_start, check_tool_use
from axolotl_grpo_plugin.checks.trl_args import trl_args
from axolotl_grpo_plugin.checks.validation import refusals
from axolotl_grpo_plugin.config import PLUGIN, Config, is_grpo, is_named, limit_prompts, output_dir
from axolotl_grpo_plugin.environments.names import training_args, uses_tools
from axolotl_grpo_plugin.findings import END, exit_on_findings, first_line, stop, stop_on, write_end
from axolotl_grpo_plugin.output import lock
from axolotl_grpo_plugin.output.files import full_disk
from axolotl_grpo_plugin.processes import is_first_rank
from axolotl_grpo_plugin.repairs import upstream
from axolotl_grpo_plugin.repairs.cpu_ranks import connect_cpus, keep_on_cpu
from axolotl_grpo_plugin.repairs.ray_workers import connect_workers
from axolotl_grpo_plugin.repairs.startup import exit_quickly, keep_objects
from axolotl_grpo_plugin.serving.address import settle_address
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.request import request_or_check, wait
from axolotl_grpo_plugin.training.banner import quiet_console
from axolotl_grpo_plugin.training.resume import choose_checkpoint, folders_of, nothing_to_do

if TYPE_CHECKING:
    from axolotl.utils.dict import DictDefault
    from transformers import TrainerCallback
    from trl import GRPOTrainer

    from axolotl_grpo_plugin.training.run import Run


@exit_on_findings()
def _check_name(name: str) -> None:
    """Refuse a misspelt path of this plugin."""
    if len(name) == 1:  # Axolotl takes a text for a list of its characters
        what = f"{name!r} is no path, or plugins is not a list"
        stop("no-list", "plugins", what, f"Write - {PLUGIN}")
    stop_on(check_plugin(Config({"plugins": [name]})))


upstream.check_plugin_names(_check_name)


class GRPOPlugin(base.BasePlugin):
    """GRPO with checked configs, guarded rewards, and a report of the model's progress.

    Axolotl loads it in all runs of a user who has installed it. Outside `rl: grpo|gdpo` it does
    nothing. In such runs it makes the working folder importable and checks its own keys. All other
    features need it listed under `plugins:`.

    Each hook gets the mapping that Axolotl reads and writes, and makes a `Config` of it.
    """

    _run: "Run | None" = None
    _given: Config  # the config with its command line's options, before Axolotl's defaults
    _row: dict[str, Any] | None = None  # of the training dataset, to try the rewards on

    @exit_on_findings()
    def register(self, cfg: "DictDefault") -> None:
        config = Config(cfg)
        if is_named(config):
            self._given = Config(cfg.to_dict())
            # For all commands, because `axolotl inference` clears `rl`.
            paths.resolve_packaged(config)
        if not is_grpo(config):
            return
        paths.add_working_folder()
        if not is_named(config):
            stop_on(findings(Facts(config, "installed"), "yaml"), config.file)
        else:
            _pass_crashes(output_dir(config))
            exit_quickly()
            if config.deepspeed and "AXOLOTL_IS_PREPROCESS" not in os.environ:
                stop_on(check_process(config), config.file)  # because Axolotl starts DeepSpeed next
            connect_cpus(config)
            connect_workers(config, self._given)
            quiet_console(everything=False)
            stop_on(findings(Facts(config), "yaml", "import", "axolotl"), config.file)
            limit_prompts(config)
            name_run(config, _ranks())
            settle_address(config)

    def get_input_args(self) -> str:
        return "axolotl_grpo_plugin.args.GRPOArgs"

    @exit_on_findings()
    def on_config_validation_error(self, cfg: "DictDefault") -> None:
        config = Config(cfg)
        if is_named(config) and (error := sys.exception()):
            facts = Facts(config, ranks=_ranks())
            known = list(findings(facts, "ranks"))
            others = [other for other in refusals(config, error) if not facts.says_less(other)]
            stop_on([*known, *others], config.file)

    @exit_on_findings()
    def load_datasets(self, cfg: "DictDefault", preprocess: bool = False) -> Any:
        config = Config(cfg)
        # Axolotl takes the datasets of one plugin, and NeMo Gym's plugin loads its own.
        if not _active(config) or config.nemo_gym_enabled:
            return None
        from axolotl_grpo_plugin.checks.datasets import load_checked

        if not preprocess:
            quiet_console(everything=True)
            stop_on(check_process(config), config.file)
            keep_on_cpu(config)
            _end_if_done(config)
            stop_on(findings(Facts(config, ranks=_ranks()), "disk", "machine"), config.file)
            _begin_in_folder(config)
        loaded = load_checked(config)
        self._row = loaded.train_dataset[0]
        if uses_tools(config):
            stop_on(
                check_tool_use(config, loaded.train_dataset[0]["prompt"], _ranks()), config.file
            )
        if mode_of(config) == "server" and not preprocess:
            request_or_check(config)
        return loaded

    @exit_on_findings()
    def pre_model_load(self, cfg: "DictDefault") -> None:
        config = Config(cfg)
        if not _active(config):
            return
        from axolotl_grpo_plugin.checks.samples import check_row
        from axolotl_grpo_plugin.training.run import Run, set_threads

        set_threads(config)
        keep_objects()  # the imports, because Axolotl collects garbage after it has loaded the model
        run = self._run = Run(config, self._given)
        if self._row:
            stop_on(check_row(config, run.rewards, self._row), config.file)
        run.open()
        if self._row and run.tools:
            stop_on(check_start(config, run.tools, self._row, _ranks()), config.file)

    @exit_on_findings()
    def get_training_args(self, cfg: "DictDefault") -> dict[str, Any] | None:
        config = Config(cfg)
        if not _active(config):
            return None
        from axolotl_grpo_plugin.training.run import arguments_of_cpu

        if mode_of(config) == "server":
            wait(config)  # because the trainer's client connects next
        return {**trl_args(config), **training_args(config), **arguments_of_cpu(config)}

    @exit_on_findings()
    def post_trainer_create(self, cfg: "DictDefault", trainer: "GRPOTrainer") -> None:
        if self._run:
            self._run.begin(trainer)
            gc.collect()
            keep_objects()

    def add_callbacks_post_trainer(
        self, cfg: "DictDefault", trainer: "GRPOTrainer"
    ) -> list["TrainerCallback"]:
        return self._run.callbacks(trainer) if self._run else []

    def post_train_unload(self, cfg: "DictDefault") -> None:
        if self._run:
            self._run.close()
            self._run = None
            for folder in folders_of(Config(cfg)).values():
                lock.release(folder)


def _pass_crashes(output: Path) -> None:
    """Pass the error of a crash to `axolotl-grpo train`, if that started the run. `output` may be on a full disk."""
    if END not in os.environ:
        return
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        crash = f"the training ended with {kind.__name__}: {first_line(error)}."
        write_end(f"axolotl-grpo-plugin: {full_disk(error, output) or crash}")
        before(kind, error, trace)

    sys.excepthook = hook


def _end_if_done(cfg: Config) -> None:
    """End this process if the run has been trained to its end before."""
    if done := nothing_to_do(cfg):
        if is_first_rank():
            print(f"axolotl-grpo-plugin: {done}")
        raise SystemExit(0)


def _begin_in_folder(cfg: Config) -> None:
    """Keep other runs out of the folders of this one, and choose the checkpoint to go on from."""
    if is_first_rank():
        for key, folder in folders_of(cfg).items():
            lock.take(folder, key)
    choose_checkpoint(cfg)


def _ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", 1))


def _active(cfg: Config) -> bool:
    """Return whether the config lists the plugin and trains by GRPO or GDPO."""
    return is_grpo(cfg) and is_named(cfg)
