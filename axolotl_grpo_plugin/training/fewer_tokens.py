"""A loop for transformers' `generate` that computes fewer tokens.

It reads each distinct prompt once, and rows that have ended leave the running batch. transformers' own loop reads a
prompt once per completion, and goes on to compute rows that have ended.
"""

from typing import Any

import torch
from transformers import (
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from transformers.generation.utils import GENERATION_MODES_MAPPING
from transformers.integrations import is_deepspeed_zero3_enabled, is_fsdp_managed_module

from axolotl_grpo_plugin.training.rows import distinct_rows


class RowProcessor(LogitsProcessor):
    """A logits processor with a state for each row of the batch."""

    def keep(self, rows: torch.Tensor) -> None:
        """Forget all rows of the batch but those with these indices, which ascend."""


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
    transformers' own loop. Sampled ones have the same law, but other random numbers. transformers' own loop runs
    for beam search, guidance, images, caches that cannot select rows, and ranks that must compute equally many steps.

    transformers loses the tokenizer of `stop_strings` on the way to such a loop. Pass `StopStringCriteria`.
    """
    # transformers finds this out for its own loop, and does not pass it to others.
    synced = is_deepspeed_zero3_enabled() or is_fsdp_managed_module(model)
    loop = getattr(model, GENERATION_MODES_MAPPING[generation_config.get_generation_mode()])
    # Their processors keep a state per row, of which only transformers knows.
    stateful = generation_config.guidance_scale or generation_config.watermarking_config
    can_select = _can_select(inputs, input_ids.shape)
    if synced or stateful or loop != model._sample or not can_select:
        completed: torch.Tensor = loop(
            input_ids, logits_processor, stopping_criteria, generation_config, synced, **inputs
        )
        return completed
    # The same tokens may be masked differently, so they are not all that makes a prompt.
    whole = torch.cat([input_ids, *filter(torch.is_tensor, inputs.values())], dim=1)
    examples, prompts = distinct_rows(whole)
    indices = torch.arange(len(input_ids), device=input_ids.device)  # of the running rows
    _select(inputs, examples)
    output = model._prefill(input_ids[examples], generation_config, inputs)
    inputs = model._update_model_kwargs_for_generation(output, inputs)
    _select(inputs, prompts)
    logits = output.logits[:, -1][prompts]
    running = input_ids
    sequences = input_ids.new_full(
        (len(input_ids), generation_config.max_length), generation_config.pad_token_id
    )
    with model._optimize_model_for_decode():
        while True:
            scores = logits_processor(running, logits.float())
            if generation_config.do_sample:
                tokens = torch.multinomial(scores.softmax(-1), 1)
            else:
                tokens = scores.argmax(-1, keepdim=True)
            running = torch.cat([running, tokens], dim=1)
            ended = stopping_criteria(running, None)
            left = (~ended).nonzero().squeeze(1)
            if len(left) < len(running):
                width = running.shape[1]
                sequences[indices[ended], :width] = running[ended]
                if len(left) == 0:
                    return sequences[:, :width]
                indices = indices[left]
                running = running[left]
                _select(inputs, left)
                for processor in logits_processor:
                    if isinstance(processor, RowProcessor):
                        processor.keep(left)
            step = model.prepare_inputs_for_generation(running, next_sequence_length=1, **inputs)
            output = model(**step, return_dict=True)
            inputs = model._update_model_kwargs_for_generation(output, inputs)
            logits = output.logits[:, -1]


def _can_select(inputs: dict[str, Any], shape: torch.Size) -> bool:
    """Return whether rows of the inputs can be selected. `shape` is that of the prompts."""
    for value in filter(torch.is_tensor, inputs.values()):
        if value.shape != shape:  # images, or positions of several dimensions
            return False
    cache: Any = inputs.get("past_key_values")
    layers = getattr(cache, "layers", [])  # a cache of encoder and decoder has none of its own
    if not layers or cache.offloading:  # offloaded layers may be on their way to the CPU
        return False
    return all(_selects_all(type(layer)) for layer in layers)


def _selects_all(layer: type) -> bool:
    """Return whether a cache layer's `batch_select_indices` selects all of its states.

    A class with states of its own overrides `reorder_cache`, for beam search. Some such classes inherit a
    `batch_select_indices` that knows only their parent's states.
    """
    for kind in layer.__mro__:
        if "batch_select_indices" in vars(kind):
            return True
        if "reorder_cache" in vars(kind):
            return False
    return False


def _select(inputs: dict[str, Any], rows: torch.Tensor) -> None:
    """Select rows of the inputs and of the cache, in place."""
    # From the CPU, because the layers of a model may lie on several GPUs.
    inputs["past_key_values"].batch_select_indices(rows.cpu())
    for name, value in inputs.items():
        if torch.is_tensor(value):
            inputs[name] = value[rows]
