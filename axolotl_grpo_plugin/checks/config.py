"""Checks of a raw config (before Axolotl's validation) that cost nothing: keys, imports, paths.

What is not of the type that a key wants is left to Axolotl's validation, which says so.
"""

import os
import traceback
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from types import ModuleType
from typing import Any

from axolotl_grpo_plugin.args import GRPOArgs
from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.paths import PACKAGED, block, dicts
from axolotl_grpo_plugin.transforms.gsm8k import instructions
from axolotl_grpo_plugin.transforms.rows import DatasetError

PLUGIN = "axolotl_grpo_plugin.GRPOPlugin"


def check_keys(cfg: Any) -> Iterator[Finding]:
    """Axolotl drops a key that it does not know without a word; ours are known here."""
    for key in cfg:
        if str(key).startswith("grpo_") and key not in GRPOArgs.model_fields:
            yield Finding(_at(cfg, key), "no such key", _nearest(key, GRPOArgs.model_fields))


def check_rewards(cfg: Any) -> Iterator[Finding]:
    """Every reward path imports, and is a function that TRL can call."""
    paths = block(cfg, "trl").get("reward_funcs")
    if isinstance(paths, str):
        yield Finding(_at(cfg, f"trl.reward_funcs ({paths})"), "not a list", 'Put "- " before it')
    elif isinstance(paths, list):
        for number, path in enumerate(paths):
            if isinstance(path, str):
                yield from _check_reward(path, _at(cfg, f"trl.reward_funcs[{number}] ({path})"))


def _check_reward(path: str, where: str) -> Iterator[Finding]:
    module_name, _, name = path.rpartition(".")
    if "/" in path and os.path.exists(f"{module_name}.py"):
        mend = f"Write it as {module_name.strip('./').replace('/', '.')}.{name}"
        yield Finding(where, "a file's path, where Axolotl wants a module's", mend)
    elif "/" in path:
        if not module_name:
            # GRPOStrategy.get_reward_func takes what stands before the last full stop for a module.
            what = "Axolotl 0.21 cannot load a reward model that has no full stop in its name"
            yield Finding(where, what, "Use a folder or a model with one")
    elif not module_name:
        yield Finding(where, "not a path", "Write it as module.function")
    else:
        module = _import(module_name, where)
        if isinstance(module, Finding):
            yield module
        elif not hasattr(module, name):
            yield Finding(
                where, f"{module_name} has no {name!r}", _nearest(name, _functions(module))
            )
        elif not callable(getattr(module, name)):
            yield Finding(where, "not a function", _nearest(name, _functions(module)))
        elif _parameters(getattr(module, name)) < 2:
            yield Finding(
                where,
                "takes fewer than two parameters, where TRL passes prompts, completions and the columns",
                "Decorate a scorer of one completion with axolotl_grpo_plugin.reward.reward, "
                "or write it as f(prompts, completions, **columns)",
            )


def check_transforms(cfg: Any) -> Iterator[Finding]:
    """Every dataset transform of one's own imports by the rule that Axolotl has for it."""
    for key in ("datasets", "test_datasets"):
        for number, dataset in enumerate(dicts(cfg.get(key))):
            path = dataset.get("type")
            if isinstance(path, str) and not _is_axolotls(path):
                yield from _check_transform(path, _at(cfg, f"{key}[{number}].type ({path})"))


def _check_transform(path: str, where: str) -> Iterator[Finding]:
    module_name, _, name = path.rpartition(".")
    if module_name.count("."):
        # It imports the last module of a longer path, by that name alone.
        what = "Axolotl finds a transform only in a top-level module"
        yield Finding(where, what, f"Make {name} importable as <module>.{name}")
        return
    module = _import(module_name or name, where)
    if isinstance(module, Finding):
        yield module
    elif not hasattr(module, name if module_name else "default"):
        yield Finding(where, f"no {name!r} there", _nearest(name, _functions(module)))


def check_model(cfg: Any) -> Iterator[Finding]:
    """base_model is a folder that is there, or a name that the hub can have."""
    model = cfg.get("base_model")
    if not isinstance(model, str) or os.path.isdir(model):
        return
    where = _at(cfg, f"base_model ({model})")
    if model.startswith(PACKAGED):
        yield Finding(
            where, "no such folder in an installed package", "Check the package's name and the path"
        )
    elif (
        model.startswith((".", "/", "~"))
        or model.count("/") > 1
        or os.path.isdir(model.partition("/")[0])
    ):
        mend = f"Paths count from the working folder, {os.getcwd()}"
        if os.path.basename(model) == "smollm2-135m-instruct":
            mend = f"`axolotl grpo fetch smollm2 --dest {model}` makes it"
        yield Finding(where, "no such folder", mend)
    else:
        yield from _check_offline(model, cfg.get("revision_of_model"), where)


