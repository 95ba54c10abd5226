"""Find keys that Axolotl ignores silently, and keys that it does not read for this kind of run."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any

import yaml

from axolotl_grpo_plugin.checks.trl_args import KEY
from axolotl_grpo_plugin.config import Config, mappings_of
from axolotl_grpo_plugin.findings import Finding, Findings, Level, fault, warning
from axolotl_grpo_plugin.recipes.keys import fix_of
from axolotl_grpo_plugin.recipes.trl_fields import UNPASSED, free_fields
from axolotl_grpo_plugin.serving.placement import mode_of

TRL, VLLM, DATASETS = "trl.", "vllm.", "datasets[]."
SIMILAR = 0.85  # the similarity (difflib) from which a key counts as a misspelling
ANCHORS = ("x-", "x_", "_", ".")  # prefixes of keys that hold YAML anchors
# Older keys that Axolotl's validators move or refuse, so that its schema has no field for them.
OLDER = {"fsdp", "relora_steps"}

# The keys that Axolotl 0.21 reads in some runs only. tests/e2e/test_check.py compares them with its code.
WITH_VLLM = (
    "trl.vllm_server_host",
    "trl.vllm_server_port",
    "trl.vllm_server_timeout",
    "trl.vllm_guided_decoding_regex",
    "vllm.tensor_parallel_size",
    "vllm.gpu_memory_utilization",
    "vllm.max_model_len",
    "vllm.host",
    "vllm.port",
)
WITH_SERVER = (
    "vllm.data_parallel_size",
    "vllm.dtype",
    "vllm.enable_prefix_caching",
    "vllm.enable_reasoning",
    "vllm.reasoning_parser",
    "vllm.enforce_eager",
    "vllm.serve_module",
    "vllm.worker_extension_cls",
)
WITH_COLOCATE = ("trl.vllm_enable_sleep_mode",)
WITH_PRODUCER = (
    "trl.prefetch_depth",
    "trl.vllm_sync_interval",
    "trl.streaming_partial_batch",
    "trl.streaming_min_groups",
    "trl.reward_num_workers",
)
WITH_PREFETCH = ("trl.replay_buffer_size", "trl.replay_recompute_logps")  # and whole batches
WITH_REFERENCE = ("trl.ref_model_mixup_alpha", "trl.ref_model_sync_steps")
# The trainer collects prompts for the last two, but never draws them again.
NEVER = ("vllm.device", "trl.reroll_start_fraction", "trl.reroll_max_groups")

Known = dict[str, set[str]]


def check_ignored(cfg: Config) -> Findings:
    """Check that every key with a value belongs to Axolotl or a plugin.

    A key of another block is an error, and so are a misspelt key and any unknown key in `trl` and `vllm`. Elsewhere
    an unknown key may belong to another program, so it is a warning. Imports Axolotl's schema.
    """
    known = _known()
    for name, prefix, holder in _holders(cfg):
        for key, value in holder.items():
            if value is None or not isinstance(key, str) or key in known[prefix]:
                continue
            if not prefix and key.startswith((*ANCHORS, "grpo_")):
                continue  # check_keys reports unknown grpo_ keys
            yield _unknown(name, prefix, key, known)


def _unknown(name: str, prefix: str, key: str, known: Known) -> Finding:
    level: Level = "error"
    meant = _in_another_block(key, prefix, known)
    if not meant:
        meant = _similar(key, prefix, known)
        # It may belong to a plugin that is not named, or to a dataset's loader.
        if prefix in ("", DATASETS) and not meant:
            level = "warning"
    of_trl = None if prefix else fix_of(key)
    if of_trl:
        level, fix = "error", of_trl
    elif prefix in ("", TRL) and key in free_fields():
        fix = f"Move it to {KEY}"
    elif meant:
        fix = f"Did you mean `{meant}`?"
    elif prefix:
        fix = "Remove it"
    else:
        fix = "Remove it, or name its plugin in `plugins:`"
    return Finding(
        name + key,
        "Axolotl does not know this key, and ignores it",
        fix,
        level=level,
        code="unknown-key",
    )


def _holders(cfg: Config) -> Iterator[tuple[str, str, Mapping[Any, Any]]]:
    """Yield the blocks whose keys are known: name, key prefix in `_known`, block."""
    yield "", "", cfg.raw
    yield TRL, TRL, cfg.trl.raw
    yield VLLM, VLLM, cfg.vllm.raw
    for key in ("datasets", "test_datasets"):
        for number, dataset in enumerate(mappings_of(cfg.value_at(key))):
            yield f"{key}[{number}].", DATASETS, dataset


def _known() -> Known:
    """Return the keys of each block, from the schemas of Axolotl and the loaded plugins."""
    from axolotl.cli import args
    from axolotl.integrations.base import PluginManager
    from axolotl.utils.schemas import datasets
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.trl import TRLConfig
    from axolotl.utils.schemas.vllm import VllmConfig

    trl, vllm = _fields(TRLConfig), _fields(VllmConfig)
    # A loaded config also holds the command's options.
    options = set[str]()
    for group in vars(args).values():
        if is_dataclass(group):
            options |= {field.name for field in fields(group)}
    top = _fields(AxolotlInputConfig) | OLDER | (options - trl - vllm)
    for path in PluginManager.get_instance().get_input_args():
        top |= _fields(resolve_name(path))
    of_datasets = set[str]()
    # A dataset may become any of these, depending on `type` and `rl`.
    for kind in vars(datasets).values():
        if hasattr(kind, "model_fields"):
            of_datasets |= _fields(kind)
    return {"": top, TRL: trl, VLLM: vllm, DATASETS: of_datasets}


def _fields(model: Any) -> set[str]:
    names = set[str]()
    for name, field in model.model_fields.items():
        names |= {name, field.alias or name}
    return names


def _in_another_block(key: str, prefix: str, known: Known) -> str:
    """Return the same key in the block that has it, or ""."""
    if f"grpo_{key}" in known[""]:
        return f"grpo_{key}"
    if prefix == DATASETS:
        return ""
    for place in (TRL, VLLM, ""):
        name = key.removeprefix("vllm_") if place == VLLM else key
        if place != prefix and name in known[place]:
            return place + name
    return ""


def _similar(key: str, prefix: str, known: Known) -> str:
    """Return the key that this one may misspell, with its block, or ""."""
    if key.startswith("vllm_") and not get_close_matches(key, known[prefix], 1, SIMILAR):
        key, prefix = key.removeprefix("vllm_"), VLLM
    if not prefix and f"{key}s" in known[TRL]:
        return f"{TRL}{key}s"  # closer than any key of another block
    for close in get_close_matches(key, sorted(known[prefix]), 1, SIMILAR):
        return close if prefix == DATASETS else prefix + close
    return ""


def check_twice(cfg: Config) -> Findings:
    """Check that no block of a config's file has a key twice, because YAML drops the first."""
    file = cfg.file
    if not file or not os.path.isfile(file):  # Axolotl also takes an address
        return
    with open(file, encoding="utf-8") as opened:
        nodes = [yaml.compose(opened, Loader=yaml.SafeLoader)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                nodes.append(value)
                line = key.start_mark.line + 1
                first = lines.setdefault(key.value, line)
                if first != line and key.value != "<<":  # "<<" merges another block
                    yield fault(
                        "key-twice",
                        key.value,
                        f"the key is written twice, and line {line} replaces line {first}",
                        "Remove one",
                    )


def check_unread(cfg: Config) -> Findings:
    """Check that every value in `trl` and `vllm` reaches the trainer or the server."""
    mode = mode_of(cfg)
    idle = {"Remove it": NEVER, f"Move it to {KEY}": tuple(f"trl.{name}" for name in UNPASSED)}
    if mode == "none":
        idle["Set trl.use_vllm: true, trl.vllm_mode: server, or remove it"] = (
            WITH_VLLM + WITH_SERVER
        )
        idle["Set trl.use_vllm: true, trl.vllm_mode: colocate, or remove it"] = WITH_COLOCATE
    elif mode == "colocate":
        idle["Set trl.vllm_mode: server, or remove it"] = WITH_SERVER
    else:
        idle["Set trl.vllm_mode: colocate, or remove it"] = WITH_COLOCATE
    prefetches = cfg.trl.async_prefetch
    if not prefetches and not cfg.trl.use_data_producer:
        idle["Set trl.use_data_producer: true, or remove it"] = WITH_PRODUCER
    if not prefetches or cfg.trl.streaming_partial_batch:
        fix = (
            "Set trl.use_data_producer: true, trl.async_prefetch: true and "
            "trl.streaming_partial_batch: false, or remove it"
        )
        idle[fix] = WITH_PREFETCH
    if not cfg.trl.sync_ref_model:
        idle["Set trl.sync_ref_model: true, or remove it"] = WITH_REFERENCE
    what = "a GRPO run with this config never reads it"
    if "max_prompt_len" in cfg.raw:
        yield warning("unread-key", "max_prompt_len", what, "Set grpo_max_prompt_length")
    if cfg.grpo_max_logprob_difference:
        fix = ""
        if mode == "none":
            fix = "Set trl.use_vllm: true, or remove it"
        elif cfg.trl.vllm_importance_sampling_correction is False:  # TRL then compares nothing
            fix = "Set trl.vllm_importance_sampling_correction: true, or remove it"
        if fix:
            yield warning("unread-key", "grpo_max_logprob_difference", what, fix)
    for fix, keys in idle.items():
        if changed := [key for key in keys if _is_changed(cfg, key)]:
            yield warning("unread-key", ", ".join(changed), what, fix)


def _is_changed(cfg: Config, key: str) -> bool:
    """Return whether a config sets a key of `trl` or `vllm` to another value than Axolotl's default."""
    from axolotl.utils.schemas.trl import TRLConfig
    from axolotl.utils.schemas.vllm import VllmConfig

    name, field = key.split(".")
    schema = {"trl": TRLConfig, "vllm": VllmConfig}[name]
    return cfg.value_at(key) not in (None, schema.model_fields[field].default)
