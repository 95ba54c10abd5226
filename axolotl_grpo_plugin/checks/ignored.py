"""Keys that Axolotl drops without a word, and keys that it knows but reads for no run like this one."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from types import CodeType
from typing import Any

import yaml

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.paths import block, dicts
from axolotl_grpo_plugin.serving.placement import mode_of

TRLS, VLLMS, DATASETS = "trl.", "vllm.", "datasets[]."
SURE = 0.8  # how like a real key one must be to be its misspelling
OWN = ("x-", "x_", "_", ".")  # where YAML's anchors are kept: nobody means a key of Axolotl's

# Keys of trl that the trainer gets by another way than as an argument (core/builders/rl.py), and the
# mode, which may say what is the default.
PASSED = {"beta", "reward_funcs", "reward_processing_classes", "rollout_func", "vllm_mode"}
SAID = {"vllm_lora_sync"}  # by a check of its own, in traps.py
# What makes Axolotl read keys that it does not otherwise; the first that does is the mend.
SWITCHES: tuple[dict[str, Any], ...] = (
    {"use_vllm": True, "vllm_mode": "server"},
    {"use_vllm": True, "vllm_mode": "colocate"},
    {"use_data_producer": True},
    {"sync_ref_model": True},
)
# Of Axolotl's schema, and read nowhere in Axolotl 0.21; the mend.
DEAD = {"max_prompt_len": "Set grpo_max_prompt_length"}


def check_ignored(cfg: Any) -> Iterator[Finding]:
    """Every key of a raw config that has a value is Axolotl's, or a plugin's.

    A misspelt one is an error, and so is any in `trl` and `vllm`, where nobody keeps keys of their own.
    Imports Axolotl's schema, as every load of a config does.
    """
    known = _known()
    for name, prefix, holder in _holders(cfg):
        for key, value in holder.items():
            if value is None or not isinstance(key, str) or key in known[prefix]:
                continue
            if not prefix and key.startswith((*OWN, "grpo_")):
                continue  # the latter are check_keys's
            meant = _meant(key, prefix, known)
            what = "Axolotl knows no such key, and drops it"
            mend = "Remove it" if prefix else "Remove it, or name its plugin in `plugins:`"
            yield Finding(
                at(cfg, name + key),
                what,
                f"Did you mean {meant}" if meant else mend,
                level="error" if meant or prefix in (TRLS, VLLMS) else "warning",
            )


def _holders(cfg: Any) -> Iterator[tuple[str, str, Any]]:
    """The blocks of a config whose keys are known: name, the prefix of its keys in `_known`, block."""
    yield "", "", cfg
    yield TRLS, TRLS, block(cfg, "trl")
    yield VLLMS, VLLMS, block(cfg, "vllm")
    for key in ("datasets", "test_datasets"):
        for number, dataset in enumerate(dicts(cfg.get(key))):
            yield f"{key}[{number}].", DATASETS, dataset


def _known() -> dict[str, set[str]]:
    """The keys that Axolotl reads in each block, by its own schemas and those of the loaded plugins."""
    from axolotl.cli import args
    from axolotl.integrations.base import PluginManager
    from axolotl.utils.schemas import datasets
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from axolotl.utils.schemas.trl import TRLConfig
    from axolotl.utils.schemas.vllm import VllmConfig

    # A config's own datasets may become any of these, by `type` and by `rl`.
    kinds = [each for each in vars(datasets).values() if hasattr(each, "model_fields")]
    known = {
        TRLS: _fields(TRLConfig),
        VLLMS: _fields(VllmConfig),
        DATASETS: set().union(*map(_fields, kinds)),
    }
    plugins = map(_imported, PluginManager.get_instance().get_input_args())
    top = set().union(*map(_fields, (AxolotlInputConfig, *plugins)))
    # A command's options stand beside the YAML's keys once a config is loaded.
    options = [each for each in vars(args).values() if is_dataclass(each)]
    top |= {field.name for each in options for field in fields(each)} - known[TRLS] - known[VLLMS]
    # Of older keys the schema has no field, but a validator that moves or refuses them.
    moved = set().union(
        *map(_words, AxolotlInputConfig.__pydantic_decorators__.model_validators.values())
    )
    return {**known, "": top | (moved - known[TRLS] - known[VLLMS])}


def _fields(model: Any) -> set[str]:
    found = model.model_fields
    return {*found, *(field.alias for field in found.values() if field.alias)}


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _words(validator: Any) -> set[str]:
    """The strings in the code of a validator that sees raw keys."""
    if validator.info.mode != "before":
        return set()
    return _strings(validator.func.__code__)


def _strings(code: CodeType) -> set[str]:
    found: set[str] = set()
    for each in code.co_consts:
        if isinstance(each, CodeType):
            found |= _strings(each)
        elif isinstance(each, tuple | frozenset):
            found |= {word for word in each if isinstance(word, str)}
        elif isinstance(each, str):
            found.add(each)
    return found


def _meant(key: str, prefix: str, known: dict[str, set[str]]) -> str:
    """The real key that is most likely meant, with its block, or ""."""
    places = [place for place in (TRLS, VLLMS, "") if place != prefix]
    bare = key.removeprefix("vllm_")
    if f"grpo_{key}" in known[""]:
        return f"grpo_{key}"
    for place in places if prefix != DATASETS else ():
        for name in (key, bare):
            if name in known[place] and (name == key or place == VLLMS):
                return place + name
    close = get_close_matches(key, sorted(known[prefix]), n=1, cutoff=SURE)
    shown = "" if prefix == DATASETS else prefix
    return shown + close[0] if close else ""


def check_twice(file: str) -> Iterator[Finding]:
    """No block of a YAML has a key twice: the first would be dropped."""
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
                    what = f"stands there twice, and line {last} replaces line {line}"
                    yield Finding(f"{file}: {key.value}", what, "Remove one")


def check_unread(cfg: Any) -> Iterator[Finding]:
    """Every value in `trl` and `vllm` reaches the trainer or the server.

    Found out by asking: Axolotl's own arguments of the trainer with and without the key. Imports TRL.
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
            unread.setdefault(_mend(cfg, name, key), []).append(f"{name}.{key}")
    for key in DEAD.keys() & cfg.keys():
        unread[DEAD[key]] = [key]
    for mend, keys in unread.items():
        what = "a GRPO run like this one never reads it"
        yield Finding(at(cfg, ", ".join(keys)), what, mend, level="warning")


