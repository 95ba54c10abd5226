"""Check the output folder, its files of an earlier run, and the checkpoint to resume."""

import tempfile
from pathlib import Path

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, correct_path, fault, warning
from axolotl_grpo_plugin.output.checkpoints import checkpoints_in, newest_whole, why_not_whole
from axolotl_grpo_plugin.output.files import existing
from axolotl_grpo_plugin.output.lock import check_unlocked
from axolotl_grpo_plugin.training.resume import folders_of, has_weights, is_finished, nothing_to_do

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


def check_unused(cfg: Config, only_here: bool = False) -> Findings:
    """Check that no other run trains into the folders of this one.

    Args:
        cfg: The config.
        only_here: Skip runs on other hosts.
    """
    for key, folder in folders_of(cfg).items():
        yield from check_unlocked(folder, key, only_here)


def check_reuse(cfg: Config) -> Findings:
    """Check that the output folder is new, or that the checkpoint is whole."""
    resumed, output = cfg.resume_from_checkpoint, cfg.output_dir
    if resumed:
        yield from _check_resumed(Path(resumed))
    if resumed or output is None:
        return
    if done := nothing_to_do(cfg):
        yield done
        return
    where, folder = f"output_dir ({output})", Path(output)
    checkpoints = checkpoints_in(folder)
    newest = newest_whole(folder)
    resumes = cfg.auto_resume_from_checkpoints
    if resumes:
        goes_on = f"goes on from {newest.folder.name}" if newest.folder else "begins at step 1"
        for name, why in newest.left_out.items():
            what = f"{name} is left out, because {why}. The run {goes_on}"
            yield warning("cut-checkpoint", where, what, "")
    elif checkpoints:
        yield warning(
            "earlier-checkpoints",
            where,
            f"it has checkpoints of an earlier run up to {checkpoints[-1].name}, and this run would mix with it",
            "Set another output_dir, or auto_resume_from_checkpoints: true",
        )
    is_lost = not newest.folder if resumes else not checkpoints
    if is_lost and has_weights(folder):
        overwrites = warning(
            "earlier-model",
            where,
            "it has the model of an earlier run, which this run overwrites",
            "Set another output_dir",
        )
        # An interrupted run, for example in the cloud or after a requeue, may begin again.
        if resumes and is_finished(folder):
            overwrites = fault(
                "no-checkpoint",
                where,
                "it has no checkpoint to resume from, and this run would overwrite its finished model",
                "Remove auto_resume_from_checkpoints, or set another output_dir",
            )
        yield overwrites


def _check_resumed(checkpoint: Path) -> Findings:
    where = f"resume_from_checkpoint ({checkpoint})"
    if not checkpoint.is_dir():
        yield fault("no-checkpoint", where, "no such folder", correct_path())
    elif why := why_not_whole(checkpoint):
        whole = newest_whole(checkpoint.parent).folder
        fix = f"Name {whole}" if whole else "Begin again without it"
        yield fault("cut-checkpoint", where, f"it is not whole, because {why}", fix)
