"""`PackedStep`: TRL's GRPO trainer with the packed step. The methods are in the order in which a batch meets them."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import batched
from math import ceil, gcd, inf
from typing import Any, TypedDict
from unittest.mock import patch

import torch
from transformers import PreTrainedModel
from trl import GRPOTrainer

from axolotl_grpo_plugin.training.packed_step import check, vllm_ratios
from axolotl_grpo_plugin.training.packed_step.dealing import deal, passes_of_rank, sizes_of
from axolotl_grpo_plugin.training.packed_step.layout import Layout
from axolotl_grpo_plugin.training.packed_step.losses import (
    BY_PASS_TOKENS,
    loss_share,
    rows_with_gradient,
)
from axolotl_grpo_plugin.training.packed_step.metrics import (
    SamplingMetrics,
    Weights,
    gathering_rows,
    log_tokens,
    metric_weights,
    weighted,
)
from axolotl_grpo_plugin.training.packed_step.model import (
    base_of,
    chunks_of,
    let_pack,
    longest_row,
    sliding_window,
)
from axolotl_grpo_plugin.training.packed_step.support import PACK, REARRANGE, parts_off, summary
from axolotl_grpo_plugin.training.rows import (
    Batch,
    distinct_prompts,
    gathered_rows,
    joined,
    selected,
)

LOG = logging.getLogger(__name__)

REARRANGED = "rearranged"  # the key of a micro-batch's `Rearranged`
PARTS = "parts"  # the key of the `SmallPass` of each, if a micro-batch has several passes


class Rearranged(TypedDict):
    """The facts that this step adds to a micro-batch. A checkpoint saves it, so it has plain values only."""

    row_count: int  # of TRL's micro-batches on all ranks. One pass may get all of them.
    tokens_of_trl: float  # with padding, that TRL would compute in a pass
    loss_share: float  # the factor of the loss
    weights: Weights  # the factors of the metrics


class SmallPass(TypedDict):
    """A pass of a micro-batch that has several."""

    rows: int
    facts: Rearranged


# Log-probabilities, entropies, and the auxiliary loss.
type Scores = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]


class PackedStep(GRPOTrainer):
    """TRL's trainer with the same gradient from real tokens only.

    It is a base class of Axolotl's trainers in training/trainer.py, and of the trainer in trl.py.

    Attributes:
        pops_buffer: Whether the base trainer pops a micro-batch from `_buffered_inputs` when it returns it, as
            Axolotl's data producer does. TRL keeps all of them, and indexes them by `_step`.
        averages_ranks: Whether the loss gathers a mean of each rank, as Axolotl's data producer does. TRL's loss takes
            means over all ranks, and gathers a value per row.
        autocast_dtype: The type of the passes, if it is not the accelerator's.
        tokens_per_pass: The most tokens of a training pass, unless one row has more. None takes the tokens of a pass of
            TRL, with its padding.
    """

    pops_buffer = False
    averages_ranks = False
    autocast_dtype: torch.dtype | None = None
    tokens_per_pass: int | None = None
    _buffered_inputs: list[Batch] | None

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        self._off = parts_off(self)
        # Rows of more tokens, with padding, take TRL's pass. The check may lower it.
        self._longest_exact: float = longest_row(base_of(self.model).config) or inf
        self._windows: set[int] = set()  # the sliding windows that attention has asked for
        self._is_checked = False
        # The micro-batch of the running `_compute_loss`. TRL reads its `importance_sampling_ratio` after the
        # log-probabilities, so `_get_per_token_logps_and_entropies` can put it there in between.
        self._current: Batch | None = None
        self._part: Batch | None = None  # the running pass of a micro-batch that has several
        # Of the running step. TRL would compute each padded pass that it makes or that this step leaves out.
        # Rearranged micro-batches bring their own count of these tokens.
        self._computed_tokens = 0
        self._tokens_of_trl = 0.0
        self._sampling = SamplingMetrics()
        if PACK not in self._off:
            let_pack(base_of(self.model))
            if self.ref_model is not None:
                let_pack(base_of(self.accelerator.unwrap_model(self.ref_model)))

    @property
    def packed_step(self) -> str:
        """The parts that are on, and why others are off."""
        return summary(self._off)

    # 1. TRL generates a batch for one or several steps, and cuts it into micro-batches.

    def _prepare_inputs(self, generation_batch: Any) -> Batch:
        """Return the next micro-batch. After each generation, rearrange those of all its steps."""
        if self._part is not None:
            return self._part
        before = self._buffered_inputs
        inputs: Batch = super()._prepare_inputs(generation_batch)
        # TRL makes a new list at each generation. An evaluation makes no list.
        is_new = self._buffered_inputs is not before and self.model.training
        if is_new and self.tokens_per_pass and REARRANGE in self._off:
            self._warn_of_no_budget()
        if not is_new or REARRANGE in self._off:
            return inputs
        batches: Sequence[Batch] = self._buffered_inputs or []
        if self.pops_buffer:
            batches = [inputs, *batches]
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        # All micro-batches of a generation have this width, so the passes decide alike later.
        packs = self._all_ranks_pack(ids, mask, inputs["completion_ids"].shape[1])
        # Without packing, a pass of other rows may need more memory.
        deals = packs and self.loss_type not in BY_PASS_TOKENS
        if self.tokens_per_pass and not deals:
            self._warn_of_no_budget()
        # Rows stay in their optimizer step. A step may have a part of the generation batch, or several.
        size = gcd(self.args.gradient_accumulation_steps, len(batches)) if deals else 1
        rearranged: list[Batch] = []
        for together in batched(batches, size):
            rearranged += self._rearranged(together, deals)
        if self.pops_buffer:
            first, *self._buffered_inputs = rearranged
            return first
        self._buffered_inputs = rearranged
        inputs = rearranged[self._step % len(rearranged)]
        return inputs

    def _generate_and_score_completions(self, inputs: list[Batch]) -> Batch:
        """Generate and score a batch. The training passes may compute vLLM's ratios later."""
        # Independent of `_off`, because TRL's own training passes give the ratios as well.
        waits = self.model.training and vllm_ratios.can_wait_for_training_pass(self)
        setting = "vllm_importance_sampling_correction"
        with patch.object(self, setting, False) if waits else nullcontext():
            batch: Batch = super()._generate_and_score_completions(inputs)
        if waits:  # TRL would make a pass for the old log-probabilities
            self._tokens_of_trl += batch["prompt_ids"].numel() + batch["completion_ids"].numel()
        return batch

    # 2. The micro-batches of a step get other rows.

    def _rearranged(self, batches: Sequence[Batch], deals: bool) -> list[Batch]:
        """Return as many micro-batches, with the same gradient.

        Args:
            batches: Of TRL, one unless `deals`.
            deals: Whether rows may change their pass, and their rank.
        """
        given = joined(batches)
        rows_per_pass = len(given["advantages"]) // len(batches)
        padded_tokens = given["prompt_ids"].numel() + given["completion_ids"].numel()
        ranks = self.accelerator.num_processes
        # With `deals`, the rows of the step on all ranks. Otherwise one micro-batch of this rank, by whose tokens bnpo
        # divides.
        whole = gathered_rows(given, self.accelerator) if deals and ranks > 1 else given
        rows_of_passes = [rows_with_gradient(whole, self.beta)]
        if deals:
            # A packed pass needs no more memory than TRL's, which has padding.
            width = whole["prompt_ids"].shape[1] + whole["completion_ids"].shape[1]
            budget = self.tokens_per_pass or rows_per_pass * width
            rows_of_passes = self._dealt(whole, rows_of_passes[0], len(batches), budget)
        passes = [selected(whole, rows) for rows in rows_of_passes]
        weights = metric_weights(
            self.accelerator,
            given,
            passes,
            [len(rows) for rows in rows_of_passes],
            by_rows=self.importance_sampling_level == "sequence",
            averages_ranks=self.averages_ranks,
        )
        for batch, rows, pass_weights in zip(passes, rows_of_passes, weights, strict=True):
            batch[REARRANGED] = Rearranged(
                row_count=len(given["advantages"]) * ranks,
                tokens_of_trl=padded_tokens / len(passes),
                loss_share=loss_share(self.loss_type, whole, rows, rows_per_pass),
                weights=pass_weights,
            )
        per_batch = len(passes) // len(batches)
        return [_as_one(part) for part in batched(passes, per_batch)]

    def _dealt(
        self, whole: Batch, rows: list[int], pass_count: int, budget: int
    ) -> list[list[int]]:
        """Return the rows of each pass of this rank.

        Args:
            whole: The rows of all ranks.
            rows: The indices of the rows to deal.
            pass_count: The number of micro-batches of each rank. With `tokens_per_pass`, each may have several passes.
            budget: The tokens that a pass may have.
        """
        _, prompt_of_row = distinct_prompts(whole["prompt_ids"], whole["prompt_mask"])
        sizes = sizes_of(prompt_of_row, whole["prompt_mask"], whole["completion_mask"])
        ranks = self.accelerator.num_processes
        most = 1
        if self.tokens_per_pass:  # a pass may have a single row
            most = max(ceil(len(rows) / (pass_count * ranks)), 1)
        passes = deal(rows, sizes, most * pass_count, budget, ranks)
        used = sum(map(bool, passes))  # the first ones
        per_batch = max(ceil(used / (pass_count * ranks)), 1)
        passes = passes[: per_batch * pass_count * ranks]
        return passes_of_rank(passes, ranks, self.accelerator.process_index)

    def _warn_of_no_budget(self) -> None:
        reason = summary(self._off) if self._off else f"the loss {self.loss_type}"
        LOG.warning("axolotl-grpo-plugin: grpo_tokens_per_pass has no effect: %s.", reason)
        self.tokens_per_pass = None

    # 3. TRL computes the loss of a micro-batch.

    def training_step(
        self, model: torch.nn.Module, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        """Return the loss of a micro-batch after its backward pass. Each of its passes frees its memory before the next."""
        loss: torch.Tensor
        if not self.tokens_per_pass:
            loss = super().training_step(model, inputs, num_items_in_batch)
            return loss
        model.train()  # as transformers does first, because an evaluation has another mode, and TRL reads it
        *first, last = _parts_of(self._prepare_inputs(inputs))
        accelerator = self.accelerator
        syncs = accelerator.sync_gradients
        loss = torch.zeros((), device=accelerator.device)
        try:
            for self._part in first:
                times = len(self._metrics["train"].get("step_time", ()))
                # Only the last pass of an optimizer step may reduce the gradients of the ranks, and log.
                accelerator.gradient_state._set_sync_gradients(False)
                with accelerator.no_sync(model) if syncs else nullcontext():
                    loss += super().training_step(model, inputs, num_items_in_batch)
                self._step -= 1  # TRL counts micro-batches
                if len(self._metrics["train"].get("step_time", ())) > times:
                    self._current_train_step_time = self._metrics["train"]["step_time"].pop()
            accelerator.gradient_state._set_sync_gradients(syncs)
            self._part = last
            loss += super().training_step(model, inputs, num_items_in_batch)
            return loss
        finally:
            self._part = None

    def _compute_loss(self, model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
        """Return the loss of a micro-batch, scaled to its part of TRL's loss."""
        losses = []
        for part in _parts_of(inputs):
            self._current = part
            try:
                if REARRANGED in part:
                    losses.append(self._rearranged_loss(model, part))
                else:
                    losses.append(super()._compute_loss(model, part))
            finally:
                self._current = None
        loss = torch.stack(losses).sum() if len(losses) > 1 else losses[0]
        if self.model.training and self.accelerator.sync_gradients:
            log_tokens(self, self._computed_tokens, self._tokens_of_trl)
            self._computed_tokens, self._tokens_of_trl = 0, 0.0
            self._sampling.log(self)
        return loss

    def _rearranged_loss(self, model: PreTrainedModel, inputs: Batch) -> torch.Tensor:
        facts: Rearranged = inputs[REARRANGED]
        self._tokens_of_trl += facts["tokens_of_trl"]
        gathers_rows: AbstractContextManager[Any] = nullcontext()
        if not self.averages_ranks:
            gathers_rows = gathering_rows(self.accelerator, facts["row_count"])
        with weighted(self._metrics["train"], facts["weights"]), gathers_rows:
            loss: torch.Tensor = super()._compute_loss(model, inputs)
        return loss * facts["loss_share"]

    # 4. The loss needs log-probabilities, and so does TRL before a step: old ones, and those of the reference model.

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
        is_rearranged = self._current is not None and REARRANGED in self._current
        if self.model.training and not is_rearranged:  # `_rearranged_loss` has counted the others
            self._tokens_of_trl += input_ids.numel()
        if self._all_ranks_pack(input_ids, attention_mask, logits_to_keep):
            scores = self._packed_scores(
                model,
                input_ids,
                attention_mask,
                logits_to_keep,
                batch_size,
                options.get("compute_entropy", False),
            )
        else:
            self._count(input_ids.numel())
            scores = super()._get_per_token_logps_and_entropies(
                model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **options
            )
        if self._current is not None and vllm_ratios.needs_ratio(self, self._current):
            ratio = vllm_ratios.ratio_of(self, self._current, scores[0])
            self._current["importance_sampling_ratio"] = ratio
            self._sampling.add(self._current, scores[0])
        return scores

    def _count(self, tokens: int) -> None:
        """Count the tokens of a pass in the running step. An evaluation belongs to no step."""
        if self.model.training:
            self._computed_tokens += tokens

    # 5. Passes are packed.

    def _packed_scores(
        self,
        model: PreTrainedModel,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None,
        compute_entropy: bool,
    ) -> Scores:
        """Compute packed passes, at most as many as TRL would."""
        start = input_ids.shape[1] - logits_to_keep  # of the completions
        prompt_ids, completion_ids = input_ids[:, :start], input_ids[:, start:]
        prompt_mask, completion_mask = attention_mask[:, :start], attention_mask[:, start:]
        examples, prompt_of_row = distinct_prompts(prompt_ids, prompt_mask)
        row_count = len(input_ids)
        pass_count = ceil(row_count / (batch_size or row_count))
        passes = [list(range(row_count))]
        if pass_count > 1:
            sizes = sizes_of(prompt_of_row, prompt_mask, completion_mask)
            budget = ceil(row_count / pass_count) * input_ids.shape[1]
            passes = deal(range(row_count), sizes, pass_count, budget)
            # Other ranks may need more passes, and a sharded model needs all ranks in each one. An empty pass computes
            # row 0 again, with the same result.
            several = self.accelerator.num_processes > 1
            passes = [rows or [0] for rows in passes if rows or several]
        # All ranks compute the head in equally many chunks, as ZeRO-3 needs.
        targets = max(int(completion_mask[rows].sum()) for rows in passes)
        base = base_of(self.accelerator.unwrap_model(model))
        chunks = int(self._max_over_ranks(chunks_of(targets, base)))
        scores = []
        for rows in passes:
            prompts, prompt_of_packed = torch.unique(prompt_of_row[rows], return_inverse=True)
            layout = Layout(
                prompt_ids[examples[prompts]],
                prompt_mask[examples[prompts]],
                completion_ids[rows],
                completion_mask[rows],
                prompt_of_packed,
            )
            with self._autocast():
                values: tuple[torch.Tensor, torch.Tensor | None] = model(
                    packed_layout=layout,
                    temperature=self.temperature,
                    chunks=chunks,
                    compute_entropy=compute_entropy,
                    entropy_grad=self._entropy_bonus_enabled,
                )
            scores.append(values)
            self._windows |= layout.windows
            self._count(layout.tokens)
        if pass_count == 1:
            return *scores[0], None
        # Several passes have no gradient, because TRL trains on one pass at a time.
        order = [row for rows in passes for row in rows]
        log_probabilities, entropies = zip(*scores, strict=True)
        return (
            _in_order(log_probabilities, order, row_count),
            _in_order(entropies, order, row_count) if compute_entropy else None,
            None,
        )

    def _autocast(self) -> AbstractContextManager[Any]:
        """Return the context of a pass."""
        context: AbstractContextManager[Any] = self.accelerator.autocast()
        if self.autocast_dtype:
            context = torch.autocast(self.accelerator.device.type, dtype=self.autocast_dtype)
        return context

    # Whether passes are packed. All ranks decide together, so all of them must call these methods together.

    def _all_ranks_pack(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int
    ) -> bool:
        """Return whether passes over these rows are packed. The widest rows of all ranks decide."""
        width = input_ids.shape[1]
        if not self._is_checked and self._can_pack(width):
            self._check_packing(input_ids, attention_mask, logits_to_keep)
        return self._can_pack(width)

    def _can_pack(self, width: int) -> bool:
        if PACK in self._off:
            return False
        return self._longest_exact == inf or self._max_over_ranks(width) <= self._longest_exact

    def _check_packing(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, logits_to_keep: int
    ) -> None:
        """Compare a packed pass with TRL's, once. If they differ on any rank, turn packing off on all ranks.

        With FSDP2 and ZeRO-3, a pass that fails on one rank only ends the run, because each pass gathers weights.
        """
        self._is_checked = True
        ids, mask, kept = check.few_rows(input_ids, attention_mask, logits_to_keep)
        reason, difference = "", inf
        computed_tokens = self._computed_tokens
        with torch.no_grad(), check.inner_modules_in_eval(self.model):
            try:
                packed = self._packed_scores(self.model, ids, mask, kept, None, False)[0]
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
            expected = super()._get_per_token_logps_and_entropies(self.model, ids, mask, kept)[0]
            if not reason:
                is_token = mask[:, -kept:].bool()
                difference = check.relative_difference(expected[is_token], packed[is_token])
        self._computed_tokens = computed_tokens  # the check does not count
        window = sliding_window(base_of(self.model).config)
        if window and window not in self._windows:
            # Attention never got the window that the model has. These rows may be too short to show it.
            self._longest_exact = min(self._longest_exact, window)
        difference = self._max_over_ranks(difference)
        if difference <= check.rounding_of(self._precision()):
            return
        if not reason and difference == inf:
            reason = "a packed pass failed on another rank"
        self._off[PACK] = reason or (
            f"the log-probabilities of a packed pass differ by {difference:.1%} from TRL's"
        )
        if self.accelerator.is_main_process:
            LOG.warning("axolotl-grpo-plugin: speed %s.", self.packed_step)

    def _precision(self) -> torch.dtype:
        """Return the type in which a pass computes."""
        if self.autocast_dtype:
            return self.autocast_dtype
        dtype: torch.dtype = base_of(self.model).dtype
        types = {"bf16": torch.bfloat16, "fp16": torch.float16}
        return types.get(self.accelerator.mixed_precision, dtype)

    def _max_over_ranks(self, value: float) -> float:
        # Two dimensions, because `gathering_rows` pads values of one dimension, and a loss calls this inside of it.
        value_here = torch.tensor([[value]], dtype=torch.float64, device=self.accelerator.device)
        return float(self.accelerator.gather(value_here).max())


def _as_one(passes: Sequence[Batch]) -> Batch:
    """Return a micro-batch of one or several passes."""
    if len(passes) == 1:
        return passes[0]
    whole = joined(passes)
    del whole[REARRANGED]
    whole[PARTS] = [
        SmallPass(rows=len(each["advantages"]), facts=each[REARRANGED]) for each in passes
    ]
    return whole


def _parts_of(batch: Batch) -> list[Batch]:
    """Return the passes of a micro-batch."""
    if PARTS not in batch:
        return [batch]
    passes = []
    start = 0
    for part in batch[PARTS]:
        rows = range(start, start + part["rows"])
        passes.append(selected(batch, rows) | {REARRANGED: part["facts"]})
        del passes[-1][PARTS]
        start += part["rows"]
    return passes


def _in_order(parts: tuple[torch.Tensor, ...], order: list[int], row_count: int) -> torch.Tensor:
    """Return the rows of several passes in the order of the batch. `order` has the index of each row."""
    values = torch.cat(parts)
    result = values.new_zeros(row_count, values.shape[1])
    result[order] = values
    return result