def _check_offline(model: str, revision: Any, where: str) -> Iterator[Finding]:
    from huggingface_hub import constants, try_to_load_from_cache

    if not constants.HF_HUB_OFFLINE:
        return  # Axolotl asks the hub, and says what it answers
    if not isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str):
        yield Finding(
            where,
            "not a folder, and not among the models downloaded from the hub, which HF_HUB_OFFLINE forbids to ask",
            "Unset HF_HUB_OFFLINE, or name a folder that holds the model",
        )


def check_files(cfg: Any) -> Iterator[Finding]:
    """A dataset that is a local file is there, and not empty."""
    for key in ("datasets", "test_datasets"):
        for number, dataset in enumerate(dicts(cfg.get(key))):
            path = dataset.get("path")
            if not isinstance(path, str):
                continue
            where = _at(cfg, f"{key}[{number}].path ({path})")
            if os.path.isfile(path):
                if not os.path.getsize(path):
                    yield Finding(where, "an empty file", "Look at what wrote it")
            elif path.startswith(PACKAGED):
                yield Finding(
                    where,
                    "no such file in an installed package",
                    "Check the package's name and the path",
                )
            elif path.endswith((".json", ".jsonl", ".parquet", ".csv")) and "://" not in path:
                yield Finding(
                    where, "no such file", f"Paths count from the working folder, {os.getcwd()}"
                )


def check_examples(cfg: Any) -> Iterator[Finding]:
    """The worked examples are in GSM8K's form. (Axolotl would hide what a transform's factory raises.)"""
    examples = dicts(cfg.get("grpo_examples"))
    if all(isinstance(each.get(key), str) for each in examples for key in ("question", "answer")):
        try:
            instructions(examples=examples)
        except DatasetError as error:
            yield Finding(
                _at(cfg, "grpo_examples"), str(error), 'End the answer in "#### <number>"'
            )


def check_held_out(cfg: Any) -> Iterator[Finding]:
    """The held-out rows have a dataset, and nothing generates beside them."""
    if not cfg.get("grpo_held_out_rows"):
        return
    where = _at(cfg, "grpo_held_out_rows")
    if not cfg.get("test_datasets"):
        yield Finding(
            where,
            "there are no test_datasets to take the rows from",
            "Add test_datasets, or remove the key",
        )
    if block(cfg, "trl").get("async_prefetch"):
        what = (
            "trl.async_prefetch generates at the same time, and its completions would be greedy too"
        )
        yield Finding(where, what, "Remove one of the two keys")


def check_plugin(cfg: Any) -> Iterator[Finding]:
    """The plugin is named by its one path: a second makes Axolotl mix the same keys in twice."""
    for name in cfg.get("plugins") or []:
        if str(name).startswith("axolotl_grpo_plugin") and str(name).replace(":", ".") != PLUGIN:
            yield Finding(_at(cfg, f"plugins ({name})"), "not the plugin's path", f"Write {PLUGIN}")


def check_config(cfg: Any) -> Iterator[Finding]:
    """All of these but the keys and the plugin's name."""
    for check in (
        check_rewards,
        check_transforms,
        check_model,
        check_files,
        check_examples,
        check_held_out,
    ):
        yield from check(cfg)


def _at(cfg: Any, key: Any) -> str:
    file = cfg.get("axolotl_config_path")
    return f"{file}: {key}" if file else str(key)


def _nearest(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}" if close else f"There are: {', '.join(known) or 'none'}"


def _functions(module: ModuleType) -> list[str]:
    return [
        name
        for name in dir(module)
        if not name.startswith("_")
        and callable(getattr(module, name))
        and getattr(getattr(module, name), "__module__", None) == module.__name__
    ]


def _parameters(function: Any) -> int:
    try:
        return len(signature(function).parameters)
    except (TypeError, ValueError):
        return 2  # a builtin hides them: let TRL try


def _import(module_name: str, where: str) -> Any:
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            return Finding(
                where,
                f"there is no module {error.name!r}",
                f"A file of yours is found from the working folder ({os.getcwd()}), a package once it is installed",
            )
        what = f"{module_name} cannot be imported, because it imports {error.name!r}, which is not installed"
        return Finding(where, what, f"Install {error.name}", traceback.format_exc())
    except Exception as error:
        what = f"{module_name} cannot be imported: {type(error).__name__}: {error}"
        return Finding(where, what, "Mend the module", traceback.format_exc())


def _is_axolotls(path: str) -> bool:
    return find_spec(f"axolotl.prompt_strategies.dpo.{path.split('.')[0]}") is not None
