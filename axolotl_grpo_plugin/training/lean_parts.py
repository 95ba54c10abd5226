"""Decide which parts of the lean step are on for a trainer, and say why another one is off."""

from itertools import groupby

from transformers.integrations import is_deepspeed_zero3_enabled
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.training.shared_prompts import cannot_share

TRIM, SORT, SKIP, SHARE = PARTS = ("trim", "sort", "skip", "share")

PER_ROW = ("grpo", "sapo", "luspo", "dr_grpo")  # losses that TRL divides by the rows of a pass
PER_TOKEN = ("dapo", "cispo", "vespo")  # and by the tokens of a generation batch
BY_PASS = "bnpo"  # and by the tokens of a pass

_KEYS = {
    TRIM: "grpo_trim_padding",
    SORT: "grpo_trim_padding",
    SKIP: "grpo_skip_zero_advantage",
    SHARE: "grpo_share_prompts",
}


def parts_off(
    trainer: GRPOTrainer,
    cfg: Config,
) -> dict[str, str]:
    """Return the reason for each part that is off."""
    off = {}
    for part in PARTS:
        key = _KEYS[part]
        if cfg.get(key) is False:
            off[part] = f"{key} is false"
        elif reason := _not_exact(part, trainer):
            off[part] = reason
        elif not cfg.get(key) and (where := _never_ran(part, trainer)):
            off[part] = f"it has not run with {where} ({key}: true tries it)"
    return off


def summary(off: dict[str, str]) -> str:
    """Return the parts that are on, and why others are off."""
    on = [part for part in PARTS if part not in off]
    texts = [", ".join(on)] if on else []
    # Parts with the same reason follow each other, and share one text.
    for reason, parts in groupby(sorted(off, key=off.__getitem__), off.__getitem__):
        texts.append(f"no {' and '.join(parts)}: {reason}")
    return "; ".join(texts)


def _not_exact(
    part: str,
    trainer: GRPOTrainer,
) -> str:
    """Return why a part would change the gradient, or the passes too much, or ""."""
    if getattr(trainer, "data_producer", None):
        return "the data producer makes its own micro-batches"
    if trainer._is_vlm:
        return "the model takes images"
    if trainer.args.torch_compile and not trainer.pad_to_multiple_of:
        return "torch_compile would compile for each width"
    if part == TRIM:
        return ""
    if trainer.aux_loss_enabled:
        return "the auxiliary loss of a pass is in the loss"
    if part == SHARE:
        return _not_shared(trainer)
    if trainer._entropy_bonus_enabled or trainer.top_entropy_quantile < 1:
        return "the entropy of a pass is in the loss"
    if part == SORT and trainer.loss_type == BY_PASS:
        return "bnpo divides by the tokens of a pass"
    if trainer.loss_type not in (*PER_ROW, *PER_TOKEN, BY_PASS):
        return f"the loss {trainer.loss_type} is unknown"
    return ""


def _not_shared(trainer: GRPOTrainer) -> str:
    if trainer.use_liger_kernel:
        return "Liger reads the hidden states"
    if trainer.args.torch_compile or "logits_to_keep" not in trainer.model_kwarg_keys:
        return "the passes of this model cannot be divided"
    # transformers may turn it on only when the training starts.
    if trainer.args.gradient_checkpointing or trainer.model.is_gradient_checkpointing:
        return "gradient checkpointing keeps no cache"
    return cannot_share(trainer.model)


def _never_ran(part: str, trainer: GRPOTrainer) -> str:
    """Return the setting with which a part never ran here, or ""."""
    if part in (TRIM, SORT):
        return ""
    if trainer.is_fsdp_enabled or is_deepspeed_zero3_enabled():
        return "ZeRO-3 or FSDP"
    attention: str = trainer.model.config._attn_implementation
    if part == SHARE and attention not in ("eager", "sdpa"):
        return attention
    return ""
