"""The process that saves a run's model on a signal, which the trainer tells the supervisor, and the files that it leaves."""

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.output.checkpoints import newest_whole
from axolotl_grpo_plugin.serving.request import publish

# The supervisor sets this variable for the trainer: the path of the file.
SAVER = "AXOLOTL_GRPO_SAVER"
_MODELS = ("model*.safetensors", "adapter_model.safetensors")


class Saver(NamedTuple):
    """The first rank of a machine, after it can save the model on SIGINT.

    Attributes:
        pid: Its process id.
        together: Whether all ranks save together at the end of a step. Otherwise it saves alone, at once.
    """

    pid: int
    together: bool

    def announce(self) -> None:
        """Tell the supervisor, if there is one."""
        if file := os.environ.get(SAVER):
            publish(Path(file), json.dumps(self))

    @classmethod
    def read(cls, file: Path) -> "Saver | None":
        """Return the saver in a file, or None before there is one."""
        return cls(*json.loads(file.read_text())) if file.exists() else None


def files_of(output_dir: str) -> str:
    """Return a sentence on the newest checkpoint and the model in a run's output folder."""
    folder = Path(output_dir)
    newest = newest_whole(folder).folder
    checkpoint = f"{newest.name} is the last checkpoint" if newest else "there is no checkpoint"
    weights = [file for pattern in _MODELS for file in folder.glob(pattern)]
    model = "no model is saved"
    if weights:
        saved = time.localtime(min(file.stat().st_mtime for file in weights))
        model = f"the model was saved at {time.strftime('%H:%M:%S on %Y-%m-%d', saved)}"
    return f"In {output_dir}, {checkpoint}, and {model}."
