"""The first screen of a training: a short summary in place of Axolotl's 200 lines."""

import logging
import os
from importlib.metadata import version
from typing import Any

from axolotl_grpo_plugin.training.report import short


def quiet_console() -> None:
    """Print only Axolotl's warnings and errors. Its whole log stays in output_dir/debug.log.

    AXOLOTL_LOG_LEVEL in the environment has precedence.
    """
    if "AXOLOTL_LOG_LEVEL" not in os.environ:
        for handler in logging.getLogger("axolotl").handlers:
            if handler.get_name() == "color_console":
                handler.setLevel(logging.WARNING)


def show(cfg: Any, trainer: Any) -> None:
    """Print a run's model, rows, rewards, devices and output folder, on the first rank."""
    from rich.console import Console
    from rich.table import Table

    if not trainer.accelerator.is_main_process:
        return
    args, prompts = trainer.args, trainer.args.generation_batch_size // trainer.num_generations
    parameters = sum(each.numel() for each in trainer.model.parameters())
    kind = cfg.get("adapter") or "full training"
    rows = f"{len(trainer.train_dataset)} to train"
    if held_out := cfg.get("grpo_held_out_rows"):
        rows += f", {min(held_out, len(trainer.eval_dataset))} held out"
    steps = f"{args.max_steps} steps" if args.max_steps > 0 else f"{args.num_train_epochs:g} epochs"
    devices = f"{args.device.type}, {trainer.accelerator.num_processes} process(es)"
    if trainer.use_vllm:
        devices += f", vLLM ({trainer.vllm_mode})"
    table = Table.grid(padding=(0, 2))
    for name, text in (
        ("config", cfg.get("axolotl_config_path")),
        ("model", f"{cfg['base_model']}, {parameters / 1e6:,.1f} million parameters, {kind}"),
        ("rows", rows),
        ("batch", f"{prompts} prompts x {trainer.num_generations} completions, {steps}"),
        ("rewards", ", ".join(map(short, trainer.reward_func_names))),
        ("runs on", devices),
        ("results", f"{args.output_dir} (Axolotl's log: debug.log)"),
    ):
        table.add_row(name, str(text))
    versions = [f"{name} {version(name)}" for name in ("axolotl-grpo-plugin", "axolotl", "trl")]
    console = Console(markup=False, highlight=False)
    console.rule(" · ".join(versions), align="left")
    console.print(table)
    console.rule()
