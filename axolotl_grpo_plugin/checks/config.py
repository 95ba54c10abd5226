"""Cheap checks of a raw config, before Axolotl's validation: keys, imports, paths.

Axolotl's validation reports values of a wrong type.
"""

import json
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.args import GRPOArgs
from axolotl_grpo_plugin.checks import Finding, first_line
from axolotl_grpo_plugin.checks.hub import is_repo
from axolotl_grpo_plugin.checks.ignored import check_ignored
from axolotl_grpo_plugin.checks.modules import at, functions_of, imported, nearest
from axolotl_grpo_plugin.checks.rewards import check_rewards, check_scoring
from axolotl_grpo_plugin.paths import PACKAGED, block, dicts
from axolotl_grpo_plugin.serving.address import check_address
from axolotl_grpo_plugin.transforms.gsm8k import instructions
from axolotl_grpo_plugin.transforms.rows import DatasetError

PLUGIN = "axolotl_grpo_plugin.GRPOPlugin"


def check_keys(cfg: Any) -> Iterator[Finding]:
    """Check this plugin's keys, because Axolotl drops unknown keys silently."""
    for key in cfg:
        if str(key).startswith("grpo_") and key not in GRPOArgs.model_fields:
            yield Finding(at(cfg, key), "no such key", nearest(key, GRPOArgs.model_fields))


def check_transforms(cfg: Any) -> Iterator[Finding]:
    """Check that every user's dataset transform imports by Axolotl's rule."""
    for key in ("datasets", "test_datasets"):
        for number, dataset in enumerate(dicts(cfg.get(key))):
            yield from check_transform(dataset.get("type"), at(cfg, f"{key}[{number}].type"))


def check_transform(path: Any, where: str) -> Iterator[Finding]:
    """Check one dataset's `type`."""
    if not isinstance(path, str) or is_axolotls(path):
        return
    where = f"{where} ({path})"
    module_name, _, name = path.rpartition(".")
    if module_name.count("."):
        # Of a longer path, Axolotl imports the last module by its bare name.
        what = "Axolotl finds a transform only in a top-level module"
        yield Finding(where, what, f"Make {name} importable as <module>.{name}")
        return
    module = imported(module_name or name, where)
    if isinstance(module, Finding):
        yield module
    elif not hasattr(module, name if module_name else "default"):
        yield Finding(where, f"no {name!r} there", nearest(name, functions_of(module)))


def check_model(cfg: Any) -> Iterator[Finding]:
    """Check that base_model is an existing folder, or a name that the hub allows."""
    model = cfg.get("base_model")
    if not isinstance(model, str) or os.path.isdir(model):
        return
    where = at(cfg, f"base_model ({model})")
    if model.startswith(PACKAGED):
        yield Finding(
            where, "no such folder in an installed package", "Check the package's name and the path"
        )
    elif (
        model.startswith((".", "/", "~"))
        or model.count("/") > 1
        or os.path.isdir(model.partition("/")[0])
    ):
        fix = f"Paths count from the working folder, {os.getcwd()}"
        if os.path.basename(model) == "smollm2-135m-instruct":
            fix = f"`axolotl grpo fetch smollm2 --dest {model}` makes it"
        yield Finding(where, "no such folder", fix)
    elif not is_repo(model):
        yield Finding(where, "neither a folder nor a name that the hub allows", "Fix the name")
    else:
        yield from _check_offline(model, cfg.get("revision_of_model"), where)


def _check_offline(model: str, revision: Any, where: str) -> Iterator[Finding]:
    from huggingface_hub import constants, try_to_load_from_cache

    if not constants.HF_HUB_OFFLINE:
        return  # Axolotl asks the hub, and reports its answer
    if not isinstance(try_to_load_from_cache(model, "config.json", revision=revision), str):
        yield Finding(
            where,
            "neither a folder nor a downloaded model, and HF_HUB_OFFLINE forbids to ask the hub",
            "Unset HF_HUB_OFFLINE, or name a folder that holds the model",
        )


