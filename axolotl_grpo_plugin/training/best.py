"""Keep the model with the best held-out answers so far, and say when they are good enough.

transformers' `load_best_model_at_end` compares results of `Trainer.evaluate`, keeps whole checkpoints, and needs
one at each evaluation. So this module asks it for nothing but `save_model`, by which all ranks save together.
"""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from axolotl_grpo_plugin.findings import FindingError, exit_on_findings
from axolotl_grpo_plugin.output.files import full_disk, sync, write_text
from axolotl_grpo_plugin.training.record import BEST, add_facts

if TYPE_CHECKING:
    from trl import GRPOTrainer

FOLDER = "best"
RECORD = "best.json"  # beside the model
_MODES = ("greedy", "sampled")  # the second one decides between equal results of the first


class Result(NamedTuple):
    """The first reward's results of the held-out answers at a step.

    Attributes:
        step: The step.
        kind: "right" if they are shares of right answers, "mean" if they are mean scores.
        greedy: The result of the greedy answers.
        sampled: The result of the sampled answers.
    """

    step: int
    kind: str
    greedy: float
    sampled: float

    @classmethod
    def of(cls, metrics: dict[str, float], reward: str, step: int) -> "Result | None":
        """Return the result in metrics of `held_out.means`, None if the reward gave no score."""
        for kind in ("right", "mean"):
            values = [metrics.get(f"held_out/{mode}/{reward}/{kind}") for mode in _MODES]
            greedy, sampled = values
            if greedy is not None and sampled is not None:
                return cls(step, kind, greedy, sampled)
        return None

    def is_better_than(self, other: "Result | None") -> bool:
        """Return whether it is better. The earlier one of two equal results is the better one."""
        return other is None or (self.greedy, self.sampled) > (other.greedy, other.sampled)

    def __str__(self) -> str:
        if self.kind == "right":
            return f"step {self.step}: {self.greedy:.1%} right, greedy ({self.sampled:.1%} sampled)"
        return f"step {self.step}: mean {self.greedy:.3f}, greedy ({self.sampled:.3f} sampled)"


class BestModel:
    """The folder `best` below output_dir: the model of the best step so far, and its result.

    Args:
        trainer: Of the run.
    """

    def __init__(self, trainer: "GRPOTrainer"):
        self.trainer = trainer
        self.folder = Path(trainer.args.output_dir) / FOLDER
        self.best: Result | None = None

    def begin(self) -> None:
        """Read the best result of the run that goes on. The model of another run is left until one replaces it."""
        if self.trainer.state.global_step == 0:
            if self.trainer.accelerator.is_main_process:  # else a resume would read it
                (self.folder / RECORD).unlink(missing_ok=True)
            return
        before = self._beside("before")
        if self.trainer.accelerator.is_main_process and before.exists():
            if self.folder.exists():
                shutil.rmtree(before)
            else:  # a kill came between the two renames
                before.rename(self.folder)
        self.trainer.accelerator.wait_for_everyone()
        self.best = best_in(self.folder.parent)
        self._tell()

    @exit_on_findings()
    def offer(self, result: Result) -> None:
        """Save the model if its result is the best one so far. All ranks must call this.

        Raises:
            FindingError: The disk is full.
        """
        if not result.is_better_than(self.best):
            return
        part = self._beside("part")
        try:
            if self.trainer.accelerator.is_main_process:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(parents=True)
            self.trainer.accelerator.wait_for_everyone()
            save_whole(self.trainer, part)
            self.trainer.accelerator.wait_for_everyone()
            if self.trainer.accelerator.is_main_process:
                write_text(part / RECORD, json.dumps(result._asdict(), indent=1))
                self._replace(part)
        except Exception as error:
            if finding := full_disk(error, self.folder):
                raise FindingError(finding) from error
            raise
        self.best = result
        self._tell()

    def _replace(self, part: Path) -> None:
        """Bring a new folder to the disk, and give it the name of the earlier one, which is removed last."""
        for file in part.rglob("*"):
            sync(file)
        before = self._beside("before")
        shutil.rmtree(before, ignore_errors=True)
        if self.folder.exists():
            self.folder.rename(before)
        os.rename(part, self.folder)
        sync(self.folder.parent)
        shutil.rmtree(before, ignore_errors=True)

    def _beside(self, name: str) -> Path:
        return self.folder.with_name(f"{FOLDER}.{name}")

    def _tell(self) -> None:
        """Write the best result into run.json, which the card and the last lines of a run repeat."""
        if self.best and self.trainer.accelerator.is_main_process:
            add_facts(self.folder.parent, {BEST: f"{self.best}; the model is in {FOLDER}/"})


def best_in(output: Path) -> Result | None:
    """Return the result of the best model in an output folder, None if there is none that can be read."""
    with suppress(OSError, ValueError, TypeError):
        return Result(**json.loads((output / FOLDER / RECORD).read_text(encoding="utf-8")))
    return None


def save_whole(trainer: "GRPOTrainer", folder: Path) -> None:
    """Let all ranks save the whole model, or its adapter, into a folder."""
    plugin = trainer.accelerator.state.fsdp_plugin if trainer.is_fsdp_enabled else None
    if plugin is None:
        trainer.save_model(str(folder), _internal_call=True)
        return
    # transformers saves no model of FSDP with a sharded state dict.
    kept = plugin.state_dict_type
    plugin.set_state_dict_type("FULL_STATE_DICT")
    try:
        trainer.save_model(str(folder), _internal_call=True)
    finally:
        plugin.set_state_dict_type(kept)
