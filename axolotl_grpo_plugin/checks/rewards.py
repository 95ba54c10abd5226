"""Check the rewards that a config names, and its options for scoring."""

import os
import traceback
from collections.abc import Iterator
from inspect import Parameter, signature
from typing import Any

from axolotl_grpo_plugin.config import block, number_of, tokens_of
from axolotl_grpo_plugin.findings import Finding, Level, at, first_line, nearest
from axolotl_grpo_plugin.load import RewardRef, is_model, load_reward, not_ready, reward_refs
from axolotl_grpo_plugin.modules import check_file_path, function_at
from axolotl_grpo_plugin.reward import BaseReward, PlainReward

DDP_TIMEOUT = 1800  # seconds, the default of transformers


def check_rewards(cfg: Any) -> Iterator[Finding]:
    """Check that every reward path imports, and is or makes a function that TRL can call."""
    keys = block(cfg, "trl").get("reward_funcs")
    if isinstance(keys, str):
        yield Finding(at(cfg, f"trl.reward_funcs ({keys})"), "not a list", 'Put "- " before it')
    other = cfg.get("nemo_gym_enabled") or cfg.get("grpo_environment")  # they may have their own
    if not keys and isinstance(cfg.get("trl") or {}, dict) and not other:
        what = "no reward is named, but TRL needs one"
        yield Finding(at(cfg, "trl.reward_funcs"), what, "Name at least one")
    if not isinstance(keys, list):
        return
    weights = block(cfg, "trl").get("reward_weights")
    if isinstance(weights, list) and len(weights) != len(keys):
        what = f"{len(weights)} weights for {len(keys)} rewards"
        yield Finding(at(cfg, "trl.reward_weights"), what, "Give each reward one weight")
    aliases = set[str]()
    for number, key in enumerate(keys):
        where = at(cfg, f"trl.reward_funcs[{number}] ({key})")
        alias = str(key).partition("#")[2]
        if key in keys[:number]:
            fix = f"Give each an alias: {key}#first, {key}#second"
            yield Finding(where, "named twice", fix)
        elif alias in aliases:
            yield Finding(where, "another reward has this alias", "Choose another alias")
        elif isinstance(key, str):
            yield from _check_reward(key, block(cfg, "grpo_reward_args").get(key), where)
        aliases |= {alias} - {""}


def _check_reward(key: str, arguments: Any, where: str) -> Iterator[Finding]:
    path = RewardRef(key).path
    if finding := check_file_path(path, where):
        yield finding
        return
    if is_model(path):
        if (path.count("/") != 1 or path.startswith(".")) and not os.path.isdir(path):
            fix = "Write a function as module.function, or correct the model's path"
            yield Finding(where, "no such folder, and no name on the hub", fix)
        return
    if "." not in path:
        yield Finding(where, "not a path of a function", "Write it as module.function")
        return
    function = function_at(path, where)
    if isinstance(function, Finding):
        yield function
    elif arguments is None or isinstance(arguments, dict):
        try:
            reward = load_reward(RewardRef.of(key, arguments or {}))
        except TypeError as error:
            what, _, fix = str(error).partition(". ")
            yield Finding(where, what, fix or "Correct its block in grpo_reward_args")
        except (Exception, SystemExit) as error:
            what = f"making the reward raised {type(error).__name__}: {first_line(error)}"
            fix = "Correct its block in grpo_reward_args, or the function"
            yield Finding(where, what, fix, traceback.format_exc())
        else:
            called = reward.function if isinstance(reward, PlainReward) else reward
            kinds = [each.kind for each in signature(called).parameters.values()]
            if Parameter.VAR_KEYWORD not in kinds:
                what = "cannot be called as TRL does, with prompts, completions and every column by name"
                fix = "Add **columns to its parameters, or decorate it with axolotl_grpo_plugin.reward.reward"
                yield Finding(where, what, fix)


def functions_in(cfg: Any) -> Iterator[tuple[str, str, BaseReward]]:
    """Yield place, key and function of each reward in a config, but no reward models."""
    for number, reward in enumerate(reward_refs(cfg)):
        if not is_model(reward.key):
            where = at(cfg, f"trl.reward_funcs[{number}] ({reward.key})")
            yield where, reward.key, load_reward(reward)


def check_ready(cfg: Any, level: Level = "error") -> Iterator[Finding]:
    """Check that this machine has the sandbox or the server that a reward needs."""
    for where, _, function in functions_in(cfg):
        if reason := not_ready(function):
            what, _, fix = reason.partition(". ")
            yield Finding(where, what, fix or "Correct this first", level=level)


def check_scoring(cfg: Any) -> Iterator[Finding]:
    """Check that options of single rewards name known rewards, and that the time limits fit."""
    keys = [reward.key for reward in reward_refs(cfg)]
    for option in ("grpo_reward_args", "grpo_reward_isolation"):
        for key in block(cfg, option):
            if key not in keys:
                what = "trl.reward_funcs names no such reward"
                yield Finding(at(cfg, f"{option} ({key})"), what, nearest(key, keys))
    limit = number_of(cfg.get("grpo_reward_batch_timeout"))
    patience = number_of(cfg.get("ddp_timeout")) or DDP_TIMEOUT
    if limit and limit > patience / 2:
        what = (
            f"more than half of ddp_timeout ({patience:g} s), after which other ranks end the run"
        )
        yield Finding(at(cfg, "grpo_reward_batch_timeout"), what, "Lower it, or raise ddp_timeout")
    if (tokens_of(cfg.get("context_parallel_size")) or 1) > 1:
        what = "Axolotl's context-parallel trainer does not call the guarded rewards"
        yield Finding(at(cfg, "context_parallel_size"), what, "Set it to 1, or remove it")
    trl = block(cfg, "trl")
    if trl.get("async_prefetch") and not trl.get("use_data_producer"):
        # core/trainers/grpo/async_trainer.py repeats each batch 10,000 times.
        what = "without trl.use_data_producer, Axolotl 0.21 draws the same prompts in all steps"
        yield Finding(at(cfg, "trl.async_prefetch"), what, "Add trl.use_data_producer: true")
