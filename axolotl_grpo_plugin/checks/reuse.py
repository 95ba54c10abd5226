"""Check for files of an earlier run, and for the checkpoint to resume."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from axolotl_grpo_plugin.findings import Finding, at, correct_path

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.*")


def check_reuse(cfg: Any) -> Iterator[Finding]:
    """Check that the output folder and the wandb name are new, or the checkpoint exists."""
    resumed = cfg.get("resume_from_checkpoint")
    if isinstance(resumed, str) and not os.path.isdir(resumed):
        where = at(cfg, f"resume_from_checkpoint ({resumed})")
        yield Finding(where, "no such folder", correct_path())
    if not resumed:
        yield from _check_output(cfg)
        yield from _check_wandb(cfg)


def _check_output(cfg: Any) -> Iterator[Finding]:
    output = cfg.get("output_dir")
    if not isinstance(output, str):
        return
    where, folder = at(cfg, f"output_dir ({output})"), Path(output)
    checkpoints = [each.name for each in folder.glob("checkpoint-*") if each.is_dir()]
    if checkpoints and not cfg.get("auto_resume_from_checkpoints"):
        last = max(checkpoints, key=lambda name: (len(name), name))
        what = f"it has checkpoints of an earlier run up to {last}, and this run would mix with it"
        fix = "Set another output_dir, or auto_resume_from_checkpoints: true"
        yield Finding(where, what, fix, level="warning")
    elif not checkpoints and any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        what = "it has the model of an earlier run, which this run overwrites"
        yield Finding(where, what, "Set another output_dir", level="warning")


def _check_wandb(cfg: Any) -> Iterator[Finding]:
    """Check wandb's local files for runs with the same name or id."""
    if not cfg.get("wandb_project"):
        return
    runs = Path(os.environ.get("WANDB_DIR", "."), "wandb")
    name, run_id = cfg.get("wandb_name"), cfg.get("wandb_run_id")
    if run_id and any(runs.glob(f"*run-*-{run_id}")):
        what = f"{runs} has a run with this id, and this run would write into it"
        yield Finding(at(cfg, f"wandb_run_id ({run_id})"), what, "Remove it", level="warning")
    elif name and any(_name_of(file) == name for file in runs.glob("*run-*/files/config.yaml")):
        what = f"{runs} has a run with this name, and their curves would look the same"
        yield Finding(at(cfg, f"wandb_name ({name})"), what, "Choose another", level="warning")


def _name_of(file: Path) -> Any:
    """Return the name of a run that wandb logged. transformers puts it into the run's config."""
    config = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    name = config.get("run_name")
    return name.get("value") if isinstance(name, dict) else name
