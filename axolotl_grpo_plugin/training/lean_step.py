"""Compute TRL's gradient from fewer tokens.

TRL pads all completions of a generation batch to the longest one. Its forward and backward passes compute that
padding, the prompt of each completion, and completions without gradient. `LeanStep` changes these passes:

- trim: cut each micro-batch to its own longest prompt and completion;
- sort: put completions of like length, or of the same prompt, into the same micro-batch of an optimizer step,
  and share them out to the ranks by their length;
- skip: leave out completions that have no gradient, because their advantage is 0 or their mask is empty;
- share: compute a prompt once for all its completions in a micro-batch.

docs/speed.md has the measured gain. tests/e2e/test_lean_step.py compares the gradients with TRL's.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import batched, chain
from math import ceil, gcd, nan
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import pad
from transformers import PreTrainedModel
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.generation.fewer_tokens import distinct_rows
from axolotl_grpo_plugin.training.lean_parts import (
    BY_PASS,
    PARTS,
    PER_ROW,
    SHARE,
    SKIP,
    SORT,
    TRIM,
    parts_off,
    summary,
)
from axolotl_grpo_plugin.training.micro_batches import (
    Batch,
    Size,
    chosen,
    dealt,
    emptied,
    joined,
    loss_mask,
    of_all_ranks,
    shared_out,
    sizes_of,
    trimmed,
    used_columns,
)
from axolotl_grpo_plugin.training.shared_prompts import sharing_prompts

# Metrics.
COMPUTED = "tokens/computed"
PADDED = "tokens/computed_by_trl"

_MEANS = (  # metrics that TRL computes for each pass, as a mean over its tokens
    "kl",
    "entropy",
    "clip_ratio/low_mean",
    "clip_ratio/high_mean",
    "clip_ratio/region_mean",
    "cispo_clip_ratio",
    "vespo/phi_seq_mean",
)
# Entries of a rearranged micro-batch.
_SHARE = "loss_share"  # the factor of its loss
_WEIGHT = "metric_weight"  # the weight of its means
_ROWS = "step_rows"  # TRL's rows per step


class LeanStep:
    """Wraps the methods of a trainer that prepare micro-batches and compute losses.

    cfg: may turn parts off by their keys. on: the parts that are on. summary: these, and why others are off.
    """

    def __init__(
        self,
        trainer: GRPOTrainer,
        cfg: Config,
    ):
        self.trainer = trainer
        off = parts_off(trainer, cfg)
        self.on = [part for part in PARTS if part not in off]
        self.summary = summary(off)
        # Without rotary embeddings, the position of a token counts the padding on its left.
        self._trims_prompts = any(
            "Rotary" in type(module).__name__ for module in trainer.model.modules()
        )
        # Without them, a row would also change with the padding of another rank.
        several = trainer.accelerator.num_processes > 1
        self._shares_ranks = several and SORT in self.on and self._trims_prompts
        self._prepare = trainer._prepare_inputs
        self._loss = trainer._compute_loss
        self._logps = trainer._get_per_token_logps_and_entropies
        # Tokens of passes since the last batch: computed, and what TRL would compute.
        self._computed = 0
        self._padded = 0
        if self.on:
            trainer._prepare_inputs = self._prepare_inputs
            trainer._compute_loss = self._compute_loss
        if TRIM in self.on or SHARE in self.on:
            trainer._get_per_token_logps_and_entropies = self._log_probabilities

    def _prepare_inputs(self, batch: Any) -> Batch:
        """Return the next micro-batch. After each generation, rearrange those of all its steps."""
        trainer = self.trainer
        before = trainer._buffered_inputs
        inputs: Batch = self._prepare(batch)
        batches = trainer._buffered_inputs
        # TRL makes a new list at each generation. An evaluation has no list, and keeps its rows.
        if batches is before or not trainer.model.training:
            return inputs

        size = 1
        if SORT in self.on:
            # Rows stay in their optimizer step. A step may have a part of the generation batch, or several.
            size = gcd(trainer.args.gradient_accumulation_steps, len(batches))
        rearranged = list(chain.from_iterable(map(self._rearranged, batched(batches, size))))
        trainer._buffered_inputs = rearranged
        inputs = rearranged[trainer._step % len(rearranged)]
        return inputs

    def _rearranged(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return as many micro-batches, with the same gradient. Without "sort" there is one."""
        own = joined(batches)
        whole = own
        if self._shares_ranks:
            whole = of_all_ranks(own, self.trainer.accelerator)
        prompt_mask = whole["prompt_mask"]
        _, groups = self._prompts(whole["prompt_ids"], prompt_mask)
        sizes = sizes_of(
            prompt_mask,
            whole["completion_mask"],
            groups.tolist(),
        )
        shares = self._shares(
            self._rows_with_gradient(whole),
            sizes,
            len(batches),
        )
        parts = [self._pass(whole, share) for share in shares]
        weights = self._count_tokens(own, parts)
        if SORT not in self.on and SKIP not in self.on:
            return parts  # each pass has TRL's rows, loss and metrics

        per_pass = len(own["advantages"]) // len(batches)
        for part, share, weight in zip(parts, shares, weights, strict=True):
            part[_SHARE] = self._loss_share(whole, share, per_pass)
            part[_ROWS] = len(sizes)
            part[_WEIGHT] = weight
        return parts

    def _pass(
        self,
        whole: Batch,
        share: list[int],
    ) -> Batch:
        """Return the micro-batch of some rows. Without rows it has one, which has no loss."""
        part = chosen(whole, share) if share else emptied(chosen(whole, [0]))
        if TRIM not in self.on:
            return part
        return trimmed(
            part,
            self.trainer.pad_to_multiple_of or 1,
            self._trims_prompts,
        )

    def _shares(
        self,
        rows: list[int],
        sizes: list[Size],
        passes: int,
    ) -> list[list[int]]:
        """Return the rows of each pass on this rank."""
        if SORT not in self.on:
            return [rows]
        if not self._shares_ranks:
            return shared_out(rows, sizes, passes)
        accelerator = self.trainer.accelerator
        ranks = accelerator.num_processes
        return dealt(
            shared_out(
                rows,
                sizes,
                passes * ranks,
            ),
            ranks,
            accelerator.process_index,
        )

    def _prompts(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a row of each prompt that a pass computes, and the prompt of each row."""
        if SHARE in self.on:
            return distinct_rows(torch.cat([ids, mask], dim=1))
        rows = torch.arange(len(ids))
        return rows, rows

    def _rows_with_gradient(self, whole: Batch) -> list[int]:
        advantages = whole["advantages"]
        if SKIP not in self.on:
            return list(range(len(advantages)))
        keep = loss_mask(whole).any(dim=1)
        # With beta, the divergence from the reference model has a gradient.
        if self.trainer.beta == 0:
            keep &= advantages != 0
        rows: list[int] = keep.nonzero().flatten().tolist()
        return rows

    def _loss_share(
        self,
        whole: Batch,
        rows: list[int],
        usual: int,
    ) -> float:
        """Return the factor that makes the loss of these rows their part of TRL's. usual: rows of TRL's pass."""
        if not rows:
            return 0.0
        if self.trainer.loss_type in PER_ROW:  # TRL takes the mean over the rows of its pass
            return len(rows) / usual
        if self.trainer.loss_type == BY_PASS:  # TRL's pass is `whole`, because "sort" is off
            mask = loss_mask(whole)
            return float(mask[rows].sum() / mask.sum())
        return 1.0  # TRL divides by the tokens of the generation batch

    def _count_tokens(
        self,
        whole: Batch,
        parts: list[Batch],
    ) -> list[float]:
        """Log the computed tokens of all ranks. Return the weight of the metrics of each pass, 1 on average."""
        self._padded += whole["prompt_ids"].numel()
        self._padded += whole["completion_ids"].numel()
        trained = []
        for part in parts:
            self._count_computed(part["prompt_ids"], part["prompt_mask"])
            self._computed += part["completion_ids"].numel()
            trained.append(int(loss_mask(part).sum()))
        accelerator = self.trainer.accelerator
        own = torch.tensor(
            [self._computed, self._padded, *trained],
            dtype=torch.float64,
            device=accelerator.device,
        )
        computed, padded, *trained = accelerator.reduce(own).tolist()
        self._computed = self._padded = 0
        metrics = self.trainer._metrics["train"]
        metrics[COMPUTED].append(computed)
        metrics[PADDED].append(padded)
        passes = sum(map(bool, trained))  # that compute metrics
        return [tokens * passes / max(sum(trained), 1) for tokens in trained]

    def _count_computed(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
    ) -> None:
        """Count the prompt tokens that a pass computes."""
        first, _ = self._prompts(ids, mask)
        self._computed += len(first) * ids.shape[1]

    def _compute_loss(
        self,
        model: PreTrainedModel,
        inputs: Batch,
    ) -> torch.Tensor:
        if _SHARE not in inputs:  # a pass with TRL's rows, such as one of an evaluation
            usual: torch.Tensor = self._loss(model, inputs)
            return usual
        accelerator = self.trainer.accelerator
        metrics = self.trainer._metrics["train"]
        before = {name: len(values) for name, values in metrics.items()}
        gather = partial(
            _gather_rows,
            accelerator.gather,
            inputs[_ROWS],
        )
        with patch.object(accelerator, "gather", gather):
            loss: torch.Tensor = self._loss(model, inputs)
        weight = inputs[_WEIGHT]
        for name, values in list(metrics.items()):
            start = before.get(name, 0)
            if not weight:  # no rank had a row, so the pass has no metrics
                del values[start:]
            elif name in _MEANS and len(values) > start:
                # TRL takes the mean over the passes, which no longer have equally many tokens.
                values[-1] *= weight
            if not values:  # TRL would log None
                del metrics[name]
        return loss * float(inputs[_SHARE])

    def _log_probabilities(
        self,
        model: PreTrainedModel,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **more: Any,
    ) -> Any:
        """Compute log-probabilities. If they have no gradient, sort and trim the rows of these passes."""
        sharing: AbstractContextManager[None] = nullcontext()
        if SHARE in self.on:
            sharing = sharing_prompts(self.trainer.accelerator.unwrap_model(model))
        compute = partial(self._logps, model, **more)
        if TRIM in self.on and not torch.is_grad_enabled():
            compute = partial(self._trimmed_log_probabilities, compute)
        with sharing:
            return compute(
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size=batch_size,
            )

    def _trimmed_log_probabilities(
        self,
        compute: Callable[..., tuple[torch.Tensor | None, ...]],
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None,
    ) -> tuple[torch.Tensor | None, ...]:
        """Compute them in as many passes as TRL does."""
        rows, width = input_ids.shape
        start = width - logits_to_keep  # of the completions
        prompt_mask = attention_mask[:, :start]
        completion_mask = attention_mask[:, start:]
        _, groups = self._prompts(input_ids[:, :start], prompt_mask)
        sizes = sizes_of(
            prompt_mask,
            completion_mask,
            groups.tolist(),
        )
        passes = ceil(rows / (batch_size or rows))
        results: list[torch.Tensor | None] = [None, None]  # log-probabilities and entropies
        for share in shared_out(range(rows), sizes, passes):
            left, right = used_columns(
                prompt_mask[share], completion_mask[share], prompts=self._trims_prompts
            )
            columns = slice(start - left, start + right)
            ids = input_ids[share, columns]
            mask = attention_mask[share, columns]
            *values, _ = compute(
                ids,
                mask,
                right,
                batch_size=len(share),
            )
            for place, value in enumerate(values):
                if value is not None:
                    result = results[place]
                    if result is None:
                        result = results[place] = value.new_zeros(rows, logits_to_keep)
                    result[share, :right] = value
            self._count_computed(ids[:, :left], mask[:, :left])
            self._computed += len(share) * right
        self._padded += input_ids.numel()
        return *results, None


def _gather_rows(
    gather: Callable[[torch.Tensor], torch.Tensor],
    most: int,
    value: torch.Tensor,
) -> torch.Tensor:
    """Gather a value per row, padded with NaN, because ranks have different numbers of rows.

    TRL takes the lowest and the highest of these values, and ignores NaN.
    """
    if value.dim() == 1:
        value = pad(
            value,
            (0, most - len(value)),
            value=nan,
        )
    return gather(value)
