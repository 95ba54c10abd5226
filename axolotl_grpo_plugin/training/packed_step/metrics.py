"""The metrics of a rearranged step. Their means are over rows or tokens, although the passes have other rows.

TRL logs a value for each pass, and the mean of these values for a step. A weight for each pass makes that mean one
over tokens, or over rows. Shares of clipped tokens are over all of them, other metrics over the computed ones. A new
metric of TRL's loss goes into one of the tuples below.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from accelerate import Accelerator
from torch.nn.functional import pad
from trl import GRPOTrainer

from axolotl_grpo_plugin.training.rows import Batch, loss_mask

# Metrics of a step, summed over all ranks.
COMPUTED = "tokens/computed"
COMPUTED_BY_TRL = "tokens/computed_by_trl"

# TRL logs a mean over the tokens of each pass.
_TOKEN_MEANS = ("kl", "entropy")
# TRL logs a mean over the rows of each pass.
_ROW_MEANS = ("vespo/phi_seq_mean",)
# TRL logs the share of clipped tokens, or of clipped rows with ratios of sequences. A skipped completion counts as not
# clipped.
_CLIPPED = (
    "clip_ratio/low_mean",
    "clip_ratio/high_mean",
    "clip_ratio/region_mean",
    "cispo_clip_ratio",
)
# TRL logs the lowest or the highest row of each pass.
_EXTREMES = ("clip_ratio/low_min", "clip_ratio/high_max")

_DIFFERENCE = "sampling/sampling_logp_difference"
_RATIO = "sampling/importance_sampling_ratio"

type Weights = dict[str, float | None]
"""The factor of each metric of a pass. None leaves the value of the pass out, because it has no row."""


def metric_weights(
    accelerator: Accelerator,
    given: Batch,
    passes: Sequence[Batch],
    row_counts: Sequence[int],
    *,
    by_rows: bool,
    averages_ranks: bool,
) -> list[Weights]:
    """Return the weights for each pass. All ranks get the same ones, and must call this together.

    Args:
        accelerator: Adds up the counts of all ranks.
        given: The rows of this rank before any was left out or dealt.
        passes: This rank's micro-batches.
        row_counts: The number of rows of each pass. A pass without rows has a row without tokens.
        by_rows: Whether clip ratios are shares of rows, not of tokens.
        averages_ranks: Whether the loss logs the plain mean of the means of all ranks, as Axolotl's data producer does.
    """
    counts = [
        [float(loss_mask(batch).sum()) for batch in passes],
        [float(rows) for rows in row_counts],
        # TRL's mean over rows has the row without tokens, too.
        [float(rows if averages_ranks else max(rows, 1)) for rows in row_counts],
        [float(rows > 0) for rows in row_counts],
    ]
    tokens, rows, logged_rows, ranks_with_rows = _summed(accelerator, counts)
    all_tokens, all_rows = _summed(accelerator, [loss_mask(given).sum(), len(given["advantages"])])
    all_logged_rows = sum(logged for logged, used in zip(logged_rows, rows, strict=True) if used)
    if not any(rows):
        without_rows: Weights = dict.fromkeys(_CLIPPED, 0.0)
        without_rows |= dict.fromkeys((*_TOKEN_MEANS, *_ROW_MEANS, *_EXTREMES))
        return [without_rows] * len(passes)
    weights: list[Weights] = []
    for index in range(len(passes)):
        scale = float(len(passes) if rows[index] else 0)
        if averages_ranks and rows[index]:  # a rank without rows has a mean of 0
            scale *= accelerator.num_processes / ranks_with_rows[index]
        clipped = logged_rows[index] / all_rows if by_rows else tokens[index] / max(all_tokens, 1)
        weights.append(
            {
                **dict.fromkeys(_TOKEN_MEANS, scale * tokens[index] / max(sum(tokens), 1)),
                **dict.fromkeys(_ROW_MEANS, scale * logged_rows[index] / all_logged_rows),
                **dict.fromkeys(_CLIPPED, scale * clipped),
                **dict.fromkeys(_EXTREMES, 1.0 if rows[index] else None),
            }
        )
    return weights


def _summed(accelerator: Accelerator, values: Sequence[Any]) -> Any:
    """Return the sums over all ranks of numbers, in the same lists."""
    tensor = torch.tensor(values, dtype=torch.float64, device=accelerator.device)
    return accelerator.reduce(tensor).tolist()


@contextmanager
def weighted(metrics: dict[str, list[float]], weights: Weights) -> Iterator[None]:
    """Multiply the values that TRL logs inside of the block by their weights."""
    before = {name: len(metrics.get(name, ())) for name in weights}
    yield
    for name, weight in weights.items():
        values = metrics.get(name, [])
        if len(values) == before[name]:
            continue  # TRL logs it for other losses
        if weight is not None:
            values[-1] *= weight
        else:
            values.pop()
            if not values:
                del metrics[name]  # TRL would log None


def gathering_rows(accelerator: Accelerator, row_count: int) -> AbstractContextManager[Any]:
    """Let a loss gather a value per row, although ranks have different numbers of rows.

    Args:
        accelerator: Its `gather` is another one inside of the block.
        row_count: The number of rows to pad to.
    """
    gather = partial(_gather_rows, accelerator.gather, row_count)
    context: AbstractContextManager[Any] = patch.object(accelerator, "gather", gather)
    return context


def _gather_rows(
    gather: Callable[[torch.Tensor], torch.Tensor], row_count: int, value: torch.Tensor
) -> torch.Tensor:
    """Gather a value per row, padded with NaN. TRL takes the lowest and the highest value, and ignores NaN.

    Args:
        gather: The accelerator's.
        row_count: The number of rows to pad to.
        value: Of the rows of this rank, shaped [rows], or [] for a value of the whole pass.
    """
    if value.dim() == 1:
        value = pad(value, (0, row_count - len(value)), value=math.nan)
    return gather(value)


def log_tokens(trainer: GRPOTrainer, computed: float, by_trl: float) -> None:
    """Log the tokens of an optimizer step, over all ranks."""
    sums = _summed(trainer.accelerator, [computed, by_trl])
    for name, value in zip((COMPUTED, COMPUTED_BY_TRL), sums, strict=True):
        trainer._metrics["train"][name].append(value)


class SamplingMetrics:
    """TRL's metrics of the difference between vLLM and the model, over the computed rows of an optimizer step."""

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
        difference_sum, ratio_sum, difference_count, ratio_count = _summed(
            trainer.accelerator, [differences.sum(), ratios.sum(), len(differences), len(ratios)]
        )
        # A rank may have no token. Differences and ratios are at least 0.
        largest = [values.max() if len(values) else 0.0 for values in (differences, ratios)]
        smallest = ratios.min() if len(ratios) else math.inf
        extremes = trainer.accelerator.gather(
            torch.tensor([[*largest, smallest]], device=ratios.device)
        )
        highest_difference, highest_ratio, _ = extremes.amax(dim=0).tolist()
        lowest_ratio = extremes[:, 2].min().nan_to_num(posinf=0.0).item()
        metrics = trainer._metrics["train"]
        metrics[f"{_DIFFERENCE}/mean"].append(difference_sum / max(difference_count, 1))
        metrics[f"{_DIFFERENCE}/max"].append(highest_difference)
        metrics[f"{_RATIO}/min"].append(lowest_ratio)
        metrics[f"{_RATIO}/mean"].append(ratio_sum / max(ratio_count, 1))
        metrics[f"{_RATIO}/max"].append(highest_ratio)
