"""The forward pass of a model on a packed row, and the log-probabilities of its completion tokens.

The pass is an ordinary one: `model(..., packed_layout=layout)` goes through every wrapper of the model, such as DDP,
FSDP2, ZeRO-3, LoRA and gradient checkpointing. Only attention knows rows. A layout travels as a keyword to attention,
so that a layer that is computed again in the backward pass finds it.
"""

from collections.abc import Callable
from functools import partial
from inspect import signature
from math import ceil
from types import MethodType
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import AttentionInterface, PreTrainedConfig, PreTrainedModel

from axolotl_grpo_plugin.training.packed_step.layout import Layout
from axolotl_grpo_plugin.training.packed_step.settings import LOGITS

type Attention = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]


def let_pack(model: PreTrainedModel) -> None:
    """Let a model compute packed rows.

    `model(..., packed_layout=layout, temperature=..., chunks=...)` returns what `token_scores` returns. Without a
    layout, the model's forward pass is the usual one.

    Args:
        model: Without its adapter and its wrappers. Its `forward` is replaced.
    """
    usual = model.forward

    def forward(
        self: PreTrainedModel, *args: Any, packed_layout: Layout | None = None, **options: Any
    ) -> Any:
        if packed_layout is None:
            return usual(*args, **options)
        # PEFT adds keywords of its own, which are None.
        names = ("temperature", "chunks", "entropy_grad")
        return _packed_forward(self, packed_layout, **{name: options[name] for name in names})

    # `generate` reads the names of the model's keywords.
    forward.__signature__ = signature(type(model).forward)  # type: ignore[attr-defined]
    model.forward = MethodType(forward, model)
    _let_attention_pack()


def chunks_of(tokens: int, model: PreTrainedModel) -> int:
    """Return the number of chunks for the log-probabilities of so many tokens."""
    vocabulary: int = model.config.get_text_config().vocab_size
    return max(ceil(tokens * vocabulary / LOGITS), 1)


def _packed_forward(
    model: PreTrainedModel, layout: Layout, temperature: float, chunks: int, entropy_grad: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    output = model.base_model(
        input_ids=layout.input_ids,
        position_ids=layout.positions,
        # transformers takes a mask with four dimensions as it is, and would otherwise make one of [tokens, tokens].
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=layout.input_ids.device),
        use_cache=False,
        packed_layout=layout,
    )
    hidden = _taken(output.last_hidden_state[0], layout.before)
    score = partial(token_scores, model, temperature=temperature, entropy_grad=entropy_grad)
    if chunks > 1 and torch.is_grad_enabled():
        # The backward pass computes the logits again, so that one chunk of them is in memory at a time.
        score = partial(checkpoint, score, use_reentrant=False)
    # Ranks with fewer tokens have empty chunks, because ZeRO-3 gathers the head's weights for each one.
    parts = zip(hidden.tensor_split(chunks), layout.targets.tensor_split(chunks), strict=True)
    scores = [score(*part) for part in parts]
    log_probabilities, entropies = (torch.cat(values) for values in zip(*scores, strict=True))
    return layout.unpacked(log_probabilities), layout.unpacked(entropies)


