"""Take vLLM's importance sampling ratios from the training pass.

TRL corrects for the difference between vLLM's log-probabilities and the model's. It computes the model's own ones in
passes without gradient before the step. If no weight has changed since the generation, the training pass computes
the same numbers again. `can_wait_for_training_pass` says whether that is so. Then TRL makes no pass before the step.
"""

import math

import torch
from trl import GRPOTrainer

from axolotl_grpo_plugin.training.packed_step.model import has_dropout
from axolotl_grpo_plugin.training.rows import Batch, loss_mask


def can_wait_for_training_pass(trainer: GRPOTrainer) -> bool:
    """Return whether the training pass has the log-probabilities that TRL would compute before the step.

    With `async_prefetch`, nobody asks: Axolotl does not call `_generate_and_score_completions`, which does.
    """
    generate_every = trainer.args.steps_per_generation * trainer.num_iterations
    return (
        _corrects(trainer)
        and trainer.args.gradient_accumulation_steps % generate_every == 0
        and not has_dropout(trainer.model)
    )


def needs_ratio(trainer: GRPOTrainer, inputs: Batch) -> bool:
    """Return whether a micro-batch waits for its ratio."""
    return (
        _corrects(trainer)
        and "sampling_per_token_logps" in inputs
        and "importance_sampling_ratio" not in inputs
    )


def _corrects(trainer: GRPOTrainer) -> bool:
    return bool(trainer.use_vllm and trainer.vllm_importance_sampling_correction)


def ratio_of(trainer: GRPOTrainer, inputs: Batch, log_probabilities: torch.Tensor) -> torch.Tensor:
    """Return TRL's importance sampling ratio of a micro-batch.

    TRL has this inside of `_generate_and_score_completions`, where nothing else can call it.

    Args:
        trainer: Has the mode and the limits of the correction.
        inputs: Has vLLM's log-probabilities. NaN, for a token without one, counts as no difference.
        log_probabilities: The model's, shaped [rows, tokens].

    Returns:
        The ratios, shaped [rows, tokens], or [rows, 1] in the modes of sequences.
    """
    difference = log_probabilities.detach() - inputs["sampling_per_token_logps"]
    difference = (difference * loss_mask(inputs)).nan_to_num(nan=0.0)
    level, effect = trainer.vllm_importance_sampling_mode.split("_")
    if level == "sequence":
        difference = difference.sum(dim=1, keepdim=True)
    ratio: torch.Tensor = difference.exp()
    lowest = trainer.vllm_importance_sampling_clip_min
    highest = trainer.vllm_importance_sampling_clip_max
    lowest = -math.inf if lowest is None else lowest
    highest = math.inf if highest is None else highest
    if effect == "truncate":
        return ratio.clamp(lowest, highest)
    return ratio.masked_fill((ratio < lowest) | (ratio > highest), 0.0)
