"""Find keys that Axolotl drops silently, and keys that it does not read for this kind of run."""

import ast
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from inspect import getsource
from pathlib import Path
from typing import Any

import yaml

from axolotl_grpo_plugin.config import block, dicts, tokens_of
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.serving.placement import mode_of

TRLS, VLLMS, DATASETS = "trl.", "vllm.", "datasets[]."
SURE = 0.85  # the similarity (difflib) from which a key counts as a misspelling
# Finds the keys of the raw config that a validator's source reads.
READ = re.compile(r'\bdata(?:\.get\(|\.pop\(|\[)"(\w+)"|"(\w+)" (?:not )?in data\b')
OWN = ("x-", "x_", "_", ".")  # prefixes of keys that hold YAML anchors

# Keys of trl that the trainer does not get as arguments (core/builders/rl.py), and the mode, which may
# be set to its default.
PASSED = {"beta", "reward_funcs", "reward_processing_classes", "rollout_func", "vllm_mode"}
SAID = {"vllm_lora_sync"}  # traps.py checks it
# Settings that make Axolotl read more keys. The first that helps is the fix.
SWITCHES: tuple[dict[str, Any], ...] = (
    {"use_vllm": True, "vllm_mode": "server"},
    {"use_vllm": True, "vllm_mode": "colocate"},
    {"use_data_producer": True},
    {"sync_ref_model": True},
)
# Keys of the schema that Axolotl 0.21 never reads, with the fix.
DEAD = {"max_prompt_len": "Set grpo_max_prompt_length"}


def check_ignored(cfg: Any) -> Iterator[Finding]:
    """Check that every key with a value belongs to Axolotl or a plugin.

    A key of another block is an error, and so is any unknown key in `trl` and `vllm`. Elsewhere an
    unknown key may belong to another program, so it is a warning. Imports Axolotl's schema.
    """
    known, plugins = _known(), _plugins()
    for name, prefix, holder in _holders(cfg):
        for key, value in holder.items():
            if value is None or not isinstance(key, str) or key in known[prefix]:
                continue
            if not prefix and key.startswith((*OWN, "grpo_")):
                continue  # check_keys reports unknown grpo_ keys
            placed = _placed(key, prefix, known)
            close = placed or _close(key, prefix, known)
            sure = (TRLS, VLLMS, DATASETS) if close else (TRLS, VLLMS)
            fix = "Remove it" if prefix else "Remove it, or name its plugin in `plugins:`"
            if not prefix and key in plugins and not placed:
                fix = f"Remove it, or name its plugin in `plugins:`, one of {plugins[key]}"
            elif close:
                fix = f"Did you mean {close}"
            yield Finding(
                at(cfg, name + key),
                "Axolotl knows no such key, and drops it",
                fix,
                level="error" if placed or prefix in sure else "warning",
            )