def check_deepspeed(cfg: Any) -> Iterator[Finding]:
    """Check that the DeepSpeed config exists and is JSON. Axolotl opens it only to train."""
    file = cfg.get("deepspeed")
    if not isinstance(file, str) or not file:
        return
    where = at(cfg, f"deepspeed ({file})")
    try:
        json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        fix = f"Paths count from the working folder, {os.getcwd()}"
        if file.startswith("deepspeed_configs/"):
            fix = "`axolotl fetch deepspeed_configs` makes it"
        yield Finding(where, error.strerror or "cannot be read", fix)
    except ValueError as error:
        yield Finding(where, f"not JSON: {first_line(error)}", "Fix the file")


def check_template(cfg: Any) -> Iterator[Finding]:
    """Check that the chat template file exists; Axolotl would otherwise use the path itself as the template."""
    template = cfg.get("chat_template_jinja")
    if isinstance(template, str) and template.endswith(".jinja") and not os.path.isfile(template):
        fix = f"`axolotl grpo fetch` copies the shipped ones; paths count from the working folder, {os.getcwd()}"
        yield Finding(at(cfg, f"chat_template_jinja ({template})"), "no such file", fix)


def check_files(cfg: Any) -> Iterator[Finding]:
    """Check that local dataset files exist and are not empty."""
    for key in ("datasets", "test_datasets"):
        for number, dataset in enumerate(dicts(cfg.get(key))):
            yield from check_file(dataset.get("path"), at(cfg, f"{key}[{number}].path"))


def check_file(path: Any, where: str) -> Iterator[Finding]:
    """Check one dataset's `path`."""
    if not isinstance(path, str):
        return
    where = f"{where} ({path})"
    if os.path.isfile(path):
        if not os.path.getsize(path):
            yield Finding(where, "an empty file", "Check the program that wrote it")
    elif path.startswith(PACKAGED):
        fix = "Check the package's name and the path"
        yield Finding(where, "no such file in an installed package", fix)
    elif path.endswith((".json", ".jsonl", ".parquet", ".csv")) and "://" not in path:
        fix = f"Paths count from the working folder, {os.getcwd()}"
        yield Finding(where, "no such file", fix)


def check_examples(cfg: Any) -> Iterator[Finding]:
    """Check that worked examples are in GSM8K's form. Axolotl hides errors of a transform's factory."""
    examples = dicts(cfg.get("grpo_examples"))
    if all(isinstance(each.get(key), str) for each in examples for key in ("question", "answer")):
        try:
            instructions(examples=examples)
        except DatasetError as error:
            yield Finding(at(cfg, "grpo_examples"), str(error), 'End the answer in "#### <number>"')


def check_held_out(cfg: Any) -> Iterator[Finding]:
    """Check that held-out rows have a dataset, and that no other generation runs beside them."""
    if not cfg.get("grpo_held_out_rows"):
        return
    where = at(cfg, "grpo_held_out_rows")
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


def is_named(cfg: Any) -> bool:
    """Return whether the config names the plugin. Otherwise it is only installed."""
    return any(str(name).replace(":", ".") == PLUGIN for name in _plugins(cfg))


def _plugins(cfg: Any) -> list[Any]:
    named = cfg.get("plugins")
    return named if isinstance(named, list) else []


def check_plugin(cfg: Any) -> Iterator[Finding]:
    """Check that the plugin is named by its one path. With a second path Axolotl would add its keys twice."""
    for name in _plugins(cfg):
        if str(name).startswith("axolotl_grpo_plugin") and str(name).replace(":", ".") != PLUGIN:
            yield Finding(at(cfg, f"plugins ({name})"), "not the plugin's path", f"Write {PLUGIN}")


def check_config(cfg: Any) -> Iterator[Finding]:
    """Run all these checks except those of the keys and the plugin's name."""
    for check in (
        check_ignored,
        check_rewards,
        check_scoring,
        check_transforms,
        check_model,
        check_files,
        check_deepspeed,
        check_template,
        check_examples,
        check_held_out,
        check_address,
    ):
        yield from check(cfg)


def is_axolotls(path: str) -> bool:
    """Return whether Axolotl ships that transform. Looks for its file, because an import takes seconds."""
    axolotl = find_spec("axolotl")
    folders = axolotl.submodule_search_locations if axolotl else None
    shipped = [Path(folder, "prompt_strategies", "dpo") for folder in folders or []]
    name = path.split(".")[0]
    return any((folder / f"{name}.py").is_file() or (folder / name).is_dir() for folder in shipped)
