"""The rewards of recipes by name, and the rewards of this package that have their meaning."""

from typing import Any

_REWARDS = "axolotl_grpo_plugin.rewards"
ACCURACY = f"{_REWARDS}.math.accuracy_reward_func"
# Names in open-r1, X-R1 and `trl grpo`.
REWARDS = {
    "accuracy": ACCURACY,
    "accuracy_reward": ACCURACY,
    "reasoning_accuracy_reward": ACCURACY,
    "format": f"{_REWARDS}.format.think_soft_format_reward_func",
    "soft_format": f"{_REWARDS}.format.think_soft_format_reward_func",
    "think_format_reward": f"{_REWARDS}.format.think_format_reward_func",
    "tag_count": f"{_REWARDS}.format.tag_count_reward_func",
    "reasoning_steps": f"{_REWARDS}.shaping.reasoning_steps_reward_func",
    "cosine": f"{_REWARDS}.shaping.cosine_length",
    "length": f"{_REWARDS}.shaping.kimi_length",
    "repetition_penalty": "trl.rewards.get_repetition_penalty_reward",
    "get_soft_overlong_punishment": "trl.rewards.get_soft_overlong_punishment",
    "code": f"{_REWARDS}.code.code_reward_func",
    "binary_code": f"{_REWARDS}.code.code_reward_func",
}
# The reasons, for users who look for them.
WITHOUT_COUNTERPART = {
    "code_format": "rewards.code reads the last block of code itself, so the layout needs no reward",
    "ioi_code": "it needs a Piston or Morph server",
    "cf_code": "it needs a Piston server, and compiles C++",
}
# Functions of Axolotl's GSM8K example. The module is the user's copy of its file.
OF_THE_EXAMPLE = {
    name: f"{_REWARDS}.gsm8k.{name}"
    for name in (
        "correctness_reward_func",
        "int_reward_func",
        "strict_format_reward_func",
        "soft_format_reward_func",
        "xmlcount_reward_func",
    )
}
_COSINE = (
    "min_value_wrong",
    "max_value_wrong",
    "min_value_correct",
    "max_value_correct",
    "max_len",
)
# open-r1's and X-R1's defaults, which differ from ours.
_COSINE_DEFAULTS = {
    "min_value_wrong": 0.0,
    "max_value_wrong": -0.5,
    "min_value_correct": 0.5,
    "max_value_correct": 1.0,
    "max_len": 1000,
}


def arguments_of(name: str, recipe: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a reward, and take their keys out of the recipe.

    Args:
        name: The name in the recipe, for example "cosine".
        recipe: The keys that are not converted yet.
    """
    if name == "cosine":
        values = {key: recipe.pop(f"cosine_{key}", _COSINE_DEFAULTS[key]) for key in _COSINE}
        return {"by": ACCURACY, **values}
    if name == "length":
        return {"by": ACCURACY}
    if name == "repetition_penalty":
        return {
            "ngram_size": recipe.pop("repetition_n_grams", 3),
            "max_penalty": recipe.pop("repetition_max_penalty", -1.0),
        }
    if name == "get_soft_overlong_punishment":
        return {
            "max_completion_len": recipe.pop("max_completion_len", 1280),
            "soft_punish_cache": recipe.pop("soft_punish_cache", 256),
        }
    if name == "code":
        return {"partial": True}  # theirs pays the share of passed tests
    return {}
