"""Take vLLM's importance sampling ratios from the training pass.

TRL corrects for the difference between vLLM's log-probabilities and the model's. It computes the model's own ones in
passes without gradient before the step. If no weight has changed since the generation, the training pass computes
the same numbers again. `defers` says whether that is so. Then TRL makes no pass before the step.
"""

import math

import torch
from trl import GRPOTrainer

from axolotl_grpo_plugin.training.packed_step.rows import Batch, loss_mask
from axolotl_grpo_plugin.training.packed_step.support import has_dropout

_DIFFERENCE = "sampling/sampling_logp_difference"
_RATIO = "sampling/importance_sampling_ratio"


def defers(trainer: GRPOTrainer) -> bool:
    """Return whether the training pass has the log-probabilities that TRL would compute before the step."""
    generate_every = trainer.args.steps_per_generation * trainer.num_iterations
    return (
        trainer.use_vllm
        and trainer.vllm_importance_sampling_correction
        and trainer.args.gradient_accumulation_steps % generate_every == 0
        and not has_dropout(trainer.model)
    )


def is_missing(trainer: GRPOTrainer, inputs: Batch) -> bool:
    """Return whether a micro-batch has no ratio yet."""
    corrects = trainer.use_vllm and trainer.vllm_importance_sampling_correction
    return (
        corrects
        and "sampling_per_token_logps" in inputs
        and "importance_sampling_ratio" not in inputs
    )


def ratio_of(trainer: GRPOTrainer, inputs: Batch, log_probabilities: torch.Tensor) -> torch.Tensor:
    """Return TRL's importance sampling ratio of a micro-batch.

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


class SamplingMetrics:
    """TRL's metrics of the difference between vLLM and the model, over the rows of an optimizer step."""

    def __init__(self) -> None:
        self._differences: list[torch.Tensor] = []
        self._ratios: list[torch.Tensor] = []

    def add(self, inputs: Batch, log_probabilities: torch.Tensor) -> None:
        """Add a micro-batch. Padding, the tokens of tools and tokens without a log-probability of vLLM do not count."""
        difference = (log_probabilities.detach() - inputs["sampling_per_token_logps"]).abs()
        is_trained = loss_mask(inputs).bool()
        self._differences.append(difference[is_trained & ~difference.isnan()])
        ratio = inputs["importance_sampling_ratio"]
        has_tokens = is_trained.any(dim=1)
        # A pass without rows has one row without tokens.
        self._ratios.append(
            ratio[has_tokens].flatten() if ratio.shape[1] == 1 else ratio[is_trained]
        )

    def log(self, trainer: GRPOTrainer) -> None:
        """Append the metrics of all ranks to those of the trainer, and begin again."""
        if not self._ratios:
            return
        differences, ratios = torch.cat(self._differences).float(), torch.cat(self._ratios).float()
        self._differences, self._ratios = [], []
        gather = trainer.accelerator.gather
        sums = [differences.sum(), ratios.sum()]
        counts = [differences.new_tensor(len(differences)), ratios.new_tensor(len(ratios))]
        totals = gather(torch.stack([*sums, *counts])[None]).sum(dim=0)
        # A rank may have no token. Differences and ratios are at least 0.
        none = differences.new_zeros(1)
        largest = [torch.cat([values, none]).max() for values in (differences, ratios)]
        highest = gather(torch.stack(largest)[None])
        lowest = gather(ratios.min()[None] if len(ratios) else none + math.inf)
        metrics = trainer._metrics["train"]
        metrics[f"{_DIFFERENCE}/mean"].append((totals[0] / totals[2].clamp(min=1)).item())
        metrics[f"{_DIFFERENCE}/max"].append(highest[:, 0].max().item())
        metrics[f"{_RATIO}/min"].append(lowest.min().nan_to_num(posinf=0.0).item())
        metrics[f"{_RATIO}/mean"].append((totals[1] / totals[3].clamp(min=1)).item())
        metrics[f"{_RATIO}/max"].append(highest[:, 1].max().item())