def _holders(cfg: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the blocks whose keys are known: name, key prefix in `_known`, block."""
    yield "", "", cfg
    yield TRLS, TRLS, block(cfg, "trl")
    yield VLLMS, VLLMS, block(cfg, "vllm")
    for key in ("datasets", "test_datasets"):
        for number, dataset in enumerate(dicts(cfg.get(key))):
            yield f"{key}[{number}].", DATASETS, dataset


def _known() -> dict[str, set[str]]:
    """Return the keys of each block, from the schemas of Axolotl and the loaded plugins."""
    from axolotl.cli import args
    from axolotl.integrations.base import PluginManager
    from axolotl.utils.schemas import datasets
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.trl import TRLConfig
    from axolotl.utils.schemas.vllm import VllmConfig

    # A dataset may become any of these, depending on `type` and `rl`.
    kinds = [each for each in vars(datasets).values() if hasattr(each, "model_fields")]
    known = {
        TRLS: _fields(TRLConfig),
        VLLMS: _fields(VllmConfig),
        DATASETS: set().union(*map(_fields, kinds)),
    }
    plugins = map(_imported, PluginManager.get_instance().get_input_args())
    top = set().union(*map(_fields, (AxolotlInputConfig, *plugins)))
    # A loaded config also holds the command's options.
    options = [each for each in vars(args).values() if is_dataclass(each)]
    top |= {field.name for each in options for field in fields(each)} - known[TRLS] - known[VLLMS]
    # The schema has no field for older keys, but a validator that moves or refuses them.
    names = {each.__module__ for each in AxolotlInputConfig.__mro__}
    modules = [import_module(name) for name in names if name.startswith("axolotl.")]
    read = [word for each in modules for words in READ.findall(getsource(each)) for word in words]
    return {**known, "": top | ({*read} - {""} - known[TRLS] - known[VLLMS])}


def _fields(model: Any) -> set[str]:
    found = model.model_fields
    return {*found, *(field.alias for field in found.values() if field.alias)}


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _plugins() -> dict[str, str]:
    """Return the keys of the plugins that Axolotl ships, each with its plugin's package.

    The source is parsed, because some plugins import packages that are not installed. A plugin's keys
    are the fields of the model whose path it returns.
    """
    from axolotl import integrations

    found: dict[str, str] = {}
    for file in Path(integrations.__path__[0]).glob("*/args.py"):
        code = "".join(each.read_text(encoding="utf-8") for each in file.parent.glob("*.py"))
        for model in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(model, ast.ClassDef) and f'.{model.name}"' in code:
                keys = (
                    ast.unparse(each.target)
                    for each in model.body
                    if isinstance(each, ast.AnnAssign)
                )
                found |= dict.fromkeys(keys, f"{integrations.__name__}.{file.parent.name}")
    return found


def _placed(key: str, prefix: str, known: dict[str, set[str]]) -> str:
    """Return the same key in the block that has it, or ""."""
    if f"grpo_{key}" in known[""]:
        return f"grpo_{key}"
    if prefix != DATASETS:
        for place in (TRLS, VLLMS, ""):
            for name in (key, key.removeprefix("vllm_")):
                if place != prefix and name in known[place] and (name == key or place == VLLMS):
                    return place + name
    return ""


def _close(key: str, prefix: str, known: dict[str, set[str]]) -> str:
    """Return the key, with its block, that this one may misspell, or ""."""
    for place, name in ((prefix, key), (VLLMS, key.removeprefix("vllm_"))):
        close = get_close_matches(name, sorted(known[place]), n=1, cutoff=SURE)
        if close and (place == prefix or name != key):
            return ("" if place == DATASETS else place) + close[0]
    return ""


def check_twice(file: str) -> Iterator[Finding]:
    """Check that no block of a YAML has a key twice, because YAML drops the first."""
    with open(file, encoding="utf-8") as opened:
        blocks = [yaml.compose(opened, Loader=yaml.SafeLoader)]
    while blocks:
        node = blocks.pop()
        if isinstance(node, yaml.SequenceNode):
            blocks += node.value
        elif isinstance(node, yaml.MappingNode):
            blocks += [value for _, value in node.value]
            keys = [key for key, _ in node.value if key.value != "<<"]
            first = {key.value: key for key in reversed(keys)}
            for key in keys:
                if key is not first[key.value]:
                    line, last = first[key.value].start_mark.line + 1, key.start_mark.line + 1
                    what = f"is there twice, and line {last} replaces line {line}"
                    yield Finding(f"{file}: {key.value}", what, "Remove one")


def check_unread(cfg: Any) -> Iterator[Finding]:
    """Check that every value in `trl` and `vllm` reaches the trainer or the server.

    Compares the arguments that Axolotl makes with and without the key. Imports TRL.
    """
    from axolotl.utils.schemas.trl import TRLConfig
    from axolotl.utils.schemas.vllm import VllmConfig

    schemas = {"trl": TRLConfig.model_fields, "vllm": VllmConfig.model_fields}
    unread: dict[str, list[str]] = {}
    for name, known in schemas.items():
        for key, value in block(cfg, name).items():
            default = known[key].default if key in known else value
            if value is None or value == default or _is_read(cfg, name, key):
                continue
            unread.setdefault(_fix(cfg, name, key), []).append(f"{name}.{key}")
    for key in DEAD.keys() & cfg.keys():
        unread[DEAD[key]] = [key]
    for fix, keys in unread.items():
        what = "a GRPO run like this one never reads it"
        yield Finding(at(cfg, ", ".join(keys)), what, fix, level="warning")


def _is_read(cfg: Any, name: str, key: str) -> bool:
    held = {each: value for each, value in cfg[name].items() if each != key}
    return key in PASSED | SAID or _reached(cfg) != _reached({**cfg, name: held})


def _fix(cfg: Any, name: str, key: str) -> str:
    for switch in SWITCHES:
        switched = {**cfg, "trl": {**block(cfg, "trl"), **switch}}
        if _is_read(switched, name, key):
            added = [f"trl.{k}: {v}" for k, v in switch.items() if block(cfg, "trl").get(k) != v]
            return f"It is read with {', '.join(added).replace('True', 'true')}; else remove it"
    return "Remove it"


def _reached(cfg: Any) -> dict[str, Any]:
    """Return the arguments that a raw config gives to the trainer, and to the server if there is one."""
    from axolotl.cli.vllm_serve import VllmServeArguments
    from axolotl.core.trainers.grpo import GRPOStrategy
    from axolotl.utils.dict import DictDefault

    # As Axolotl's validation fills them in.
    trl = {"vllm_mode": mode_of(cfg), **block(cfg, "trl")}
    vllm = block(cfg, "vllm")
    parallel = tokens_of(cfg.get("context_parallel_size")) or 1
    full = DictDefault({**cfg, "trl": trl, "vllm": vllm, "context_parallel_size": parallel})
    given = GRPOStrategy.set_training_args_kwargs(full)
    producing = bool(trl.get("async_prefetch") or trl.get("use_data_producer"))
    taken = {field.name for field in fields(GRPOStrategy.get_training_args_class(producing))}
    arguments = {name: value for name, value in given.items() if name in taken}
    if mode_of(cfg) == "server":
        served = [field.name for field in fields(VllmServeArguments)] + ["serve_module"]
        arguments |= {f"server {name}": block(cfg, "vllm").get(name) for name in served}
    return arguments
