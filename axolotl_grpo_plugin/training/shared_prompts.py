"""Compute each distinct prompt of a micro-batch once. The completions of a prompt group share it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from axolotl_grpo_plugin.generation.fewer_tokens import distinct_rows


def cannot_share(model: PreTrainedModel) -> str:
    """Return why the completions of a model cannot share their prompt, or ""."""
    # Other layers, such as those with a sliding window, forget a part of the prompt.
    layers = DynamicCache(config=_base(model).config).layers
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        return "the model's cache is not one of full attention"
    return ""


@contextmanager
def sharing_prompts(model: PreTrainedModel) -> Iterator[None]:
    """Let the forward passes of a model compute each distinct prompt once, with the same gradient."""
    base = _base(model)
    with patch.object(base, "forward", partial(_forward, base.forward, base.config)):
        yield


def _base(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model without its adapter, whose modules stay in the model's layers."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def _forward(
    forward: Callable[..., Any],
    config: PreTrainedConfig,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    logits_to_keep: int,
    **more: Any,
) -> Any:
    """Return the output of a forward pass of prompts and completions.

    logits_to_keep: those of the completions, and of the last token of the prompt.
    """
    start = input_ids.shape[1] - logits_to_keep + 1  # of the completions
    prompts = input_ids[:, :start]
    masks = attention_mask[:, :start]
    # The same tokens may be masked differently.
    first, groups = distinct_rows(torch.cat([prompts, masks], dim=1))
    if len(first) == len(groups):
        more["logits_to_keep"] = logits_to_keep
        return forward(input_ids=input_ids, attention_mask=attention_mask, **more)
    cache = DynamicCache(config=config)
    more |= {"past_key_values": cache, "use_cache": True}
    prompt = forward(
        input_ids=prompts[first], attention_mask=masks[first], logits_to_keep=1, **more
    )
    if cache.get_seq_length() != start:
        raise RuntimeError(
            "axolotl-grpo-plugin: the model does not fill its cache, so completions cannot share their prompt. "
            "Set grpo_share_prompts: false."
        )
    cache.batch_select_indices(groups)
    output = forward(input_ids=input_ids[:, start:], attention_mask=attention_mask, **more)
    output.logits = torch.cat([prompt.logits[groups], output.logits], dim=1)
    return output
