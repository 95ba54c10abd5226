"""A loop for transformers' `generate` that computes fewer tokens.

It reads each distinct prompt once, and rows that have ended leave the running batch. transformers' own loop reads a
prompt once per completion, and computes ended rows until the longest has ended.
"""

from abc import abstractmethod
from typing import Any

import torch
from transformers import (
    Cache,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from transformers.generation.utils import GENERATION_MODES_MAPPING
from transformers.integrations import is_deepspeed_zero3_enabled, is_fsdp_managed_module

_OWN_LOOP = "_sample"  # of transformers, greedy or not


class RowProcessor(LogitsProcessor):
    """A logits processor with a state for each row of the batch."""

    @abstractmethod
    def keep(self, rows: torch.Tensor) -> None:
        """Forget all rows but these. They are places in the current batch, in ascending order."""


def generate_fewer_tokens(
    model: GenerationMixin,
    input_ids: torch.Tensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    **inputs: Any,
) -> torch.Tensor:
    """Return prompts with their completions, shaped [rows, tokens], as transformers' own loop does.

    Use it by `model.generate(..., custom_generate=generate_fewer_tokens)`. Greedy completions are those of
    transformers' own loop. Sampled ones have the same law, but other random numbers. Beam search, caches that
    cannot select rows, images, and ranks that must compute equally many steps get transformers' own loop.

    transformers does not pass `stop_strings` with their tokenizer to a loop like this one. Pass
    `StopStringCriteria` in their place.
    """
    # transformers computes it for its own loop, and passes it to no other.
    synced = is_deepspeed_zero3_enabled() or is_fsdp_managed_module(model)
    loop = GENERATION_MODES_MAPPING[generation_config.get_generation_mode()]
    if synced or loop != _OWN_LOOP or not _can_leave(input_ids, inputs):
        return getattr(model, loop)(
            input_ids,
            logits_processor=logits_processor,
            stopping_criteria=stopping_criteria,
            generation_config=generation_config,
            synced_gpus=synced,
            **inputs,
        )
    shape = (len(input_ids), generation_config.max_length)
    sequences = input_ids.new_full(shape, generation_config.pad_token_id)
    rows = torch.arange(len(input_ids), device=input_ids.device)  # of `sequences` that still run
    running = input_ids
    logits, inputs = _read_prompts(model, running, generation_config, inputs)
    with model._optimize_model_for_decode():
        while True:
            scores = logits_processor(running, logits)
            if generation_config.do_sample:
                tokens = torch.multinomial(scores.softmax(dim=-1), num_samples=1)
            else:
                tokens = scores.argmax(dim=-1, keepdim=True)
            running = torch.cat([running, tokens], dim=1)
            width = running.shape[1]
            ended = stopping_criteria(running, None)
            left = (~ended).nonzero().squeeze(1)
            if len(left) < len(running):
                sequences[rows[ended], :width] = running[ended]
                if len(left) == 0:
                    return sequences[:, :width]
                rows, running = rows[left], running[left]
                inputs = _selected(inputs, left)
                _select_cache(inputs["past_key_values"], left)
                for processor in logits_processor:
                    if isinstance(processor, RowProcessor):
                        processor.keep(left)
            step = model.prepare_inputs_for_generation(running, next_sequence_length=1, **inputs)
            output = model(**step, return_dict=True)
            inputs = model._update_model_kwargs_for_generation(output, inputs)
            logits = _last_logits(output, running)


def _read_prompts(
    model: GenerationMixin,
    input_ids: torch.Tensor,
    generation_config: GenerationConfig,
    inputs: dict[str, Any],
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Compute each distinct prompt once. Return the last logits and the next inputs of all rows."""
    tensors = [value for value in inputs.values() if isinstance(value, torch.Tensor)]
    whole = torch.cat([input_ids, *tensors], dim=1)  # equal tokens may differ in padding
    distinct, prompts = torch.unique(whole, dim=0, return_inverse=True)
    rows = torch.arange(len(prompts), device=prompts.device)
    first = rows.new_zeros(len(distinct)).scatter(0, prompts, rows)  # some row of each prompt
    output = model._prefill(input_ids[first], generation_config, _selected(inputs, first))
    inputs = model._update_model_kwargs_for_generation(output, inputs)
    _select_cache(inputs["past_key_values"], prompts)
    return _last_logits(output, input_ids)[prompts], inputs


def _last_logits(output: Any, input_ids: torch.Tensor) -> torch.Tensor:
    """Return the logits of the next tokens. A copy frees the memory of all others."""
    return output.logits[:, -1].to(copy=True, dtype=torch.float32, device=input_ids.device)


def _selected(inputs: dict[str, Any], rows: torch.Tensor) -> dict[str, Any]:
    """Return the inputs of some rows. The cache is not selected."""
    selected = dict(inputs)
    for name, value in inputs.items():
        if isinstance(value, torch.Tensor):
            selected[name] = value[rows]
    return selected


def _select_cache(cache: Cache, rows: torch.Tensor) -> None:
    for layer in cache.layers:
        if layer.is_initialized:
            layer.batch_select_indices(rows.to(layer.device))  # a model may lie on several GPUs


def _can_leave(input_ids: torch.Tensor, inputs: dict[str, Any]) -> bool:
    """Return whether rows can leave the batch: the inputs are per token, and the cache can select rows."""
    for value in inputs.values():
        if isinstance(value, torch.Tensor) and value.shape != input_ids.shape:
            return False  # images, or positions in more than one dimension
    cache = inputs.get("past_key_values")
    layers = getattr(cache, "layers", [])  # a cache of encoder and decoder has none of its own
    if not layers or cache.offloading:  # offloaded layers may still be on their way to the CPU
        return False
    return all(_can_select_rows(type(layer)) for layer in layers)


def _can_select_rows(layer: type) -> bool:
    """Return whether a cache layer's `batch_select_indices` selects all of its states.

    A class whose states differ from its parent's reorders them in its own way, for beam search. Some such classes
    inherit a `batch_select_indices` that knows only the parent's states.
    """
    for kind in layer.__mro__:
        if "batch_select_indices" in vars(kind):
            return True
        if "reorder_cache" in vars(kind):
            return False
    return False
