"""Check the rewards that a config names, and its options for scoring."""

import os
from collections.abc import Iterator
from itertools import islice
from math import inf

from axolotl_grpo_plugin.config import Config, mapping_of, number_of
from axolotl_grpo_plugin.findings import Finding, Findings, Level, fault, nearest
from axolotl_grpo_plugin.load import (
    RewardRef,
    check_file_path,
    function_at,
    is_model,
    load_reward,
    made_reward,
    not_ready,
    range_of,
    reward_refs,
    takes_any,
)
from axolotl_grpo_plugin.reward import BaseReward, PlainReward


def check_rewards(cfg: Config) -> Findings:
    """Check that every reward path imports, and is or makes a function that TRL can call."""
    keys = cfg.value_at("trl.reward_funcs")  # as it is written, to report a wrong value
    if isinstance(keys, str):
        yield fault("no-list", f"trl.reward_funcs ({keys})", "not a list", 'Put "- " before it')
    other = cfg.nemo_gym_enabled or cfg.grpo_environment  # they may have their own
    if not keys and isinstance(cfg.value_at("trl") or {}, dict) and not other:
        yield fault(
            "no-reward",
            "trl.reward_funcs",
            "no reward is named, but TRL needs one",
            "Name at least one",
        )
    if not isinstance(keys, list):
        return
    weights = cfg.value_at("trl.reward_weights")  # an empty list is a fault, too
    if isinstance(weights, list) and len(weights) != len(keys):
        yield fault(
            "other-weights",
            "trl.reward_weights",
            f"{len(weights)} weights for {len(keys)} rewards",
            "Give each reward one weight",
        )
    elif isinstance(weights, list) and not 0 < sum(map(_size, weights)) < inf:  # NaN is not
        yield fault(
            "no-weight",
            f"trl.reward_weights ({weights})",
            "all weights are 0, or one is not finite",
            "Give at least one reward a finite weight other than 0",
        )
    names = set[str]()
    for number, key in enumerate(keys):
        if not isinstance(key, str):  # Axolotl refuses it
            continue
        where = f"trl.reward_funcs[{number}] ({key})"
        path, _, alias = key.partition("#")
        name = alias or key
        if name in names:
            yield fault(
                "named-twice",
                where,
                "named twice",
                f"Give each its own alias: {path}#first, {path}#second",
            )
        elif finding := _problem_of(RewardRef.in_config(key, cfg), where):
            yield finding
        names.add(name)


def _size(weight: object) -> float:
    return abs(number_of(weight) or 0)


def _problem_of(ref: RewardRef, where: str) -> Finding | None:
    """Return why TRL cannot call a reward, None if it can."""
    path = ref.path
    if finding := check_file_path(path, where):
        return finding
    if is_model(path):
        is_hub_name = path.count("/") == 1 and not path.startswith(".")
        if is_hub_name or os.path.isdir(path):
            return None
        return fault(
            "no-model",
            where,
            "no such folder, and no name on the hub",
            "Write a function as module.function, or correct the model's path",
        )
    if "." not in path:
        return fault("no-path", where, "not a path of a function", "Write it as module.function")
    function = function_at(path, where)
    if isinstance(function, Finding):
        return function
    reward = made_reward(ref, where)
    if isinstance(reward, Finding):
        return reward
    called = reward.function if isinstance(reward, PlainReward) else reward
    if takes_any(called):
        return None
    return fault(
        "not-callable",
        where,
        "cannot be called as TRL does, with prompts, completions and every column by name",
        "Add **columns to its parameters, or decorate it with axolotl_grpo_plugin.reward.reward",
    )


def functions_in(cfg: Config) -> Iterator[tuple[str, str, BaseReward]]:
    """Yield place, key and function of each reward in a config, but no reward models."""
    for number, reward in enumerate(reward_refs(cfg)):
        key = reward.key
        if not is_model(key):
            yield f"trl.reward_funcs[{number}] ({key})", key, load_reward(reward)


def check_stop_at(cfg: Config) -> Findings:
    """Check that the share of `grpo_stop_at` exists: the first reward function must say which answers are right."""
    if not cfg.grpo_stop_at:
        return
    for where, _, function in islice(functions_in(cfg), 1):
        if function.highest is None:
            yield fault(
                "no-range",
                "grpo_stop_at",
                f"{where} declares no highest score, so no answer counts as right",
                "Put a reward with a range first, or declare its range in grpo_reward_range",
            )


def check_ready(cfg: Config, level: Level = "error") -> Findings:
    """Check that this machine has the sandbox or the server that a reward needs."""
    for where, _, function in functions_in(cfg):
        if reason := not_ready(function):
            yield Finding(where, reason, "", level=level, code="not-ready")


def check_scoring(cfg: Config) -> Findings:
    """Check that options of single rewards name known rewards, and that the guarded rewards are called."""
    keys = [reward.key for reward in reward_refs(cfg)]
    for option in ("grpo_reward_args", "grpo_reward_isolation", "grpo_reward_range"):
        for key in mapping_of(cfg.value_at(option)):
            if key not in keys:
                yield fault(
                    "unknown-reward",
                    f"{option} ({key})",
                    "trl.reward_funcs names no such reward",
                    nearest(key, keys),
                )
    for key, written in cfg.grpo_reward_range.items():
        if is_model(str(key)) or range_of(written) is None:
            yield fault(
                "wrong-range",
                f"grpo_reward_range ({key})",
                "a reward model has no range" if is_model(str(key)) else f"{written} is no range",
                "Write [lowest, highest] for a reward function, such as [0.0, 1.0]",
            )
    if (cfg.context_parallel_size or 1) > 1:
        yield fault(
            "unguarded",
            "context_parallel_size",
            "Axolotl's context-parallel trainer does not call the guarded rewards",
            "Set it to 1, or remove it",
        )
    if cfg.trl.async_prefetch and not cfg.trl.use_data_producer:
        # core/trainers/grpo/async_trainer.py repeats each batch 10,000 times.
        yield fault(
            "same-prompts",
            "trl.async_prefetch",
            "without trl.use_data_producer, Axolotl 0.21 draws the same prompts in all steps",
            "Add trl.use_data_producer: true",
        )
