"""Go on inside a generation batch after a resume.

With `num_iterations` or `steps_per_generation` above one, several steps train on the same generation batch.
TRL does not save that batch. After a checkpoint inside of it, TRL would generate other completions, and
count the steps of later batches from the wrong place, so that these also get other prompts.
"""

from pathlib import Path

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig, GRPOTrainer

from axolotl_grpo_plugin.config import Config

_FILE = "generation_batch_{rank}_of_{ranks}.pt"


class GenerationBatch(TrainerCallback):
    """Saves the unfinished generation batch of each rank in the checkpoint, and restores it."""

    def __init__(self, cfg: Config, trainer: GRPOTrainer):
        self.cfg = cfg
        self.trainer = trainer

    def on_save(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if not args.save_only_model and self._is_unfinished(args):
            checkpoint = Path(args.output_dir, f"checkpoint-{state.global_step}")
            saved = {"step": self.trainer._step, "batches": self.trainer._buffered_inputs}
            torch.save(saved, self._file(checkpoint))

    def on_train_begin(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        checkpoint = self.cfg.get("resume_from_checkpoint")
        if not checkpoint:
            return
        file = self._file(Path(checkpoint))
        if file.exists():
            saved = torch.load(file, map_location=args.device)
            self.trainer._step = saved["step"]
            self.trainer._buffered_inputs = saved["batches"]

    def _is_unfinished(self, args: GRPOConfig) -> bool:
        if getattr(self.trainer, "data_producer", None):  # it removes each batch that was used
            return bool(self.trainer._buffered_inputs)
        steps = args.steps_per_generation * self.trainer.num_iterations
        return bool(self.trainer._step % steps)

    def _file(self, checkpoint: Path) -> Path:
        accelerator = self.trainer.accelerator
        rank = accelerator.process_index
        ranks = accelerator.num_processes
        return checkpoint / _FILE.format(rank=rank, ranks=ranks)
