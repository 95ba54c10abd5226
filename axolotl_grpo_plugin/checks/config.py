"""Checks of a raw config (before Axolotl's validation) that cost nothing: keys, imports, paths."""

import os
import traceback
from collections.abc import Iterator
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.args import GRPOArgs
from axolotl_grpo_plugin.checks import Finding


def check_keys(cfg: Any) -> Iterator[Finding]:
    """Axolotl drops a key that it does not know without a word; ours are known here."""
    for key in cfg:
        if key.startswith("grpo_") and key not in GRPOArgs.model_fields:
            yield Finding(_at(cfg, key), "no such key", _nearest(key, GRPOArgs.model_fields))


def check_rewards(cfg: Any) -> Iterator[Finding]:
    """Every reward path imports, and is a function that TRL can call."""
    paths = (cfg.get("trl") or {}).get("reward_funcs") or []
    if isinstance(paths, str):
        yield Finding(_at(cfg, f"trl.reward_funcs ({paths})"), "not a list", 'Put "- " before it')
        return
    for number, path in enumerate(paths):
        where = _at(cfg, f"trl.reward_funcs[{number}] ({path})")
        if "/" in path or os.path.isdir(path):
            continue  # a reward model: a folder, or a name on the hub
        module_name, _, name = path.rpartition(".")
        if not module_name:
            yield Finding(where, "not a path", "Write it as module.function")
            continue
        module = _import(module_name, where)
        if isinstance(module, Finding):
            yield module
        elif not hasattr(module, name):
            yield Finding(where, f"{module_name} has no {name!r}", _nearest(name, dir(module)))
        elif not callable(getattr(module, name)):
            yield Finding(where, "not a function", "Name a function of that module")
        elif len(signature(getattr(module, name)).parameters) < 2:
            yield Finding(
                where,
                "takes fewer than two parameters, where TRL passes prompts, completions and the columns",
                "Decorate a scorer of one completion with axolotl_grpo_plugin.reward.reward, "
                "or write it as f(prompts, completions, **columns)",
            )


def check_transforms(cfg: Any) -> Iterator[Finding]:
    """Every dataset transform of one's own imports by the rule that Axolotl has for it."""
    for key in ("datasets", "test_datasets"):
        for number, dataset in enumerate(cfg.get(key) or []):
            path = dataset.get("type")
            where = _at(cfg, f"{key}[{number}].type ({path})")
            if not isinstance(path, str) or _is_axolotls(path):
                continue
            module_name, _, name = path.rpartition(".")
            if module_name.count("."):
                # It imports the last module of a longer path, by that name alone.
                yield Finding(
                    where,
                    "Axolotl finds a transform only in a top-level module",
                    f"Make {name} importable as <module>.{name}",
                )
                continue
            module = _import(module_name or name, where)
            if isinstance(module, Finding):
                yield module
            elif not hasattr(module, name if module_name else "default"):
                yield Finding(where, f"no {name!r} there", _nearest(name, dir(module)))


def check_model(cfg: Any) -> Iterator[Finding]:
    """base_model is a folder that is there, or a name that the hub can have."""
    model = cfg.get("base_model")
    if not isinstance(model, str) or os.path.isdir(os.path.expanduser(model)):
        return
    where = _at(cfg, f"base_model ({model})")
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        mend = f"Paths count from the working folder, {os.getcwd()}"
        if Path(model).name == "smollm2-135m-instruct":
            mend = f"`axolotl grpo fetch smollm2 --dest {model}` makes it"
        yield Finding(where, "no such folder", mend)
        return
    from huggingface_hub import constants, try_to_load_from_cache

    if constants.HF_HUB_OFFLINE and not isinstance(
        try_to_load_from_cache(model, "config.json"), str
    ):
        yield Finding(
            where,
            "not a folder, and not among the models downloaded from the hub, which HF_HUB_OFFLINE forbids to ask",
            "Unset HF_HUB_OFFLINE, or name a folder that holds the model",
        )


def check_held_out(cfg: Any) -> Iterator[Finding]:
    if cfg.get("grpo_held_out_rows") and not cfg.get("test_datasets"):
        yield Finding(
            _at(cfg, "grpo_held_out_rows"),
            "there are no test_datasets to take the rows from",
            "Add test_datasets, or remove the key",
        )


def check_config(cfg: Any) -> Iterator[Finding]:
    """All of these but the keys."""
    for check in (check_rewards, check_transforms, check_model, check_held_out):
        yield from check(cfg)


def _at(cfg: Any, key: str) -> str:
    file = cfg.get("axolotl_config_path")
    return f"{file}: {key}" if file else key


def _nearest(name: str, known: Any) -> str:
    close = get_close_matches(name, [each for each in known if not each.startswith("_")], n=1)
    return f"Did you mean {close[0]!r}" if close else f"There are: {', '.join(sorted(known))}"


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
