"""The packed step as a config alone decides it. `axolotl-grpo check` reads this module, so it imports no torch."""

from axolotl_grpo_plugin.config import Config, number_of

LOGITS_PER_CHUNK = 2**25  # the most of one chunk of the head: 128 MiB in float32


def why_other_trainer(cfg: Config) -> str:
    """Return why a run takes a trainer class without the packed step, or ""."""
    if cfg.grpo_packed_step is False:
        return "grpo_packed_step is false"
    if cfg.trainer_cls:
        return f"trainer_cls is {cfg.trainer_cls}"
    if (cfg.context_parallel_size or 1) > 1:
        return "context parallelism cuts rows"
    return ""


def may_pack(cfg: Config) -> bool:
    """Return whether a run packs its passes if its model can be packed. support.py decides that, by the same keys."""
    is_refused = cfg.torch_compile or cfg.processor_type or cfg.batch_flattening
    return not why_other_trainer(cfg) and not is_refused


def why_no_budget(cfg: Config) -> str:
    """Return why `grpo_tokens_per_pass` has no effect in a config, or ""."""
    if reason := why_other_trainer(cfg):
        return reason
    if not may_pack(cfg):
        return "torch_compile, processor_type and batch_flattening keep TRL's passes"
    if cfg.trl.loss_type == "bnpo":
        return "the loss bnpo divides by the tokens of TRL's passes"
    if cfg.trl.use_liger_loss:
        return "Liger computes the loss of TRL's passes (trl.use_liger_loss)"
    for key in ("trl.entropy_coef", "trl.use_adaptive_entropy"):
        if cfg.value_at(key):
            return f"the entropy of a pass is in the loss ({key})"
    if (number_of(cfg.value_at("grpo_trl_args.top_entropy_quantile")) or 1.0) < 1:
        return "the entropy of a pass is in the loss (grpo_trl_args.top_entropy_quantile)"
    return ""
