"""Go on inside a generation batch after a resume.

With `num_iterations` or `steps_per_generation` above one, several steps train on the same generation batch.
TRL does not save that batch. After a checkpoint inside of it, TRL would generate other completions, and
count the steps of later batches from the wrong place, so that these also get other prompts.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

_FILE = "generation_batch_{rank}_of_{ranks}.pt"


class GenerationBatch(TrainerCallback):
    """Saves the unfinished generation batch of each rank in the checkpoint, and restores it."""

    def __init__(self, cfg: Any, trainer: Any):
        self.cfg, self.trainer = cfg, trainer

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not args.save_only_model and self._is_unfinished(args):
            file = self._file(Path(args.output_dir, f"checkpoint-{state.global_step}"))
            saved = {"step": self.trainer._step, "batches": self.trainer._buffered_inputs}
            torch.save(saved, file)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        checkpoint = self.cfg.get("resume_from_checkpoint")
        if checkpoint and (file := self._file(Path(checkpoint))).exists():
            saved = torch.load(file, map_location=args.device)
            self.trainer._step, self.trainer._buffered_inputs = saved["step"], saved["batches"]

    def _is_unfinished(self, args: Any) -> bool:
        if getattr(self.trainer, "data_producer", None):  # it removes each batch that was used
            return bool(self.trainer._buffered_inputs)
        steps = args.steps_per_generation * self.trainer.num_iterations
        return bool(self.trainer._step % steps)

    def _file(self, checkpoint: Path) -> Path:
        accelerator = self.trainer.accelerator
        rank, ranks = accelerator.process_index, accelerator.num_processes
        return checkpoint / _FILE.format(rank=rank, ranks=ranks)
