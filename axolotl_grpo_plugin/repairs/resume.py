"""Go on inside a generation batch after a resume.

With `num_iterations` or `steps_per_generation` above one, several steps train on the same generation batch.
TRL 1.14 does not save that batch. After a checkpoint inside of it, TRL would generate other completions, and
count the steps of later batches from the wrong place, so that these also get other prompts.
"""

from pathlib import Path
from typing import Any

import torch
from trl import GRPOTrainer


class ResumedBatch(GRPOTrainer):
    """TRL's trainer that saves the unfinished generation batch of each rank in a checkpoint, and restores it."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint."""
        super()._save_checkpoint(model, trial)
        if not self.args.save_only_model and self._is_inside_batch():
            checkpoint = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
            saved = {"step": self._step, "batches": self._buffered_inputs}
            torch.save(saved, self._batch_file(checkpoint))

    def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
        """Load the state of a checkpoint, from which a run goes on."""
        super()._load_optimizer_and_scheduler(checkpoint)
        file = self._batch_file(Path(checkpoint))
        if file.exists():
            saved = torch.load(file, map_location=self.args.device)
            self._step = saved["step"]
            self._buffered_inputs = saved["batches"]

    def _is_inside_batch(self) -> bool:
        """Return whether later steps train on the generation batch of the last one."""
        if getattr(self, "data_producer", None):  # Axolotl's removes each micro-batch that was used
            return bool(self._buffered_inputs)
        steps = self.args.steps_per_generation * self.num_iterations
        return bool(self._step % steps)

    def _batch_file(self, checkpoint: Path) -> Path:
        """Return the file of this rank's generation batch in a checkpoint."""
        rank = self.accelerator.process_index
        ranks = self.accelerator.num_processes
        return checkpoint / f"generation_batch_{rank}_of_{ranks}.pt"
