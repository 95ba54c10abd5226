"""The forward pass of a model on a packed row, and the log-probabilities of its completion tokens.

The pass is an ordinary one: `model(..., packed_layout=layout)` goes through every wrapper of the model, such as DDP,
FSDP2, ZeRO-3, LoRA and gradient checkpointing. A layout travels as a keyword to attention, so that a layer that is
computed again in the backward pass finds it.
"""

from functools import partial
from inspect import signature
from math import ceil
from types import MethodType
from typing import Any

import torch
from peft import PeftModel
from torch.utils.checkpoint import checkpoint
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from axolotl_grpo_plugin.training.packed_step.attention import let_attention_pack, select
from axolotl_grpo_plugin.training.packed_step.layout import Layout
from axolotl_grpo_plugin.training.packed_step.settings import LOGITS_PER_CHUNK


def let_pack(model: PreTrainedModel) -> None:
    """Let a model compute packed rows.

    Without a layout, the model's forward pass is the usual one. With one,
    `model(packed_layout=layout, temperature=..., chunks=..., compute_entropy=..., entropy_grad=...)` returns the
    log-probabilities and entropies of the completions. They are shaped as TRL's `completion_ids`, with 0 for padding.

    Args:
        model: Without its adapter and its wrappers. Its `forward` is replaced.
    """
    usual = model.forward

    def forward(
        self: PreTrainedModel, *args: Any, packed_layout: Layout | None = None, **options: Any
    ) -> Any:
        if packed_layout is None:
            return usual(*args, **options)
        return _packed_forward(self, packed_layout, **options)

    # `generate` reads the names of the model's keywords.
    forward.__signature__ = signature(type(model).forward)  # type: ignore[attr-defined]
    model.forward = MethodType(forward, model)
    let_attention_pack()


def _packed_forward(
    model: PreTrainedModel,
    layout: Layout,
    *,
    temperature: float,
    chunks: int,
    compute_entropy: bool,
    entropy_grad: bool,
    **_: Any,  # of PEFT, all None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the log-probabilities and entropies of the completions, as rows."""
    output = model.base_model(
        input_ids=layout.input_ids,
        position_ids=layout.positions,
        # transformers takes a mask with four dimensions as it is, and would otherwise make one of [tokens, tokens].
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=layout.input_ids.device),
        use_cache=False,
        packed_layout=layout,
    )
    hidden = select(output.last_hidden_state[0], layout.before)
    score = partial(
        token_scores,
        model,
        temperature=temperature,
        compute_entropy=compute_entropy,
        entropy_grad=entropy_grad,
    )
    if chunks > 1 and torch.is_grad_enabled():
        # The backward pass computes the logits again, so that one chunk of them is in memory at a time.
        score = partial(checkpoint, score, use_reentrant=False)
    # Ranks with fewer tokens have empty chunks, because ZeRO-3 gathers the head's weights for each one.
    parts = zip(hidden.tensor_split(chunks), layout.targets.tensor_split(chunks), strict=True)
    log_probabilities, entropies = zip(*[score(*part) for part in parts], strict=True)
    return (
        layout.unpacked(torch.cat(log_probabilities)),
        layout.unpacked(torch.cat(entropies)) if compute_entropy else None,
    )


def token_scores(
    model: PreTrainedModel,
    hidden: torch.Tensor,
    targets: torch.Tensor,
    *,
    temperature: float,
    compute_entropy: bool,
    entropy_grad: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the log-probability of each target, and the entropy of its distribution, in float32.

    Args:
        model: Its output embeddings give the logits.
        hidden: The last hidden state of the token before each target, shaped [targets, width].
        targets: Token ids, shaped [targets].
        temperature: Divides the logits.
        compute_entropy: Whether anything reads the entropy. Without it, the entropy is None.
        entropy_grad: Whether the entropy has a gradient.
    """
    logits = model.get_output_embeddings()(hidden).float() * _logit_scale(model.config)
    if limit := getattr(model.config.get_text_config(), "final_logit_softcapping", None):
        logits = limit * torch.tanh(logits / limit)
    logits = logits / temperature
    normalizer = logits.logsumexp(dim=1)
    log_probabilities = logits.gather(1, targets[:, None])[:, 0] - normalizer
    if not compute_entropy:
        return log_probabilities, None
    with torch.set_grad_enabled(torch.is_grad_enabled() and entropy_grad):
        entropies = normalizer - (logits.softmax(dim=1) * logits).sum(dim=1)
    return log_probabilities, entropies


def chunks_of(tokens: int, model: PreTrainedModel) -> int:
    """Return the number of chunks for the log-probabilities of so many tokens."""
    vocabulary: int = model.config.get_text_config().vocab_size
    return max(ceil(tokens * vocabulary / LOGITS_PER_CHUNK), 1)


def _logit_scale(config: PreTrainedConfig) -> float:
    """Return the factor by which a model multiplies its logits. Families have different names for it.

    Add the name of a new family here. The check before the first update finds a missing one.
    """
    text = config.get_text_config()
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        scale = getattr(text, name, None)
        if scale is not None:
            return float(scale)
    scaling = getattr(text, "logits_scaling", None)
    if scaling is None:
        return 1.0
    return float(scaling) if text.model_type == "hyperclovax" else 1 / scaling


# Facts of a model.


def base_of(model: Any) -> PreTrainedModel:
    """Return a model without its adapter, whose modules stay in the model's layers."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


def longest_row(config: PreTrainedConfig) -> int | None:
    """Return the longest padded row that packs exactly, None for any.

    Beyond it, rotary embeddings depend on the longest row of a pass, or attention is cut into chunks.
    """
    text = config.get_text_config()
    limits = []
    parameters = getattr(text, "rope_parameters", None) or {}
    for rope in (parameters, *parameters.values()):  # one per type of layer, in some families
        if isinstance(rope, dict) and rope.get("rope_type") in ("dynamic", "longrope"):
            original = rope.get("original_max_position_embeddings")
            limits.append(original or text.max_position_embeddings)
    if chunk := getattr(text, "attention_chunk_size", None):
        limits.append(chunk)
    return min(limits, default=None)


def has_attention_only(config: PreTrainedConfig) -> bool:
    """Return whether all layers attend. Others, such as recurrent ones, read the tokens of a row one by one."""
    layers = DynamicCache(config=config).layers
    known = (DynamicLayer, DynamicSlidingWindowLayer)
    return bool(layers) and all(type(layer) in known for layer in layers)


def sliding_window(config: PreTrainedConfig) -> int | None:
    """Return the window of a model's sliding layers, None without such layers."""
    for layer in DynamicCache(config=config).layers:
        if isinstance(layer, DynamicSlidingWindowLayer):
            window: int = layer.sliding_window
            return window
    return None


def has_dropout(model: torch.nn.Module) -> bool:
    """Return whether two passes of a model in training draw different random numbers."""
    for module in model.modules():
        is_dropout = isinstance(module, torch.nn.Dropout) and module.p > 0
        if is_dropout or (getattr(module, "attention_dropout", 0) or 0) > 0:
            return True
    return False
