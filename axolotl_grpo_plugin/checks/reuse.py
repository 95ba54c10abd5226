"""Check the output folder, its files of an earlier run, and the checkpoint to resume."""

import os
import tempfile
from pathlib import Path

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, correct_path, fault, warning

WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model.*")
MOUNTS = ("/", "/mnt", "/media", "/run/media", "/Volumes")  # folders that hold mounted disks


def check_output(cfg: Config) -> Findings:
    """Check that the output folder can be written. The run would find out after the model is loaded."""
    output = cfg.output_dir
    if not output:
        return
    where, fix = f"output_dir ({output})", "Set another output_dir"
    above = existing(output)
    if not above.is_dir():
        yield fault("output-is-file", where, f"{above} is a file, not a folder", fix)
        return
    try:
        with tempfile.TemporaryDirectory(dir=above):
            pass  # permissions do not tell: root may write everywhere, except on a read-only disk
    except OSError as error:
        yield fault("output-read-only", where, f"{error.strerror}: {above}", fix)
        return
    folder = Path(output).absolute()
    if above != folder and str(above) in MOUNTS:
        missing = above / folder.relative_to(above).parts[0]
        yield warning(
            "output-not-mounted",
            where,
            f"{missing} does not exist, so a disk may not be mounted",
            "Mount the disk, or make the folder",
        )


def existing(folder: str) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    path = Path(folder).absolute()
    while not path.exists():
        path = path.parent
    return path


def check_reuse(cfg: Config) -> Findings:
    """Check that the output folder is new, or that the checkpoint exists."""
    resumed, output = cfg.resume_from_checkpoint, cfg.output_dir
    if resumed and not os.path.isdir(resumed):
        yield fault(
            "no-checkpoint", f"resume_from_checkpoint ({resumed})", "no such folder", correct_path()
        )
    if resumed or output is None:
        return
    where, folder = f"output_dir ({output})", Path(output)
    checkpoints = sorted(folder.glob("checkpoint-*/"), key=lambda path: (len(path.name), path))
    resumes = cfg.auto_resume_from_checkpoints
    if checkpoints and not resumes:
        yield warning(
            "earlier-checkpoints",
            where,
            f"it has checkpoints of an earlier run up to {checkpoints[-1].name}, and this run would mix with it",
            "Set another output_dir, or auto_resume_from_checkpoints: true",
        )
    elif not checkpoints and any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        overwrites = warning(
            "earlier-model",
            where,
            "it has the model of an earlier run, which this run overwrites",
            "Set another output_dir",
        )
        # Only a finished run has a card. An interrupted one, for example in the cloud, may begin again.
        if resumes and (folder / "README.md").exists():
            overwrites = fault(
                "no-checkpoint",
                where,
                "it has no checkpoint to resume from, and this run would overwrite its finished model",
                "Remove auto_resume_from_checkpoints, or set another output_dir",
            )
        yield overwrites