def token_scores(
    model: PreTrainedModel,
    hidden: torch.Tensor,
    targets: torch.Tensor,
    *,
    temperature: float,
    entropy_grad: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probability of each target, and the entropy of its distribution, in float32.

    Args:
        model: Its output embeddings give the logits.
        hidden: The last hidden state of the token before each target, shaped [targets, width].
        targets: Token ids, shaped [targets].
        temperature: Divides the logits.
        entropy_grad: Whether the entropy has a gradient.
    """
    logits = model.get_output_embeddings()(hidden).float() * _logit_scale(model.config)
    if limit := getattr(model.config.get_text_config(), "final_logit_softcapping", None):
        logits = limit * torch.tanh(logits / limit)
    logits = logits / temperature
    normalizer = logits.logsumexp(dim=1)
    log_probabilities = logits.gather(1, targets[:, None])[:, 0] - normalizer
    with torch.set_grad_enabled(torch.is_grad_enabled() and entropy_grad):
        entropies = normalizer - (logits.softmax(dim=1) * logits).sum(dim=1)
    return log_probabilities, entropies


def _logit_scale(config: PreTrainedConfig) -> float:
    """Return the factor by which a model multiplies its logits. Families have different names for it."""
    text = config.get_text_config()
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        scale = getattr(text, name, None)
        if scale is not None:
            return float(scale)
    scaling = getattr(text, "logits_scaling", None)
    if scaling is None:
        return 1.0
    return float(scaling) if text.model_type == "hyperclovax" else 1 / scaling


def _let_attention_pack() -> None:
    """Let every attention function of transformers attend within the rows of a layout, if it gets one.

    The name of the function stays in the config, because a layer that is computed again in the backward pass, the
    generation and the masks read it there.
    """
    given = AttentionInterface.get_interface
    if getattr(given, "packs", False):
        return

    def get_interface(
        self: AttentionInterface, attn_implementation: str, default: Attention
    ) -> Attention:
        usual = given(self, attn_implementation, default)
        return partial(_attend, self, attn_implementation, usual)

    get_interface.packs = True  # type: ignore[attr-defined]
    AttentionInterface.get_interface = get_interface


def _attend(
    interface: AttentionInterface,
    name: str,
    usual: Attention,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    packed_layout: Layout | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attend as usual, or within each row of a layout.

    Args:
        interface: Has the attention functions of transformers.
        name: The name of the usual function.
        usual: Called with the tokens of a tile and their mask.
        module: The attention layer.
        query: Shaped [1, heads, tokens, width], as `key` and `value` are.
        key: May have fewer heads.
        value: May have fewer heads.
        attention_mask: Unused with a layout.
        packed_layout: Has the rows.
        options: Such as `scaling`, `dropout`, and `sliding_window`.
    """
    if packed_layout is None:
        return usual(module, query, key, value, attention_mask, **options)
    if name not in ("eager", "sdpa"):
        if options.get("softcap") or options.get("s_aux") is not None:
            raise ValueError(f"{name} with soft-capping or attention sinks takes no packed rows")
        usual = interface["sdpa"]  # others, such as flash attention, take no mask
    window = options.get("sliding_window")
    if window is not None:
        packed_layout.windows.add(window)
    outputs = []
    for number, tile in enumerate(packed_layout.tiles):
        mask = None
        # Without a mask, sdpa is causal by itself, and faster.
        if usual is not interface["sdpa"] or not tile.is_causal or window is not None:
            mask = packed_layout.mask(number, window)
            if name == "eager":
                lowest = torch.finfo(query.dtype).min
                mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, lowest)
        rows, _ = usual(
            module,
            _rows(query, tile.queries),
            _rows(key, tile.keys),
            _rows(value, tile.keys),
            mask,
            **options,
        )
        outputs.append(rows[tile.is_query])
    return torch.cat(outputs)[None], None


def _rows(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return tokens of a packed row as rows, shaped [rows, heads, tokens, width].

    Args:
        values: The packed row, shaped [1, heads, tokens, width].
        indices: Shaped [rows, tokens].
    """
    taken = _taken(values[0].transpose(0, 1), indices.flatten())
    return taken.view(*indices.shape, *taken.shape[1:]).transpose(1, 2)


def _taken(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return entries of the first dimension."""
    taken: torch.Tensor = _Taken.apply(values, indices)  # type: ignore[no-untyped-call]
    return taken


class _Taken(torch.autograd.Function):
    """Select entries of the first dimension. Their gradients add up in float32.

    All completions of a prompt add to its gradient, and a GPU would round each addition to bfloat16.
    """

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(indices)
        ctx.shape = values.shape
        return values.index_select(0, indices)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = gradients
        (indices,) = ctx.saved_tensors
        total = gradient.new_zeros(ctx.shape, dtype=torch.float32)
        return total.index_add_(0, indices, gradient.float()).to(gradient.dtype), None
