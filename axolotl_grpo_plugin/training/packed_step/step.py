"""`PackedStep`: TRL's GRPO trainer with the packed step."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import batched
from math import ceil, gcd, inf, nan
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import pad
from transformers import PreTrainedModel
from trl import GRPOTrainer

from axolotl_grpo_plugin.training.fewer_tokens import distinct_rows
from axolotl_grpo_plugin.training.packed_step import vllm_ratios
from axolotl_grpo_plugin.training.packed_step.dealing import dealt, of_rank, sizes_of
from axolotl_grpo_plugin.training.packed_step.layout import Layout
from axolotl_grpo_plugin.training.packed_step.model import chunks_of, let_pack
from axolotl_grpo_plugin.training.packed_step.rows import (
    Batch,
    joined,
    loss_mask,
    of_all_ranks,
    selected,
)
from axolotl_grpo_plugin.training.packed_step.support import (
    PACK,
    PER_PASS,
    PER_ROW,
    SKIP,
    base_of,
    longest_row,
    parts_off,
    rounding_of,
    sliding_window,
    summary,
)

LOG = logging.getLogger(__name__)

# Metrics.
COMPUTED = "tokens/computed"
PADDED = "tokens/computed_by_trl"

# TRL takes these as a mean over the tokens of each pass.
_TOKEN_MEANS = ("kl", "entropy")
# And this over its rows.
_ROW_MEANS = ("vespo/phi_seq_mean",)
# A completion that is skipped counts in these, because it is not clipped. With ratios of sequences, they are over rows.
_CLIPPED = (
    "clip_ratio/low_mean",
    "clip_ratio/high_mean",
    "clip_ratio/region_mean",
    "cispo_clip_ratio",
)
# And these as the lowest and the highest row of each pass.
_EXTREMES = ("clip_ratio/low_min", "clip_ratio/high_max")

_COMPARED = 4  # rows in the comparison with TRL's pass

ENTRY = "packed_step"  # of a micro-batch that this step has rearranged

# Log-probabilities, entropies, and the auxiliary loss.
type Scores = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]


class PackedStep(GRPOTrainer):
    """TRL's trainer with the same gradient from real tokens only.

    It is a base class of Axolotl's trainers in training/trainer.py, and of the trainer in trl.py.

    Attributes:
        removes_used: Whether the next `_prepare_inputs` of the bases removes a micro-batch that it returns from the buffer.
    """

    removes_used = False
    _buffered_inputs: list[Batch] | None

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        self._off = parts_off(self)
        self._longest: float = longest_row(base_of(self.model).config) or inf
        self._windows: set[int] = set()  # the sliding windows that attention has asked for
        self._is_compared = False
        self._current: Batch | None = None  # the micro-batch of the running `_compute_loss`
        self._sampling = vllm_ratios.SamplingMetrics()
        # Of the running step.
        self._computed_tokens = 0
        self._tokens_of_trl = 0.0
        if PACK not in self._off:
            let_pack(base_of(self.model))
            if self.ref_model is not None:
                let_pack(base_of(self.accelerator.unwrap_model(self.ref_model)))

    @property
    def packed_step(self) -> str:
        """The parts that are on, and why others are off."""
        return summary(self._off)

    # The methods of TRL's trainer, in the order in which a step calls them.

    def _generate_and_score_completions(self, inputs: list[Batch]) -> Batch:
        """Generate and score a batch. The training passes may compute vLLM's ratios later."""
        if not (self.model.training and vllm_ratios.defers(self)):
            batch: Batch = super()._generate_and_score_completions(inputs)
            return batch
        with patch.object(self, "vllm_importance_sampling_correction", False):
            batch = super()._generate_and_score_completions(inputs)
        self._tokens_of_trl += batch["prompt_ids"].numel() + batch["completion_ids"].numel()
        return batch

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        """Return the next micro-batch. After each generation, rearrange those of all its steps."""
        before = self._buffered_inputs
        inputs: Batch = super()._prepare_inputs(generation_batch)
        # TRL makes a new list at each generation. An evaluation has none, and keeps its rows.
        if self._buffered_inputs is before or not self.model.training or SKIP in self._off:
            return inputs
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        self._compare(ids, mask, inputs["completion_ids"].shape[1])
        batches: Sequence[Batch] = self._buffered_inputs or []
        if self.removes_used:
            batches = [inputs, *batches]
        # bnpo divides by the tokens of a pass. Without packing, a pass of other rows may need more memory.
        deals = self._packs(ids.shape[1]) and self.loss_type != PER_PASS
        # Rows stay in their optimizer step. A step may have a part of the generation batch, or several.
        size = gcd(self.args.gradient_accumulation_steps, len(batches)) if deals else 1
        rearranged: list[Batch] = []
        for together in batched(batches, size):
            rearranged += self._rearranged(together, deals)
        inputs = rearranged[0 if self.removes_used else self._step % len(rearranged)]
        self._buffered_inputs = rearranged[1:] if self.removes_used else rearranged
        return inputs

    def _compute_loss(self, model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
        """Return the loss of a micro-batch, scaled to its part of TRL's loss."""
        self._current = inputs
        try:
            if ENTRY not in inputs:
                loss: torch.Tensor = super()._compute_loss(model, inputs)
            else:
                loss = self._rearranged_loss(model, inputs)
        finally:
            self._current = None
        if self.model.training and self.accelerator.sync_gradients:
            self._log_step()
        return loss

    def _get_per_token_logps_and_entropies(
        self,
        model: PreTrainedModel,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **options: Any,
    ) -> Scores:
        """Return the log-probabilities and entropies of completions, shaped [rows, logits_to_keep].

        A packed pass has 0 for the padding of completions.

        Args:
            model: With its wrappers. It may be the reference model.
            input_ids: Prompts and completions, shaped [rows, tokens].
            attention_mask: Of the same shape.
            logits_to_keep: The padded length of the completions.
            batch_size: The most rows of a pass of TRL. None is all.
            options: Of TRL, such as `compute_entropy`.
        """
        self._compare(input_ids, attention_mask, logits_to_keep)
        is_training_pass = self._current is not None and ENTRY in self._current
        if self.model.training and not is_training_pass:
            self._tokens_of_trl += input_ids.numel()
        if self._packs(input_ids.shape[1]):
            scores = self._packed_scores(
                model, input_ids, attention_mask, logits_to_keep, batch_size
            )
        else:
            self._computed_tokens += input_ids.numel()
            scores = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **options
            )
        if self._current is not None and vllm_ratios.is_missing(self, self._current):
            ratio = vllm_ratios.ratio_of(self, self._current, scores[0])
            self._current["importance_sampling_ratio"] = ratio
            self._sampling.add(self._current, scores[0])
        return scores

    # Packing.

    def _packs(self, width: int) -> bool:
        """Return whether the passes over rows of this padded width are packed, on all ranks alike."""
        if PACK in self._off:
            return False
        return self._longest == inf or self._highest(width) <= self._longest

    def _highest(self, value: float) -> float:
        """Return the highest value of all ranks."""
        # Two dimensions, because `_rearranged_loss` pads the values of rows, which have one.
        own = torch.tensor([[value]], dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.gather(own).max())

    def _packed_scores(
        self,
        model: PreTrainedModel,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None,
    ) -> Scores:
        """Compute packed passes, as many as TRL would make."""
        start = input_ids.shape[1] - logits_to_keep  # of the completions
        prompt_ids, completion_ids = input_ids[:, :start], input_ids[:, start:]
        prompt_mask, completion_mask = attention_mask[:, :start], attention_mask[:, start:]
        first, prompts = distinct_rows(torch.cat([prompt_ids * prompt_mask, prompt_mask], dim=1))
        rows = len(input_ids)
        passes = ceil(rows / (batch_size or rows))
        parts = [list(range(rows))]
        if passes > 1:
            sizes = sizes_of(prompts.tolist(), prompt_mask, completion_mask)
            parts = dealt(range(rows), sizes, passes, ceil(rows / passes) * input_ids.shape[1])
            # Other ranks may need more passes, and a sharded model needs all ranks in each one.
            several = self.accelerator.num_processes > 1
            parts = [part or [0] for part in parts if part or several]
        scores = []
        for part in parts:
            used, own = torch.unique(prompts[part], return_inverse=True)
            layout = Layout(
                prompt_ids[first[used]],
                prompt_mask[first[used]],
                completion_ids[part],
                completion_mask[part],
                own,
            )
            scores.append(self._pass(model, layout))
            self._computed_tokens += layout.tokens
        if passes == 1:
            return *scores[0], None
        # These have no gradient, because TRL trains on one pass at a time.
        results = [value.new_zeros(rows, logits_to_keep) for value in scores[0]]
        for part, values in zip(parts, scores, strict=True):
            for result, value in zip(results, values, strict=True):
                result[part] = value
        return results[0], results[1], None

    def _pass(self, model: PreTrainedModel, layout: Layout) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute a packed row. All ranks compute its head in equally many chunks, as ZeRO-3 needs."""
        chunks = chunks_of(len(layout.targets), base_of(self.accelerator.unwrap_model(model)))
        if self.accelerator.num_processes > 1:
            chunks = int(self._highest(chunks))
        with self._autocast():
            values: tuple[torch.Tensor, torch.Tensor] = model(
                packed_layout=layout,
                temperature=self.temperature,
                chunks=chunks,
                entropy_grad=self._entropy_bonus_enabled,
            )
        self._windows |= layout.windows
        return values

    def _autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a pass."""
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        return context

    def _precision(self) -> torch.dtype:
        """Return the type in which a pass computes."""
        dtype: torch.dtype = base_of(self.model).dtype
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(
            self.accelerator.mixed_precision, dtype
        )

    def _compare(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int
    ) -> None:
        """Compare packing with TRL's own pass, once. If they differ on any rank, turn packing off on all ranks."""
        if self._is_compared or not self._packs(input_ids.shape[1]):
            return
        self._is_compared = True
        ids, mask = input_ids[:_COMPARED], attention_mask[:_COMPARED]
        has_tokens = mask.any(dim=0)
        has_tokens[-logits_to_keep] = True  # TRL needs a column
        kept = int(has_tokens[-logits_to_keep:].sum())
        ids, mask = ids[:, has_tokens], mask[:, has_tokens]
        reason, apart = "", inf
        was_training = self.model.training
        # Dropout is in the inner modules. A thread that generates ahead reads the mode of the model itself.
        for module in self.model.children():
            module.eval()
        with torch.no_grad():
            try:
                found = self._packed_scores(self.model, ids, mask, kept, None)[0]
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
            expected = super()._get_per_token_logps_and_entropies(self.model, ids, mask, kept)[0]
            if not reason:
                is_token = mask[:, -kept:].bool()
                apart = _difference(expected[is_token].float(), found[is_token].float())
        for module in self.model.children():
            module.train(was_training)
        self._computed_tokens = 0  # the comparison does not count
        window = sliding_window(base_of(self.model).config)
        if window and window not in self._windows:
            # These rows may be too short to show that attention ignores the window.
            self._longest = min(self._longest, window)
        apart = self._highest(apart)
        if apart <= rounding_of(self._precision()):
            return
        if not reason:
            reason = f"the log-probabilities of a packed pass differ by {apart:.1%} from TRL's"
        self._off[PACK] = reason
        if self.accelerator.is_main_process:
            LOG.warning("axolotl-grpo-plugin: speed %s.", self.packed_step)

    # Rearranging.

    def _rearranged(self, batches: Sequence[Batch], deals: bool) -> list[Batch]:
        """Return as many micro-batches, with the same gradient.

        Args:
            batches: Of TRL, one unless `deals`.
            deals: Whether rows may change their pass, and their rank.
        """
        own = joined(batches)
        whole = own
        accelerator = self.accelerator
        if deals and accelerator.num_processes > 1:
            whole = of_all_ranks(own, accelerator)
        rows = self._rows_with_gradient(whole)
        parts = [rows]
        per_pass = len(own["advantages"]) // len(batches)
        if deals:
            ids = torch.cat([whole["prompt_ids"], whole["prompt_mask"]], dim=1)
            _, prompts = distinct_rows(ids)
            sizes = sizes_of(prompts.tolist(), whole["prompt_mask"], whole["completion_mask"])
            # A packed pass needs no more memory than TRL's, which has padding.
            budget = per_pass * (whole["prompt_ids"].shape[1] + whole["completion_ids"].shape[1])
            ranks = accelerator.num_processes
            passes = dealt(rows, sizes, len(batches), budget, ranks)
            parts = of_rank(passes, ranks, accelerator.process_index)
        result = [selected(whole, part) for part in parts]
        padded = own["prompt_ids"].numel() + own["completion_ids"].numel()
        entry = {
            "rows": len(own["advantages"]) * accelerator.num_processes,
            "tokens_of_trl": padded / len(parts),
        }
        weights = self._metric_weights(own, result, parts)
        has_rows = any(any(weight.values()) for weight in weights)
        for batch, part, weight in zip(result, parts, weights, strict=True):
            share = self._loss_share(whole, part, per_pass)
            batch[ENTRY] = entry | {
                "loss_share": share,
                "weights": weight,
                "step_has_rows": has_rows,
            }
        return result

    def _rows_with_gradient(self, whole: Batch) -> list[int]:
        keep = loss_mask(whole).any(dim=1)
        # With beta, the divergence from the reference model has a gradient.
        if self.beta == 0:
            keep &= whole["advantages"] != 0
        rows: list[int] = keep.nonzero().flatten().tolist()
        return rows

    def _loss_share(self, whole: Batch, rows: list[int], per_pass: int) -> float:
        """Return the factor that makes the loss of these rows their part of TRL's.

        Args:
            whole: The rows that `rows` are of.
            rows: Of this pass.
            per_pass: The number of rows of a pass of TRL.
        """
        if not rows:
            return 0.0
        if self.loss_type in PER_ROW:  # TRL takes the mean over the rows of its pass
            return len(rows) / per_pass
        if self.loss_type == PER_PASS:  # TRL's pass is `whole`, because bnpo deals no rows
            mask = loss_mask(whole)
            return float(mask[rows].sum() / mask.sum())
        return 1.0  # TRL divides by the tokens of the generation batch

    def _metric_weights(
        self, own: Batch, passes: list[Batch], parts: list[list[int]]
    ) -> list[dict[str, float]]:
        """Return the factors that make TRL's mean of each metric over passes a mean over the step.

        All ranks get the same factors.

        Args:
            own: The rows of this rank before they were dealt.
            passes: This rank's micro-batches.
            parts: The rows of each of them.

        Returns:
            For each pass, a factor by the name of the metric. A pass without rows, on all ranks, has factors of 0.
        """
        count = len(parts)
        tokens_of_passes = [float(loss_mask(batch).sum()) for batch in (own, *passes)]
        rows_of_passes = [float(len(part)) for part in parts]
        counted_rows = [
            max(rows, 1.0) for rows in rows_of_passes
        ]  # TRL counts the row of an empty pass
        counts = [*tokens_of_passes, *rows_of_passes, *counted_rows]
        values = torch.tensor(counts, dtype=torch.float64, device=self.accelerator.device)
        all_tokens, *rest = self.accelerator.reduce(values).tolist()
        tokens, rows, counted = rest[:count], rest[count : 2 * count], rest[2 * count :]
        all_rows = float(len(own["advantages"]) * self.accelerator.num_processes)
        live_rows = sum(one for one, used in zip(counted, rows, strict=True) if used)
        by_rows = self.importance_sampling_level == "sequence"
        weights = []
        for one_tokens, one_rows, used in zip(tokens, counted, rows, strict=True):
            of_rows = one_rows * count / max(live_rows, 1) if used else 0.0
            clipped = one_rows / all_rows if by_rows else one_tokens / max(all_tokens, 1)
            weights.append(
                {
                    **dict.fromkeys(_TOKEN_MEANS, one_tokens * count / max(sum(tokens), 1)),
                    **dict.fromkeys(_ROW_MEANS, of_rows),
                    **dict.fromkeys(_CLIPPED, clipped * count if used else 0.0),
                }
            )
        return weights

    def _rearranged_loss(self, model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
        """Return the loss of a rearranged micro-batch. Its metrics become means over the tokens of the step."""
        entry = inputs[ENTRY]
        self._tokens_of_trl += entry["tokens_of_trl"]
        metrics = self._metrics["train"]
        names = [*_CLIPPED, *_EXTREMES, *_TOKEN_MEANS, *_ROW_MEANS]
        before = {name: len(metrics.get(name, ())) for name in names}
        with self._gathering_rows(entry["rows"]):
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        weights = entry["weights"]
        has_rows = any(weights.values())
        for name in names:
            values = metrics.get(name, ())
            if len(values) == before[name]:
                continue
            if name in _CLIPPED or (name in weights and entry["step_has_rows"]):
                values[-1] *= weights[name]
            elif not has_rows:
                values.pop()  # TRL has the value of an empty pass
                if not values:
                    del metrics[name]  # TRL would log None
        share: float = entry["loss_share"]
        return loss * share

    def _gathering_rows(self, most: int) -> AbstractContextManager[Any]:
        """Let TRL's loss gather a value per row, although ranks have different numbers of rows."""
        gather = partial(_gather_rows, self.accelerator.gather, most)
        context: AbstractContextManager[Any] = patch.object(self.accelerator, "gather", gather)
        return context

    def _log_step(self) -> None:
        """Log the tokens of an optimizer step, and the metrics of vLLM's ratios."""
        own = torch.tensor(
            [self._computed_tokens, self._tokens_of_trl],
            dtype=torch.float64,
            device=self.accelerator.device,
        )
        tokens = self.accelerator.reduce(own).tolist()
        self._computed_tokens, self._tokens_of_trl = 0, 0.0
        for name, value in zip((COMPUTED, PADDED), tokens, strict=True):
            self._metrics["train"][name].append(value)
        self._sampling.log(self)


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return the difference of log-probabilities, relative to how much they vary."""
    if len(expected) < 2:
        return 0.0
    apart = (found - expected).square().mean().sqrt()
    return float(apart / expected.std().clamp(min=1e-3))


def _gather_rows(
    gather: Callable[[torch.Tensor], torch.Tensor], most: int, value: torch.Tensor
) -> torch.Tensor:
    """Gather a value per row. Ranks have different numbers of rows, so all of them are padded with NaN.

    TRL takes the lowest and the highest of these values, and ignores NaN.

    Args:
        gather: The accelerator's.
        most: The number of rows to pad to.
        value: Of the rows of this rank, shaped [rows], or [] for a value of the whole pass.
    """
    if value.dim() == 1:
        value = pad(value, (0, most - len(value)), value=nan)
    return gather(value)
