"""Check that the model, the files and the transforms that a config names exist."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.findings import Finding, at, correct_path
from axolotl_grpo_plugin.hub import FILES, is_repo
from axolotl_grpo_plugin.load import load_transform
from axolotl_grpo_plugin.modules import check_file_path, function_at
from axolotl_grpo_plugin.paths import PACKAGED

PACKAGE_FIX = "Check the package's name and the path"


def check_transform(path: Any, where: str) -> Iterator[Finding]:
    """Check one dataset's `type`."""
    if not isinstance(path, str) or is_axolotls(path):
        return
    where = f"{where} ({path})"
    if finding := check_file_path(path, where):
        yield finding
        return
    function = function_at(path, where)
    if isinstance(function, Finding):
        yield function
    else:
        try:
            load_transform(path)
        except TypeError as error:
            what, _, fix = str(error).partition(". ")
            yield Finding(where, what, fix)


def check_model(cfg: Any) -> Iterator[Finding]:
    """Check that base_model is an existing folder, or a name that the hub allows."""
    model = cfg.get("base_model")
    if not isinstance(model, str) or os.path.isdir(model):
        return
    where = at(cfg, f"base_model ({model})")
    is_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    if model.startswith(PACKAGED):
        yield Finding(where, "no such folder in an installed package", PACKAGE_FIX)
    elif is_path or os.path.isdir(model.partition("/")[0]):
        fix = correct_path()
        if os.path.basename(model) == "smollm2-135m-instruct":
            fix = f"Make it with `axolotl grpo fetch smollm2 --dest {model}`"
        yield Finding(where, "no such folder", fix)
    elif not is_repo(model):
        what = "neither a folder nor a name that the Hugging Face hub allows"
        yield Finding(where, what, "Correct the name")
    else:
        from huggingface_hub import constants, try_to_load_from_cache

        cached = try_to_load_from_cache(model, "config.json", revision=cfg.get("revision_of_model"))
        if constants.HF_HUB_OFFLINE and not isinstance(cached, str):  # else Axolotl asks the hub
            what = "neither a folder nor a downloaded model, and HF_HUB_OFFLINE forbids a download"
            yield Finding(where, what, "Unset HF_HUB_OFFLINE, or name the model's folder")


def check_file(path: Any, where: str) -> Iterator[Finding]:
    """Check one dataset's `path`."""
    if not isinstance(path, str):
        return
    where = f"{where} ({path})"
    if os.path.isfile(path):
        if not os.path.getsize(path):
            yield Finding(where, "an empty file", "Check the program that wrote it")
    elif path.startswith(PACKAGED):
        yield Finding(where, "no such file in an installed package", PACKAGE_FIX)
    elif path.endswith(FILES) and "://" not in path:
        yield Finding(where, "no such file", correct_path())


def is_axolotls(path: str) -> bool:
    """Return whether Axolotl ships this transform. Looks for its file, because the import takes seconds."""
    axolotl = find_spec("axolotl")
    folders = axolotl.submodule_search_locations if axolotl else None
    shipped = [Path(folder, "prompt_strategies", "dpo") for folder in folders or []]
    name = path.split(".")[0]
    return any((folder / f"{name}.py").is_file() or (folder / name).is_dir() for folder in shipped)
