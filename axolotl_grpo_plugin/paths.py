"""Find modules in the working folder, files inside packages, and the shipped configs."""

import os
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import stop

PACKAGED = "pkg://"


def add_working_folder() -> None:
    """Make the working folder importable, so that `rewards.my_task.fn` is found.

    `axolotl train` starts Python with -m, which does this; `axolotl preprocess` and
    `--launcher python` run inside a console script, which does not.
    """
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)


def resolve_packaged(cfg: Config) -> None:
    """Replace `pkg://PACKAGE/PATH` in models' and datasets' paths by the file's real path."""
    holders = [(cfg.raw, "base_model"), (cfg.raw, "tokenizer_config")]
    for entry in (*cfg.datasets, *cfg.test_datasets):
        holders.append((entry, "path"))
    for holder, key in holders:
        value = holder.get(key)
        if isinstance(value, str) and value.startswith(PACKAGED):
            holder[key] = packaged(value)


def packaged(path: str) -> str:
    """Return the real path of `pkg://PACKAGE/PATH`, or the same if there is no such package."""
    package, _, below = path.removeprefix(PACKAGED).partition("/")
    if package and find_spec(package):
        return str(files(package).joinpath(below))
    return path


def shipped(name: str) -> Path:
    """Return the path of "configs", "docs", "rewards" or "cloud.yaml": in the wheel, or in a checkout."""
    package = Path(__file__).parent
    in_wheel = package / "pack" / name
    return in_wheel if in_wheel.exists() else package.parent / name


def check_empty(folder: Path) -> None:
    """Raise FindingError if a folder for new files has other files."""
    if folder.exists() and any(folder.iterdir()):
        stop("not-empty", str(folder), "has other files", "Name another folder with --out")
