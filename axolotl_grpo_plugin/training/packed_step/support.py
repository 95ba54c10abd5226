"""Decide which parts of the packed step are on for a trainer, and say why another one is off."""

from trl import GRPOTrainer

from axolotl_grpo_plugin.training.packed_step.losses import (
    BY_GENERATED_TOKENS,
    BY_PASS_TOKENS,
    BY_ROWS,
)
from axolotl_grpo_plugin.training.packed_step.model import base_of, has_attention_only

# The names of the parts, as a user reads them. "skip" is the whole rearranging: without it, no row is left out, and
# none is dealt to another pass.
PACK, REARRANGE = "pack", "skip"


def parts_off(trainer: GRPOTrainer) -> dict[str, str]:
    """Return the reason for each part that is off."""
    off = {}
    if reason := _why_not_pack(trainer):
        off[PACK] = reason
    if reason := _why_not_rearrange(trainer):
        off[REARRANGE] = reason
    return off


def summary(off: dict[str, str]) -> str:
    """Return the parts that are on, and why others are off."""
    on = [part for part in (PACK, REARRANGE) if part not in off]
    reasons = [f"no {part}: {reason}" for part, reason in off.items()]
    if len(off) == 2 and len(set(off.values())) == 1:
        reasons = [f"TRL's own step: {off[PACK]}"]
    return "; ".join([", ".join(on), *reasons] if on else reasons)


# Each of these functions returns a reason, or "" without one.


def _why_not_pack(trainer: GRPOTrainer) -> str:
    """Return why no pass can be packed. Keep it in step with `may_pack` of settings.py."""
    if reason := _why_trls_step(trainer):
        return reason
    if trainer.args.torch_compile:
        return "torch_compile would compile for each length"
    if trainer.args.use_liger_kernel:
        return "Liger computes log-probabilities by itself"
    if not has_attention_only(base_of(trainer.model).config):
        return "the model has layers without attention"
    return ""


def _why_not_rearrange(trainer: GRPOTrainer) -> str:
    """Return why all rows stay in TRL's passes."""
    if reason := _why_trls_step(trainer):
        return reason
    if trainer._entropy_bonus_enabled or trainer.top_entropy_quantile < 1:
        return "the entropy of a pass is in the loss"
    if trainer.loss_type not in (*BY_ROWS, *BY_GENERATED_TOKENS, *BY_PASS_TOKENS):
        return f"the loss {trainer.loss_type} is unknown"
    return ""


def _why_trls_step(trainer: GRPOTrainer) -> str:
    """Return why both parts are off. Keep it in step with `may_pack` of settings.py."""
    if trainer._is_vlm:
        return "the model takes images"
    if trainer.aux_loss_enabled:
        return "the auxiliary loss of a pass is in the loss"
    if getattr(trainer.args, "batch_flattening", False):
        return "batch_flattening leaves out padding by itself"
    return ""
