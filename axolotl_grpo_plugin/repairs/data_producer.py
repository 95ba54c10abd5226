"""Repair Axolotl 0.21's data producer (`trl.use_data_producer`), also with `trl.async_prefetch`."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from math import ceil
from typing import Any

import torch
from trl import GRPOTrainer

from axolotl_grpo_plugin.reward import Rows


class DataProducerRepair(GRPOTrainer):
    """Axolotl's trainer with a data producer that works. Without a data producer, it does nothing.

    - Axolotl returns `num_items_in_batch` as an int, where TRL splits a batch of tensors.
    - The logged reward has the weights of the reward functions. Tokens and lengths are those of the batches that
      are scored. Axolotl logs sums without weights, and counts a batch when it generates and when it scores.
    - The producer reads the prompts from the first row, also in a resumed run.
    - At the end of a training, a generation still runs. With `vllm_lora_sync`, vLLM has the weights of
      the step before, but held-out rows need the last ones.
    """

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        self._scores_of_batch: list[
            torch.Tensor
        ] = []  # of each chunk, shaped (completions, functions)
        super().__init__(*arguments, **options)

    def _generate_only(self, inputs: Rows, rank0_only: bool = False) -> dict[str, Any]:
        """Generate a batch beside the steps, and keep its metrics until it is scored."""
        beside = copy(self)  # else the thread would write to the metrics of the step that runs
        beside.state = copy(self.state)
        beside._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
        rollout: dict[str, Any] = super(DataProducerRepair, beside)._generate_only(
            inputs, rank0_only
        )
        # Axolotl removes keys with this prefix before it splits the batch.
        rollout["_deferred_metrics"] = dict(beside._metrics["train"])
        return rollout

    def _compute_deferred_scores(self, rollout: dict[str, Any]) -> dict[str, Any]:
        """Score a batch that was generated before."""
        with self._corrected_metrics(rollout):
            scored: dict[str, Any] = super()._compute_deferred_scores(rollout)
        scored["num_items_in_batch"] = torch.as_tensor(scored["num_items_in_batch"])
        return scored

    def _score_streaming(self, rollout: dict[str, Any]) -> Any:
        """Score a batch that was generated before, in chunks."""
        with self._corrected_metrics(rollout):
            return super()._score_streaming(rollout)

    def _post_advantage_hook(
        self, data: dict[str, Any], rewards_per_func: torch.Tensor, *arguments: Any, **options: Any
    ) -> None:
        """Get the scores of a batch, or of a chunk of it."""
        self._scores_of_batch.append(rewards_per_func)
        super()._post_advantage_hook(data, rewards_per_func, *arguments, **options)

    @contextmanager
    def _corrected_metrics(self, rollout: dict[str, Any]) -> Iterator[None]:
        """Correct the metrics of a batch that is scored inside a with block."""
        # All ranks have the same batch, so that nothing is summed over them.
        lengths = [len(ids) for ids in rollout["_deferred_completion_ids_list"]]
        tokens = int(rollout["prompt_mask"].sum()) + sum(lengths)
        seen = self.state.num_input_tokens_seen
        generated = rollout.pop("_deferred_metrics")
        self._scores_of_batch = []
        yield
        metrics = self._metrics["train"]
        self.state.num_input_tokens_seen = seen + tokens
        metrics["num_tokens"] = [seen + tokens]
        for name, values in generated.items():
            if name.startswith("completions/"):
                metrics[name][-1:] = values
        count = len(self._scores_of_batch)
        rewards = [
            (scores * self.reward_weights.to(scores.device)).nansum(dim=1)
            for scores in self._scores_of_batch
        ]
        metrics["reward"][-count:] = [values.mean().item() for values in rewards]
        metrics["reward_std"][-count:] = [values.std().item() for values in rewards]

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
