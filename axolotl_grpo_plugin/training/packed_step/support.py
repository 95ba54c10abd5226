"""Decide which parts of the packed step are on for a trainer, and say why another one is off."""

from typing import Any

import torch
from peft import PeftModel
from transformers import DynamicCache, PreTrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer
from trl import GRPOTrainer

PACK, SKIP = "pack", "skip"

PER_ROW = ("grpo", "sapo", "luspo", "dr_grpo")  # losses that TRL divides by the rows of a pass
PER_TOKEN = ("dapo", "cispo", "vespo")  # and by the tokens of a generation batch
PER_PASS = "bnpo"  # and by the tokens of a pass

# The relative difference of log-probabilities that rounding may make. For SmolLM2-135M it is 7e-6, 0.004 and 0.019.
# Deeper models may have more.
ROUNDING = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.2}


def parts_off(trainer: GRPOTrainer) -> dict[str, str]:
    """Return the reason for each part that is off."""
    off = {}
    if reason := _cannot_pack(trainer):
        off[PACK] = reason
    if reason := _cannot_skip(trainer):
        off[SKIP] = reason
    return off


def summary(off: dict[str, str]) -> str:
    """Return the parts that are on, and why others are off."""
    on = [part for part in (PACK, SKIP) if part not in off]
    reasons = [f"no {part}: {reason}" for part, reason in off.items()]
    if len(off) == 2 and len(set(off.values())) == 1:
        reasons = [f"TRL's own step: {off[PACK]}"]
    return "; ".join([", ".join(on), *reasons] if on else reasons)


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


def sliding_window(config: PreTrainedConfig) -> int | None:
    """Return the window of a model's sliding layers, None without such layers."""
    for layer in DynamicCache(config=config).layers:
        if isinstance(layer, DynamicSlidingWindowLayer):
            window: int = layer.sliding_window
            return window
    return None


def rounding_of(dtype: torch.dtype) -> float:
    """Return the relative difference that rounding may make to log-probabilities."""
    return ROUNDING.get(dtype, ROUNDING[torch.bfloat16])


def has_dropout(model: torch.nn.Module) -> bool:
    """Return whether two passes of a model in training draw different random numbers."""
    for module in model.modules():
        is_dropout = isinstance(module, torch.nn.Dropout) and module.p > 0
        if is_dropout or (getattr(module, "attention_dropout", 0) or 0) > 0:
            return True
    return False


def _cannot_pack(trainer: GRPOTrainer) -> str:
    """Return why no pass of a trainer can be packed, or ""."""
    if reason := _own_step(trainer):
        return reason
    if trainer.args.torch_compile:
        return "torch_compile would compile for each length"
    if trainer.args.use_liger_kernel:
        return "Liger computes log-probabilities by itself"
    # Other layers, such as recurrent ones, read the tokens of a row one after the other.
    layers = DynamicCache(config=base_of(trainer.model).config).layers
    if not layers or any(
        type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers
    ):
        return "the model has layers without attention"
    return ""


def _cannot_skip(trainer: GRPOTrainer) -> str:
    """Return why completions without gradient stay in the passes, or ""."""
    if reason := _own_step(trainer):
        return reason
    if trainer._entropy_bonus_enabled or trainer.top_entropy_quantile < 1:
        return "the entropy of a pass is in the loss"
    if trainer.loss_type not in (*PER_ROW, *PER_TOKEN, PER_PASS):
        return f"the loss {trainer.loss_type} is unknown"
    return ""


def _own_step(trainer: GRPOTrainer) -> str:
    """Return why a trainer takes TRL's own step, or ""."""
    if trainer._is_vlm:
        return "the model takes images"
    if trainer.aux_loss_enabled:
        return "the auxiliary loss of a pass is in the loss"
    if getattr(trainer.args, "batch_flattening", False):
        return "batch_flattening leaves out padding by itself"
    return ""
