"""Compute TRL's gradient from fewer tokens.

TRL pads all completions of a generation batch to the longest one. Its forward and backward passes compute that
padding, and also completions without gradient. `LeanStep` rearranges the micro-batches before these passes:

- trim: cut each micro-batch to its own longest prompt and completion;
- sort: put completions of like length into the same micro-batch of an optimizer step;
- skip: leave out completions that have no gradient, because their advantage is 0 or their mask is empty.

docs/speed.md has the measured gain. tests/e2e/test_lean_step.py compares the gradients with TRL's.
"""

from collections.abc import Callable
from functools import partial
from math import gcd, nan
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import pad
from transformers.integrations import is_deepspeed_zero3_enabled

from axolotl_grpo_plugin.training.micro_batches import (
    Batch,
    chosen,
    emptied,
    joined,
    lengths_of,
    shared_out,
    trimmed,
    used_columns,
)

TRIM, SORT, SKIP = "trim", "sort", "skip"
COMPUTED, PADDED = "tokens/computed", "tokens/computed_by_trl"  # metrics

_PER_ROW = ("grpo", "sapo", "luspo", "dr_grpo")  # losses that TRL divides by the rows of a pass
_PER_TOKEN = ("dapo", "cispo", "vespo")  # and by the tokens of a generation batch
_MEANS = (  # metrics that TRL computes for each pass, as a mean over its tokens
    "kl",
    "entropy",
    "clip_ratio/low_mean",
    "clip_ratio/high_mean",
    "clip_ratio/region_mean",
    "cispo_clip_ratio",
    "vespo/phi_seq_mean",
)
# Entries of a rearranged micro-batch: the factor of its loss, the weight of its means, TRL's rows per step.
_SHARE, _WEIGHT, _ROWS = "loss_share", "metric_weight", "step_rows"


