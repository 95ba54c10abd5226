"""Check that dynamic sampling fits the rest of a raw config."""

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, fault, nearest
from axolotl_grpo_plugin.load import reward_refs

KEY = "grpo_dynamic_sampling"


def check_dynamic_sampling(cfg: Config) -> Findings:
    """Check that groups can be replaced: after their scores are known, and without changing other groups."""
    chosen = cfg.grpo_dynamic_sampling_reward
    if not cfg.grpo_dynamic_sampling:
        for key in (f"{KEY}_rounds", f"{KEY}_reward"):
            if cfg.value_at(key):
                yield fault(
                    "sampling-off",
                    key,
                    "dynamic sampling is off",
                    f"Set {KEY}: true, or remove the key",
                )
        return
    keys = [reward.key for reward in reward_refs(cfg)]
    if chosen and chosen not in keys:
        yield fault(
            "unknown-reward",
            f"{KEY}_reward ({chosen})",
            "trl.reward_funcs names no such reward",
            nearest(chosen, keys),
        )
    setting, fix = "", f"Remove {KEY}, or set rl: grpo with sum_then_normalize"
    if cfg.rl == "gdpo" or cfg.trl.multi_objective_aggregation == "normalize_then_sum":
        setting = "rl: gdpo or normalize_then_sum"
    elif cfg.trl.scale_rewards == "batch":
        setting, fix = "trl.scale_rewards: batch", f"Remove {KEY}, or set trl.scale_rewards: group"
    if setting:
        yield fault(
            "whole-batch",
            KEY,
            f"with {setting}, advantages depend on the whole batch, so a group cannot be replaced alone",
            fix,
        )
    if cfg.trl.async_prefetch:
        yield fault(
            "scored-too-late",
            KEY,
            "with trl.async_prefetch, Axolotl generates before it scores, so it is too late to replace a group",
            f"Remove {KEY}, or use trl.use_data_producer without trl.async_prefetch",
        )
    elif cfg.nemo_gym_enabled:
        yield fault(
            "scored-elsewhere",
            KEY,
            "NeMo Gym generates and scores by itself, so the plugin cannot add rounds",
            f"Remove {KEY}",
        )
