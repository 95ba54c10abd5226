"""Check for files of an earlier run, and for the checkpoint to resume."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.findings import Finding, at, correct_path

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.*")


def check_reuse(cfg: Any) -> Iterator[Finding]:
    """Check that the output folder is new, or that the checkpoint exists."""
    resumed = cfg.get("resume_from_checkpoint")
    if isinstance(resumed, str) and not os.path.isdir(resumed):
        where = at(cfg, f"resume_from_checkpoint ({resumed})")
        yield Finding(where, "no such folder", correct_path())
    if not resumed:
        yield from _check_output(cfg)


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
