"""Repair Axolotl 0.21's data producer (`trl.use_data_producer`), also with `trl.async_prefetch`."""

from collections.abc import Callable
from math import ceil
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig, GRPOTrainer

from axolotl_grpo_plugin.repairs import upstream


class DataProducerRepair(TrainerCallback):
    """Lets async prefetch work, goes on with the right rows after a resume, and ends the prefetch.

    - Axolotl passes `num_items_in_batch` as an int, where TRL splits a batch of tensors.
    - The producer reads the prompts from the first row, also in a resumed run.
    - At the end of a training, a generation still runs. With `vllm_lora_sync`, vLLM has the weights of
      the step before, but held-out rows need the last ones.
    """

    def __init__(self, trainer: GRPOTrainer):
        self.trainer = trainer
        self._ended = False
        upstream.wrap_deferred_scores(trainer, _with_count)

    def on_train_begin(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        producer = self.trainer.data_producer
        prompts = getattr(producer, "_inner", producer)  # async prefetch wraps it
        trained = state.global_step * args.gradient_accumulation_steps
        for _generation in range(ceil(trained / (args.steps_per_generation * args.num_iterations))):
            if next(prompts._prompt_iter, None) is None:  # an epoch has ended
                prompts._prompt_iter = iter(prompts._prompt_dl)
                next(prompts._prompt_iter)

    def on_step_end(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.global_step >= state.max_steps:  # the held-out rows follow
            self._end_prefetch(args)

    def on_train_end(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        self._end_prefetch(args)  # of a run that was stopped

    def _end_prefetch(self, args: GRPOConfig) -> None:
        if args.async_prefetch and not self._ended:
            self._ended = True
            self.trainer.data_producer.shutdown()
            self.trainer.data_producer._executor.shutdown()  # waits
            if args.vllm_lora_sync and self.trainer.use_vllm:
                self.trainer._sync_lora_adapter()


def _with_count(score: Callable[[Any], dict[str, Any]], rollout: Any) -> dict[str, Any]:
    scored = score(rollout)
    scored["num_items_in_batch"] = torch.as_tensor(scored["num_items_in_batch"])
    return scored