def _is_read(cfg: Any, name: str, key: str) -> bool:
    held = {each: value for each, value in cfg[name].items() if each != key}
    return key in PASSED | SAID or _reached(cfg) != _reached({**cfg, name: held})


def _mend(cfg: Any, name: str, key: str) -> str:
    for switch in SWITCHES:
        switched = {**cfg, "trl": {**block(cfg, "trl"), **switch}}
        if _is_read(switched, name, key):
            added = [f"trl.{k}: {v}" for k, v in switch.items() if block(cfg, "trl").get(k) != v]
            return f"It is read with {', '.join(added).replace('True', 'true')}; else remove it"
    return "Remove it"


def _reached(cfg: Any) -> dict[str, Any]:
    """What of a raw config arrives in the trainer's arguments and, where there is one, in the server's."""
    from axolotl.cli.vllm_serve import VllmServeArguments
    from axolotl.core.trainers.grpo import GRPOStrategy
    from axolotl.utils.dict import DictDefault

    # As Axolotl's validation fills them in.
    trl = {"vllm_mode": mode_of(cfg), **block(cfg, "trl")}
    full = DictDefault({"context_parallel_size": 1, **cfg, "trl": trl})
    given = GRPOStrategy.set_training_args_kwargs(full)
    producing = bool(trl.get("async_prefetch") or trl.get("use_data_producer"))
    taken = {field.name for field in fields(GRPOStrategy.get_training_args_class(producing))}
    arguments = {name: value for name, value in given.items() if name in taken}
    if mode_of(cfg) == "server":
        served = [field.name for field in fields(VllmServeArguments)] + ["serve_module"]
        arguments |= {f"server {name}": block(cfg, "vllm").get(name) for name in served}
    return arguments
