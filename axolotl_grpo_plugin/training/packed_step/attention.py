"""Attention within the rows of a packed row. It is the only part of a model that knows rows."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import AttentionInterface

from axolotl_grpo_plugin.training.packed_step.layout import Layout

type Attention = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]


def let_attention_pack() -> None:
    """Let every attention function of transformers attend within the rows of a layout, if it gets one.

    This is for the whole process, and stays. Without a layout, attention is as before. The name of the function stays
    in the config, because a layer that is computed again in the backward pass, the generation and the masks read it.
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

    Raises:
        ValueError: If the usual function takes no mask, and sdpa cannot stand in. The check before the first update
            meets it, and turns packing off.
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
        output, _ = usual(
            module,
            _as_rows(query, tile.queries),
            _as_rows(key, tile.keys),
            _as_rows(value, tile.keys),
            mask,
            **options,
        )
        outputs.append(output.flatten(0, 1)[tile.query_entries])
    return torch.cat(outputs)[None], None


def _as_rows(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return tokens of a packed row as rows, shaped [rows, heads, tokens, width].

    Args:
        values: The packed row, shaped [1, heads, tokens, width].
        indices: Shaped [rows, tokens].
    """
    chosen = select(values[0].transpose(0, 1), indices.flatten())
    return chosen.view(*indices.shape, *chosen.shape[1:]).transpose(1, 2)


def select(values: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return entries of the first dimension. Their gradients add up in float32."""
    chosen: torch.Tensor = _Select.apply(values, indices)  # type: ignore[no-untyped-call]
    return chosen


class _Select(torch.autograd.Function):
    """Select entries. All completions of a prompt add to its gradient, and a GPU would round each to bfloat16."""

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
