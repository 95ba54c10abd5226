"""Write checkpoints that a run can go on from exactly, also after a kill, inside a generation batch, and at the end.

- transformers writes trainer_state.json as the last file of its own process. Other ranks may still write theirs.
- With `num_iterations` or `steps_per_generation` above one, several steps train on the same generation batch.
  TRL 1.14 does not save that batch. After a checkpoint inside of it, TRL would generate other completions, and
  count the steps of later batches from the wrong place, so that these also get other prompts.
- transformers trains one step more from a checkpoint that is the end of the run.
"""

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from trl import GRPOTrainer

from axolotl_grpo_plugin.findings import FindingError, exit_on_findings
from axolotl_grpo_plugin.output.checkpoints import clear, seal
from axolotl_grpo_plugin.output.files import full_disk, written


class ResumedRun(GRPOTrainer):
    """TRL's trainer whose checkpoints are whole (output/checkpoints.py), and that goes on from one exactly."""

    @exit_on_findings()
    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint: this rank's unfinished generation batch, then all files of TRL and transformers.

        Raises:
            FindingError: The disk is full.
        """
        checkpoint = Path(self.args.output_dir, f"checkpoint-{self.state.global_step}")
        try:
            if self.accelerator.is_main_process:
                clear(checkpoint)
                checkpoint.mkdir(parents=True)
            self.accelerator.wait_for_everyone()
            if not self.args.save_only_model and self._is_inside_batch():
                checkpoint.mkdir(parents=True, exist_ok=True)  # on another node
                saved = {"step": self._step, "batches": self._buffered_inputs}
                with written(self._batch_file(checkpoint)) as part:
                    torch.save(saved, part)
            super()._save_checkpoint(model, trial)
        except Exception as error:
            if finding := full_disk(error, checkpoint):
                fix = "Free space. Then go on with --auto-resume-from-checkpoints"
                raise FindingError(finding._replace(fix=fix)) from error
            raise

    def _save_rng_state(self, output_dir: str) -> None:
        """Save this rank's random state, its last file. Then list the files of all ranks, before trainer_state.json."""
        super()._save_rng_state(output_dir)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            seal(Path(output_dir))

    def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
        """Load the state of a checkpoint, from which a run goes on."""
        super()._load_optimizer_and_scheduler(checkpoint)
        file = self._batch_file(Path(checkpoint))
        if file.exists():
            # torch cannot load to "cpu:0", the device of ranks on CPUs.
            saved = send_to_device(torch.load(file, map_location="cpu"), self.args.device)
            self._step = saved["step"]
            self._buffered_inputs = saved["batches"]

    def _run_epoch(self, *arguments: Any, **options: Any) -> None:
        """Train an epoch, but no step after the last one."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*arguments, **options)

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