class LeanStep:
    """Wraps the methods of a trainer that prepare micro-batches and compute losses.

    trim: False turns "trim" and "sort" off. skip: False turns "skip" off, and None only under ZeRO-3 and FSDP.
    on: the parts that are on. off: the reason why a part is off.
    """

    def __init__(self, trainer: Any, trim: bool | None = None, skip: bool | None = None):
        self.trainer = trainer
        self.off: dict[str, str] = {}
        for part in (TRIM, SORT, SKIP):
            if reason := _set_off(part, trim, skip, trainer) or _not_exact(part, trainer):
                self.off[part] = reason
        self.on = [part for part in (TRIM, SORT, SKIP) if part not in self.off]
        # Without rotary embeddings, the position of a token counts the padding on its left.
        names = {type(module).__name__ for module in trainer.model.modules()}
        self._trims_prompts = any("Rotary" in name for name in names)
        self._prepare: Callable[[Any], Batch] = trainer._prepare_inputs
        self._loss: Callable[[Any, Batch], torch.Tensor] = trainer._compute_loss
        self._logps = trainer._get_per_token_logps_and_entropies
        self._without_gradient = [0, 0]  # tokens of passes since the last batch: computed, TRL's
        if self.on:
            trainer._prepare_inputs = self._prepare_inputs
            trainer._compute_loss = self._compute_loss
        if TRIM in self.on:
            trainer._get_per_token_logps_and_entropies = self._log_probabilities

    def summary(self) -> str:
        """Return the parts that are on, and why others are off."""
        reasons: dict[str, list[str]] = {}
        for part, reason in self.off.items():
            reasons.setdefault(reason, []).append(part)
        texts = [f"no {' and '.join(parts)}: {reason}" for reason, parts in reasons.items()]
        return "; ".join([", ".join(self.on), *texts] if self.on else texts)

    def _prepare_inputs(self, batch: Any) -> Batch:
        """Return the next micro-batch. After each generation, rearrange those of all its steps."""
        trainer = self.trainer
        before = trainer._buffered_inputs
        inputs = self._prepare(batch)
        if not trainer.model.training or trainer._buffered_inputs is before:
            return inputs
        batches = trainer._buffered_inputs
        # Rows stay in their optimizer step. A step may have a part of the generation batch, or several.
        size = gcd(trainer.args.gradient_accumulation_steps, len(batches)) if SORT in self.on else 1
        rearranged: list[Batch] = []
        for start in range(0, len(batches), size):
            rearranged += self._rearranged(batches[start : start + size])
        trainer._buffered_inputs = rearranged
        place: int = trainer._step % len(rearranged)
        return rearranged[place]

    def _rearranged(self, batches: list[Batch]) -> list[Batch]:
        """Return as many micro-batches, with the same gradient. Without "sort" there is one."""
        whole = joined(batches)
        lengths = lengths_of(whole["prompt_mask"], whole["completion_mask"])
        rows = self._rows_with_gradient(whole)
        shares = shared_out(rows, lengths, len(batches)) if SORT in self.on else [rows]
        shortest = min(range(len(lengths)), key=lambda row: sum(lengths[row]))
        parts = []
        for share in shares:
            part = chosen(whole, share) if share else emptied(chosen(whole, [shortest]))
            if TRIM in self.on:
                part = trimmed(part, self.trainer.pad_to_multiple_of or 1, self._trims_prompts)
            parts.append(part)
        weights = self._count_tokens(whole, parts)
        if self.on != [TRIM]:  # else each pass has TRL's rows, and its loss and metrics are TRL's
            for part, share, weight in zip(parts, shares, weights, strict=True):
                part[_SHARE] = self._loss_share(whole, share, len(lengths) // len(batches))
                part[_ROWS] = len(lengths)
                part[_WEIGHT] = weight
        return parts

    def _rows_with_gradient(self, whole: Batch) -> list[int]:
        if SKIP not in self.on:
            return list(range(len(whole["advantages"])))
        keep = _loss_mask(whole).sum(dim=1) > 0
        if self.trainer.beta == 0:  # else the divergence from the reference model has a gradient
            keep &= whole["advantages"] != 0
        rows: list[int] = keep.nonzero().flatten().tolist()
        return rows

    def _loss_share(self, whole: Batch, rows: list[int], usual: int) -> float:
        """Return the factor that makes the loss of these rows their part of TRL's. usual: rows of TRL's pass."""
        if not rows:
            return 0.0
        if self.trainer.loss_type in _PER_ROW:
            return len(rows) / usual
        if (
            self.trainer.loss_type == "bnpo"
        ):  # TRL divides by the tokens of its pass, which is `whole`
            mask = _loss_mask(whole)
            return float(mask[rows].sum() / mask.sum())
        return 1.0

    def _count_tokens(self, whole: Batch, parts: list[Batch]) -> list[float]:
        """Log the computed tokens of all ranks. Return the weight of the metrics of each pass, 1 on average."""
        computed, padded = self._without_gradient
        self._without_gradient = [0, 0]
        computed += sum(map(_size, parts))
        padded += _size(whole)
        trained = [int(_loss_mask(part).sum()) for part in parts]
        accelerator = self.trainer.accelerator
        own = torch.tensor([computed, padded, *trained], dtype=torch.float64)
        computed, padded, *trained = accelerator.reduce(own.to(accelerator.device)).tolist()
        self.trainer._metrics["train"][COMPUTED].append(computed)
        self.trainer._metrics["train"][PADDED].append(padded)
        passes = sum(tokens > 0 for tokens in trained)
        mean = sum(trained) / max(passes, 1)
        return [tokens / max(mean, 1) for tokens in trained]

    def _compute_loss(self, model: Any, inputs: Batch) -> torch.Tensor:
        if _SHARE not in inputs:  # a pass with TRL's rows, such as one of an evaluation
            return self._loss(model, inputs)
        accelerator, metrics = self.trainer.accelerator, self.trainer._metrics["train"]
        before = {name: len(values) for name, values in metrics.items()}
        gather = partial(_gather_rows, accelerator.gather, inputs[_ROWS])
        with patch.object(accelerator, "gather", gather):
            loss = self._loss(model, inputs)
        for name, values in list(metrics.items()):
            start = before.get(name, 0)
            if name in _MEANS and len(values) > start:
                values[-1] *= inputs[_WEIGHT]
            if not inputs[_WEIGHT]:  # no rank had a row, so the pass has no metrics
                del values[start:]
            if not values:  # TRL would log None
                del metrics[name]
        share: float = inputs[_SHARE]
        return loss * share

    def _log_probabilities(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **more: Any,
    ) -> Any:
        """Compute log-probabilities without gradients in as many passes as TRL, sorted and trimmed."""
        images = any(isinstance(value, torch.Tensor) for value in more.values())
        if torch.is_grad_enabled() or images:
            return self._logps(
                model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **more
            )
        rows, width = input_ids.shape
        start = width - logits_to_keep  # of the completions
        prompt_mask, completion_mask = attention_mask[:, :start], attention_mask[:, start:]
        lengths = lengths_of(prompt_mask, completion_mask)
        passes = -(-rows // (batch_size or rows))
        results: list[Any] = [None, None]  # log-probabilities and entropies
        for share in shared_out(range(rows), lengths, passes):
            left, right = used_columns(
                prompt_mask[share], completion_mask[share], prompts=self._trims_prompts
            )
            columns = slice(start - left, start + right)
            ids, mask = input_ids[share, columns], attention_mask[share, columns]
            *values, _ = self._logps(model, ids, mask, right, batch_size=len(share), **more)
            for place, value in enumerate(values):
                if value is not None:
                    if results[place] is None:
                        results[place] = value.new_zeros(rows, logits_to_keep)
                    results[place][share, :right] = value
            self._without_gradient[0] += ids.numel()
        self._without_gradient[1] += input_ids.numel()
        return *results, None


def _set_off(part: str, trim: bool | None, skip: bool | None, trainer: Any) -> str:
    """Return why the config turns a part off, or ""."""
    if part != SKIP:
        return "grpo_trim_padding is false" if trim is False else ""
    if skip is False:
        return "grpo_skip_zero_advantage is false"
    if skip is None and (trainer.is_fsdp_enabled or is_deepspeed_zero3_enabled()):
        return "it has not run under ZeRO-3 or FSDP (grpo_skip_zero_advantage: true tries it)"
    return ""


def _not_exact(part: str, trainer: Any) -> str:
    """Return why a part would change the gradient, or the passes too much, or ""."""
    if getattr(trainer, "data_producer", None):
        return "the data producer makes its own micro-batches"
    if {"image", "images"} & set(trainer.train_dataset.column_names):
        return "the dataset has images"
    if trainer.args.torch_compile and not trainer.pad_to_multiple_of:
        return "torch_compile would compile for each width"
    if part == TRIM:
        return ""
    if trainer._entropy_bonus_enabled or trainer.top_entropy_quantile < 1:
        return "the entropy of a pass is in the loss"
    if trainer.aux_loss_enabled:
        return "the auxiliary loss of a pass is in the loss"
    if part == SORT and trainer.loss_type == "bnpo":
        return "bnpo divides by the tokens of a pass"
    if trainer.loss_type not in (*_PER_ROW, *_PER_TOKEN, "bnpo"):
        return f"the loss {trainer.loss_type} is unknown"
    return ""


def _loss_mask(batch: Batch) -> torch.Tensor:
    mask: torch.Tensor = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def _size(batch: Batch) -> int:
    """Return the number of tokens that a pass computes."""
    return int(batch["prompt_ids"].numel() + batch["completion_ids"].numel())


def _gather_rows(gather: Callable[[Any], Any], most: int, value: torch.Tensor) -> Any:
    """Gather a value per row, padded with NaN, because ranks have different numbers of rows.

    TRL takes the lowest and the highest of these values, and ignores NaN.
    """
    if value.dim() == 1:
        value = pad(value, (0, most - len(value)), value=nan)
    return gather(value)
