"""Check the rewards that a config names, and its options for scoring."""

import os
import traceback
from collections.abc import Iterator
from inspect import Parameter, signature
from typing import Any

from axolotl_grpo_plugin.checks.batch import number_of
from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, Level, at, first_line, nearest
from axolotl_grpo_plugin.load import RewardRef, is_model, load_reward, not_ready, reward_refs
from axolotl_grpo_plugin.modules import functions_of, imported
from axolotl_grpo_plugin.reward import PlainReward


def check_rewards(cfg: Any) -> Iterator[Finding]:
    """Check that every reward path imports, and is or makes a function that TRL can call."""
    keys = block(cfg, "trl").get("reward_funcs")
    if isinstance(keys, str):
        yield Finding(at(cfg, f"trl.reward_funcs ({keys})"), "not a list", 'Put "- " before it')
    elif isinstance(keys, list):
        weights = block(cfg, "trl").get("reward_weights")
        if isinstance(weights, list) and len(weights) != len(keys):
            what = f"{len(weights)} weights for {len(keys)} rewards"
            yield Finding(at(cfg, "trl.reward_weights"), what, "Give each reward one")
        for number, key in enumerate(keys):
            where = at(cfg, f"trl.reward_funcs[{number}] ({key})")
            if key in keys[:number]:
                fix = f"Give each an alias: {key}#first, {key}#second"
                yield Finding(where, "is there twice", fix)
            elif "#" in str(key) and str(key).partition("#")[2] in _aliases(keys[:number]):
                yield Finding(where, "its alias is there twice", "Give it another alias")
            elif isinstance(key, str):
                yield from _check_reward(key, block(cfg, "grpo_reward_args").get(key), where)


def _aliases(keys: list[Any]) -> set[str]:
    return {str(key).partition("#")[2] for key in keys if "#" in str(key)}


def _check_reward(key: str, arguments: Any, where: str) -> Iterator[Finding]:
    path = RewardRef(key).path
    module_name, _, name = path.rpartition(".")
    if "/" in path:
        if os.path.exists(f"{module_name}.py"):
            fix = f"Write it as {module_name.strip('./').replace('/', '.')}.{name}"
            yield Finding(where, "a file's path, where Axolotl wants a module's", fix)
        return  # a reward model
    if not module_name:
        yield Finding(where, "not a path", "Write it as module.function")
        return
    module = imported(module_name, where)
    if isinstance(module, Finding):
        yield module
    elif not hasattr(module, name):
        yield Finding(where, f"{module_name} has no {name!r}", nearest(name, functions_of(module)))
    elif not callable(getattr(module, name)):
        yield Finding(where, "not a function", nearest(name, functions_of(module)))
    elif arguments is None or isinstance(arguments, dict):
        try:
            function = load_reward(RewardRef.of(key, arguments or {}))
        except TypeError as error:
            yield Finding(where, str(error), "Fix its block in grpo_reward_args")
        except (Exception, SystemExit) as error:
            what = f"it makes a reward, and raised {type(error).__name__}: {first_line(error)}"
            fix = "Fix its block in grpo_reward_args, or the function"
            yield Finding(where, what, fix, traceback.format_exc())
        else:
            if not _takes_what_trl_passes(function):
                yield Finding(
                    where,
                    "cannot be called as TRL does, with prompts, completions, completion_ids and every column by name",
                    "Decorate a scorer of one completion with axolotl_grpo_plugin.reward.reward, "
                    "or write it as f(prompts, completions, **columns)",
                )


def check_ready(cfg: Any, level: Level = "error") -> Iterator[Finding]:
    """Check that this machine has what each reward needs: a sandbox, a server that answers."""
    for number, each in enumerate(reward_refs(cfg)):
        reason = "" if is_model(each.key) else not_ready(load_reward(each))
        if reason:
            what, _, fix = reason.partition(". ")
            where = at(cfg, f"trl.reward_funcs[{number}] ({each.key})")
            yield Finding(where, what, fix or "Fix that first", level=level)


def _takes_what_trl_passes(function: Any) -> bool:
    if not callable(function):
        return False
    try:
        plain = isinstance(function, PlainReward)
        parameters = signature(function.function if plain else function).parameters.values()
    except (TypeError, ValueError):
        return True  # a builtin hides them: let TRL try
    return any(each.kind is Parameter.VAR_KEYWORD for each in parameters)


def check_scoring(cfg: Any) -> Iterator[Finding]:
    """Check that options of single rewards name known rewards, and that the time limits fit."""
    keys = [reward.key for reward in reward_refs(cfg)]
    for option in ("grpo_reward_args", "grpo_reward_isolation"):
        for key in block(cfg, option):
            if key not in keys:
                yield Finding(at(cfg, f"{option} ({key})"), "no such reward", nearest(key, keys))
    limit = number_of(cfg.get("grpo_reward_batch_timeout"))
    patience = number_of(cfg.get("ddp_timeout")) or 1800
    if limit and limit > patience / 2:
        what = f"more than half of ddp_timeout ({patience:g} s), when the other ranks end the run"
        yield Finding(at(cfg, "grpo_reward_batch_timeout"), what, "Lower it, or raise ddp_timeout")
    if (tokens_of(cfg.get("context_parallel_size")) or 1) > 1:
        what = "Axolotl's context-parallel trainer does not call the guarded rewards"
        yield Finding(at(cfg, "context_parallel_size"), what, "Set it to 1, or remove it")
    trl = block(cfg, "trl")
    if trl.get("async_prefetch") and not trl.get("streaming_partial_batch"):
        what = "Axolotl 0.21 crashes at its first rollout (TypeError: 'int' object is not subscriptable)"
        fix = "Remove it (use_data_producer alone runs), or add trl.streaming_partial_batch: true"
        yield Finding(at(cfg, "trl.async_prefetch"), what, fix)
