"""`PackedStep`: TRL's GRPO trainer with the packed step."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import batched, chain
from math import ceil, gcd, inf, nan
from threading import get_ident
from typing import Any
from unittest.mock import patch

import torch
from torch.nn.functional import pad
from transformers import PreTrainedModel
from trl import GRPOTrainer

from axolotl_grpo_plugin.generation.fewer_tokens import distinct_rows
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
    summary,
)

LOG = logging.getLogger(__name__)

# Metrics.
COMPUTED = "tokens/computed"
PADDED = "tokens/computed_by_trl"

# TRL's metrics that it takes as a mean over the tokens, or the rows, of each pass.
_MEANS = ("kl", "entropy", "vespo/phi_seq_mean")
# A completion that is skipped counts in these, because its tokens are not clipped.
_CLIPPED = (
    "clip_ratio/low_mean",
    "clip_ratio/high_mean",
    "clip_ratio/region_mean",
    "cispo_clip_ratio",
)

_COMPARED = 4  # rows in the comparison with TRL's pass

_OWN = "packed_step"  # the entry of a micro-batch that this step has rearranged

type Scores = tuple[
    torch.Tensor | None, ...
]  # log-probabilities, entropies, and the auxiliary loss


class PackedStep(GRPOTrainer):
    """TRL's trainer with the same gradient from real tokens only.

    It is a base class of Axolotl's trainers in training/trainer.py, and of the trainer in trl.py.

    Attributes:
        removes_used: Whether `_prepare_inputs` takes each micro-batch out of the buffer, and TRL's does not.
    """

    removes_used = False

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        self._off = parts_off(self)
        self._longest: float = longest_row(base_of(self.model).config) or inf
        self._is_compared = False
        self._current: Batch | None = None  # the micro-batch of the running `_compute_loss`
        self._sampling = vllm_ratios.SamplingMetrics()
        self._tokens = torch.zeros(
            2, dtype=torch.float64
        )  # of the step: computed, and what TRL would compute
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
        self._tokens[1] += batch["prompt_ids"].numel() + batch["completion_ids"].numel()
        return batch

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        """Return the next micro-batch. After each generation, rearrange those of all its steps."""
        before = self._buffered_inputs
        inputs: Batch = super()._prepare_inputs(generation_batch)
        # TRL makes a new list at each generation. An evaluation has none, and keeps its rows.
        if self._buffered_inputs is before or not self.model.training or SKIP in self._off:
            return inputs
        self._compare(*_ids(inputs))
        batches = self._buffered_inputs
        if self.removes_used:
            batches = [inputs, *batches]
        # Rows stay in their optimizer step. A step may have a part of the generation batch, or several.
        size = gcd(self.args.gradient_accumulation_steps, len(batches)) if self._deals() else 1
        rearranged = list(chain.from_iterable(map(self._rearranged, batched(batches, size))))
        if self.removes_used:
            self._buffered_inputs = rearranged[1:]
            return rearranged[0]
        self._buffered_inputs = rearranged
        return rearranged[self._step % len(rearranged)]

    def _compute_loss(self, model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
        """Return the loss of a micro-batch, scaled to its part of TRL's loss."""
        self._current = inputs
        try:
            if _OWN not in inputs:
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
        is_training_pass = self._current is not None and _OWN in self._current
        if self.model.training and not is_training_pass:
            self._tokens[1] += input_ids.numel()
        if self._packs(input_ids.shape[1]):
            scores = self._packed_scores(
                model, input_ids, attention_mask, logits_to_keep, batch_size
            )
        else:
            self._tokens[0] += input_ids.numel()
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
            parts = dealt(
                range(rows), sizes_of(prompts.tolist(), prompt_mask, completion_mask), passes
            )
        results = [input_ids.new_zeros(0), input_ids.new_zeros(0)]
        for number, part in enumerate(parts):
            used, own = prompts[part].unique(return_inverse=True)
            layout = Layout(
                prompt_ids[first[used]],
                prompt_mask[first[used]],
                completion_ids[part],
                completion_mask[part],
                own,
            )
            values = self._pass(model, layout)
            self._tokens[0] += layout.tokens
            if passes == 1:
                return *values, None
            for index, value in enumerate(values):
                if not number:
                    results[index] = value.new_zeros(rows, logits_to_keep)
                results[index][part] = value
        return *results, None

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
        return values

    def _autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a pass."""
        return self.accelerator.autocast()

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
                found, *_ = self._packed_scores(self.model, ids, mask, kept, None)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
            expected, *_ = super()._get_per_token_logps_and_entropies(self.model, ids, mask, kept)
            if not reason:
                is_token = mask[:, -kept:].bool()
                apart = _difference(expected[is_token].float(), found[is_token].float())
        for module in self.model.children():
            module.train(was_training)
        self._tokens.zero_()
        apart = self._highest(apart)
        if apart <= rounding_of(self._precision()):
            return
        if not reason:
            reason = f"the log-probabilities of a packed pass differ by {apart:.1%} from TRL's"
        self._off[PACK] = reason
        if self.accelerator.is_main_process:
            LOG.warning("axolotl-grpo-plugin: speed %s.", self.packed_step)

    # Rearranging.

    def _deals(self) -> bool:
        """Return whether rows may change their pass.

        bnpo divides by the tokens of a pass. Without packing, a pass of other rows may need more memory.
        """
        return PACK not in self._off and self.loss_type != PER_PASS

    def _rearranged(self, batches: Sequence[Batch]) -> list[Batch]:
        """Return as many micro-batches, with the same gradient. Without dealing there is one."""
        own = joined(batches)
        whole = own
        accelerator = self.accelerator
        if self._deals() and accelerator.num_processes > 1:
            whole = of_all_ranks(own, accelerator)
        rows = self._rows_with_gradient(whole)
        parts = [rows]
        if self._deals():
            _, prompts = distinct_rows(
                torch.cat([whole["prompt_ids"], whole["prompt_mask"]], dim=1)
            )
            sizes = sizes_of(prompts.tolist(), whole["prompt_mask"], whole["completion_mask"])
            ranks = accelerator.num_processes
            parts = of_rank(
                dealt(rows, sizes, len(batches) * ranks), ranks, accelerator.process_index
            )
        result = [selected(whole, part) for part in parts]
        per_pass = len(own["advantages"]) // len(batches)
        padded = own["prompt_ids"].numel() + own["completion_ids"].numel()
        weights = self._weights(own, result, parts)
        for batch, part, weight in zip(result, parts, weights, strict=True):
            share = self._loss_share(whole, part, per_pass)
            batch[_OWN] = {"loss_share": share, "tokens_of_trl": padded / len(parts), **weight}
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

    def _weights(
        self, own: Batch, passes: list[Batch], parts: list[list[int]]
    ) -> list[dict[str, float]]:
        """Return the weights that make TRL's means over each pass means over the step, for all ranks alike.

        Args:
            own: The rows of this rank before they were dealt.
            passes: This rank's micro-batches.
            parts: The rows of each of them.
        """
        # One value per row for a ratio of sequences, else one per token.
        by_row = self.importance_sampling_level == "sequence" or self.loss_type == "vespo"
        if by_row:  # TRL counts the one row of an empty pass, too
            used = [float(max(len(part), 1)) for part in parts]
            total = float(len(own["advantages"]))
        else:
            used = [float(loss_mask(batch).sum()) for batch in passes]
            total = float(loss_mask(own).sum())
        rows = [float(len(part)) for part in parts]
        values = torch.tensor(
            [total, *used, *rows], dtype=torch.float64, device=self.accelerator.device
        )
        total, *both = self.accelerator.reduce(values).tolist()
        used, rows = both[: len(parts)], both[len(parts) :]
        live = sum(number for number, count in zip(used, rows, strict=True) if count)
        all_rows = len(own["advantages"]) * self.accelerator.num_processes
        return [
            {
                "live": number * len(parts) / live if live else 0.0,
                "all": number * len(parts) / max(total, 1),
                "rows": all_rows,
                "skipped": float(sum(rows) < all_rows),
            }
            for number in used
        ]

    def _rearranged_loss(self, model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
        """Return the loss of a rearranged micro-batch. Its metrics become means over the tokens of the step."""
        own = inputs[_OWN]
        self._tokens[1] += own["tokens_of_trl"]
        metrics = self._metrics["train"]
        before = {name: len(values) for name, values in list(metrics.items())}
        gather = partial(
            _gather_rows,
            self.accelerator.gather,
            get_ident(),
            own["rows"],
            0.0 if own["skipped"] else nan,
        )
        with patch.object(self.accelerator, "gather", gather):
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        for name, values in list(metrics.items()):
            if len(values) > before.get(name, 0):
                weight = own["all"] if name in _CLIPPED else own["live"]
                if name in (*_CLIPPED, *_MEANS):
                    values[-1] *= weight
                if (name in _MEANS and not own["live"]) or values[-1] != values[-1]:
                    values.pop()  # no rank had a token
                if not values:
                    del metrics[name]  # TRL would log None
        return loss * own["loss_share"]

    def _log_step(self) -> None:
        """Log the tokens of an optimizer step, and the metrics of vLLM's ratios."""
        tokens = self.accelerator.reduce(self._tokens.to(self.accelerator.device)).tolist()
        self._tokens.zero_()
        for name, value in zip((COMPUTED, PADDED), tokens, strict=True):
            self._metrics["train"][name].append(value)
        self._sampling.log(self)


def _ids(inputs: Batch) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return the token ids, the mask and the padded length of the completions of a micro-batch."""
    ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
    mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    return ids, mask, inputs["completion_ids"].shape[1]


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return the difference of log-probabilities, relative to how much they vary."""
    if len(expected) < 2:
        return 0.0
    apart = (found - expected).square().mean().sqrt()
    return float(apart / expected.std().clamp(min=1e-3))


def _gather_rows(
    gather: Callable[[torch.Tensor], torch.Tensor],
    thread: int,
    most: int,
    skipped: float,
    value: torch.Tensor,
) -> torch.Tensor:
    """Gather a value per row. Ranks have different numbers of rows, so all of them are padded.

    Args:
        gather: The accelerator's.
        thread: The one that computes the loss. Another one may generate ahead, and gathers as usual.
        most: The number of rows to pad to.
        skipped: The value of the padding. TRL takes the lowest and the highest of these values, and ignores NaN.
        value: Of the rows of this rank, shaped [rows], or [] for a value of the whole pass.
    """
    if value.dim() == 1 and get_ident() == thread:
        value = pad(value, (0, most - len(value)), value=skipped)
    return gather(value)
