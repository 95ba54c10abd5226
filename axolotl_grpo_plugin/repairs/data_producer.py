"""Repair Axolotl 0.21's data producer (`trl.use_data_producer`), also with `trl.async_prefetch`."""

from math import ceil
from typing import Any

import torch
from trl import GRPOTrainer


class DataProducerRepair(GRPOTrainer):
    """Axolotl's trainer with a data producer that works. Without a data producer, it does nothing.

    - Axolotl returns `num_items_in_batch` as an int, where TRL splits a batch of tensors.
    - The producer reads the prompts from the first row, also in a resumed run.
    - At the end of a training, a generation still runs. With `vllm_lora_sync`, vLLM has the weights of
      the step before, but held-out rows need the last ones.
    """

    def _compute_deferred_scores(self, rollout: dict[str, Any]) -> dict[str, Any]:
        """Score a batch that was generated before."""
        scored: dict[str, Any] = super()._compute_deferred_scores(rollout)
        scored["num_items_in_batch"] = torch.as_tensor(scored["num_items_in_batch"])
        return scored

    def _load_optimizer_and_scheduler(self, checkpoint: str) -> None:
        """Load the state of a checkpoint, and skip the prompts of its steps."""
        super()._load_optimizer_and_scheduler(checkpoint)
        producer = getattr(self, "data_producer", None)
        if not producer:
            return
        args = self.args
        prompts = getattr(producer, "_inner", producer)  # async prefetch wraps it
        trained = self.state.global_step * args.gradient_accumulation_steps
        for _generation in range(ceil(trained / (args.steps_per_generation * args.num_iterations))):
            if next(prompts._prompt_iter, None) is None:  # an epoch has ended
                prompts._prompt_iter = iter(prompts._prompt_dl)
                next(prompts._prompt_iter)

    def train(self, *arguments: Any, **options: Any) -> Any:
        """Train. It takes transformers' arguments."""
        result = super().train(*arguments, **options)
        self.end_prefetch()
        return result

    def end_prefetch(self) -> None:
        """End the generation that runs beside the steps, if one does. No step may follow."""
        if self._prefetches:
            self.data_producer.shutdown()
            self.data_producer._executor.shutdown()  # waits; a second call does nothing

    def prepare_last_answers(self) -> None:
        """End the prefetch, and send the last weights to vLLM."""
        self.end_prefetch()
        if self._prefetches and self.args.vllm_lora_sync and self.use_vllm:
            self._sync_lora_adapter()

    @property
    def _prefetches(self) -> bool:
        has_producer = getattr(self, "data_producer", None) is not None
        return has_producer and bool(self.args.async_prefetch)
