"""Decide where a run goes on: from the newest whole checkpoint, or not at all if that is its end."""

from itertools import chain
from pathlib import Path

from axolotl_grpo_plugin.config import Config, number_of, output_dir
from axolotl_grpo_plugin.findings import Finding, warning
from axolotl_grpo_plugin.output.checkpoints import NewestCheckpoint, newest_whole, state_of, step_of
from axolotl_grpo_plugin.training.record import CARD, ENDED, STOPPED, facts

WEIGHTS = ("*.safetensors", "pytorch_model*", "adapter_model.*")
_ROUNDING = 1e-6  # transformers adds up the epochs as fractions


def chosen(cfg: Config) -> NewestCheckpoint | None:
    """Return the checkpoint for `auto_resume_from_checkpoints`. None if the config does not leave the choice open."""
    if cfg.resume_from_checkpoint or not cfg.auto_resume_from_checkpoints:
        return None
    return newest_whole(output_dir(cfg))


def choose_checkpoint(cfg: Config) -> None:
    """Name the newest whole checkpoint in a validated config. Axolotl would take the newest one, whole or not."""
    newest = chosen(cfg)
    if newest:
        cfg.raw["auto_resume_from_checkpoints"] = False
        if newest.folder:
            cfg.raw["resume_from_checkpoint"] = str(newest.folder)


def folders_of(cfg: Config) -> dict[str, Path]:
    """Return the folders that a run writes to, by the key that names each."""
    folders = {"output_dir": output_dir(cfg)}
    rollouts = cfg.grpo_rollouts
    if isinstance(rollouts, str):
        folders["grpo_rollouts"] = Path(rollouts)
    return folders


def has_weights(folder: Path) -> bool:
    """Return whether an output folder has a model."""
    return any(chain.from_iterable(map(folder.glob, WEIGHTS)))


def is_finished(folder: Path) -> bool:
    """Return whether an output folder has the model of a run that was trained to its end."""
    if known := facts(folder):
        return ENDED in known
    # Another program trained. TRL writes a card also beside a checkpoint, so a card alone proves little.
    return has_weights(folder) and (folder / CARD).exists()


def nothing_to_do(cfg: Config) -> Finding | None:
    """Return a warning if a run has been trained to the end that the config sets, and has saved its model."""
    folder = output_dir(cfg)
    newest = chosen(cfg)
    checkpoint = newest.folder if newest else None
    resumed = cfg.resume_from_checkpoint
    if resumed and Path(resumed).absolute().parent == folder.absolute():
        checkpoint = Path(resumed)
    if not checkpoint or not checkpoint.is_dir():
        return None
    known = facts(folder)
    if ENDED not in known or not has_weights(folder):
        return None
    stopped = known.get(STOPPED, "")
    end = f"grpo_stop_at {cfg.grpo_stop_at:g}" if cfg.grpo_stop_at else ""
    what = f"the run has ended ({stopped})"
    if not end or end not in stopped:
        end = _end(cfg, checkpoint)
        what = f"{checkpoint.name} is the end ({end})"
    if not end:
        return None
    return warning(
        "nothing-to-do",
        f"output_dir ({folder})",
        f"nothing to do: {what}",
        f"Raise {end.partition(' ')[0]} to train on",
    )


def _end(cfg: Config, checkpoint: Path) -> str:
    """Return the limit of the config that a checkpoint has reached, "" if it has not."""
    steps = cfg.max_steps
    if steps and steps > 0:
        return f"max_steps {steps}" if step_of(checkpoint) >= steps else ""
    epochs = cfg.num_epochs or 1.0  # Axolotl's default
    trained = number_of(state_of(checkpoint).get("epoch")) or 0.0
    return f"num_epochs {epochs:g}" if trained >= epochs - _ROUNDING else ""
