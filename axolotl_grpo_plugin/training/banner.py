"""The first and the last screen of a training, in place of Axolotl's 200 lines."""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.repairs.startup import LEVEL, QUIET
from axolotl_grpo_plugin.runlog.rewards import short

if TYPE_CHECKING:
    from trl import GRPOTrainer


def quiet_console(everything: bool) -> None:
    """Keep Axolotl's dump of the config off the terminal, or everything but warnings and errors.

    output_dir/debug.log has its whole log. AXOLOTL_LOG_LEVEL in the environment has precedence.
    """
    is_quiet = QUIET in os.environ
    if LEVEL in os.environ and not is_quiet:
        return
    if is_quiet:
        logging.getLogger("axolotl").setLevel(logging.INFO)  # for debug.log
    for handler in logging.getLogger("axolotl").handlers:
        if handler.get_name() == "color_console":
            handler.addFilter(lambda record: not record.msg.startswith("config:"))
            if everything or is_quiet:
                handler.setLevel(logging.WARNING)


def show_summary(cfg: Config, trainer: "GRPOTrainer", speed: str) -> None:
    """Print a run's model, rows, rewards, devices and output folder, on the first rank.

    Args:
        cfg: The config.
        trainer: Of the run.
        speed: The parts of the packed step that are on.
    """
    if not trainer.accelerator.is_main_process:
        return
    args = trainer.args
    group = trainer.num_generations
    # ZeRO-3 leaves empty tensors in place of the weights.
    sizes = [getattr(weight, "ds_numel", weight.numel()) for weight in trainer.model.parameters()]
    millions = sum(sizes) / 1e6
    length = f"{args.num_train_epochs:g} epochs"
    if args.max_steps > 0:
        length = f"{args.max_steps} steps"
    devices = f"{trainer.accelerator.num_processes} x {args.device.type}"
    if trainer.use_vllm:
        devices += f", vLLM ({trainer.vllm_mode})"
    prompts = args.generation_batch_size // group
    show(
        {
            "config": cfg.file,
            "model": f"{cfg.base_model}, {millions:,.1f} M parameters, {cfg.adapter or 'full'}",
            "rows": f"{len(trainer.train_dataset)}, {cfg.grpo_held_out_rows or 0} held out",
            "batch": f"{prompts} prompts x {group} completions, {length}",
            "rewards": ", ".join(map(short, trainer.reward_func_names)),
            "runs on": devices,
            "speed": speed,
            "results": f"{args.output_dir} (debug.log there has Axolotl's log)",
        }
    )


def show(lines: Mapping[str, object]) -> None:
    """Print a block of names and values, after an empty line."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    console.print()
    for name, text in lines.items():
        console.print(f"{name:>8}  {text}", soft_wrap=True)
