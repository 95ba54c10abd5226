"""Check that `grpo_advantage` fits the rewards and the rest of a raw config."""

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.config import Config, number_of
from axolotl_grpo_plugin.findings import Findings, fault
from axolotl_grpo_plugin.load import is_model, reward_refs

KEY = "grpo_advantage"


def check_advantage(cfg: Config) -> Findings:
    """Check that no other key chooses the advantages, too."""
    if not cfg.grpo_advantage:
        return
    if cfg.rl == "gdpo" or cfg.trl.multi_objective_aggregation == "normalize_then_sum":
        yield fault(
            "two-advantages",
            KEY,
            "rl: gdpo and normalize_then_sum have advantages of their own",
            f"Remove {KEY}, or set rl: grpo with sum_then_normalize",
        )
    elif cfg.value_at("trl.scale_rewards") is not None:
        yield fault(
            "two-advantages",
            f"{KEY} ({cfg.grpo_advantage})",
            "it takes the place of trl.scale_rewards, which then has no effect",
            "Remove one of the two",
        )


def check_rewards_of_advantage(cfg: Config) -> Findings:
    """Check that no reward can be negative if the advantages are divided by their mean."""
    if cfg.grpo_advantage != "maxrl":
        return
    weights = [number_of(weight) or 0.0 for weight in cfg.trl.reward_weights]
    keys = [reward.key for reward in reward_refs(cfg)]
    weight_of = dict(zip(keys, weights, strict=False))
    ranges = {key: function.spec.range for _, key, function in functions_in(cfg)}
    for number, key in enumerate(keys):
        weight = weight_of.get(key, 1.0)
        bounds = ranges.get(key)
        what = "its lowest score is not known"
        if bounds:
            lowest = min(bound * weight for bound in bounds)
            what = f"its lowest score, with its weight, is {lowest:g}"
            if lowest >= 0:
                continue
        fix = "Set grpo_advantage: rloo, or remove the reward"
        if not bounds and not is_model(key):
            fix = "Declare its range in grpo_reward_range, or set grpo_advantage: rloo"
        yield fault(
            "negative-reward",
            f"trl.reward_funcs[{number}] ({key})",
            f"grpo_advantage: maxrl divides by the mean reward, so none may be negative, but {what}",
            fix,
        )
