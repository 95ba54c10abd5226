"""Whether what a config names is there in the container too, and what it writes outlives it."""

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from glob import glob
from pathlib import PurePosixPath
from typing import Any

from axolotl_grpo_plugin.cloud.parcel import Parcel
from axolotl_grpo_plugin.cloud.remote import WORK
from axolotl_grpo_plugin.cloud.resume import place_of
from axolotl_grpo_plugin.findings import Finding, at

# Keys whose strings are paths that a run reads, whatever they look like.
READ = set(
    """
    base_model base_model_config tokenizer_config processor_config path data_files deepspeed
    chat_template_jinja lora_model_dir resume_from_checkpoint nemo_gym_dir nemo_gym_config_paths
    """.split()
)
# Keys whose strings are none, or are paths that a run writes.
WRITTEN = set(
    """
    output_dir dataset_prepared_path grpo_rollouts logging_dir trigger_file_path outfile
    autotune_cache_path push_dataset_to_hub axolotl_config_path
    """.split()
)
TRACKERS = ("hub_", "wandb_", "mlflow_", "comet_", "trackio_")
SUFFIXES = (".json", ".jsonl", ".parquet", ".csv", ".txt", ".arrow", ".jinja", ".yaml", ".yml")
# Axolotl's defaults.
DEFAULTS = {"output_dir": "./model-out", "dataset_prepared_path": "./last_run_prepared"}
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def check_local(cfg: Any, parcel: Parcel, mounts: Mapping[str, str]) -> Iterator[Finding]:
    """Every file, folder and module of this machine that a raw config names arrives in the container.

    mounts: mount point -> Volume. What is on a Volume cannot be seen from here: skipped.
    """
    for key, where, value in strings(cfg):
        where = at(cfg, f"{where} ({value})")
        if _DOTTED.fullmatch(value.replace(":", ".")):
            yield from _check_module(value.replace(":", "."), where, parcel)
        if key in WRITTEN or key.startswith(TRACKERS):
            continue
        if key in READ or "/" in value or value.endswith(SUFFIXES):
            yield from _check_path(value, key, where, parcel, mounts)


def strings(value: Any, key: str = "", where: str = "") -> Iterator[tuple[str, str, str]]:
    """Each string of a config that is not empty: its key, its full name, itself."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from strings(each, str(name), f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from strings(each, key, f"{where}[{number}]")
    elif isinstance(value, str) and value:
        yield key, where, value


def _check_module(name: str, where: str, parcel: Parcel) -> Iterator[Finding]:
    """A module of the working folder: `rewards.mine.score` is in rewards/mine.py."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        for file in ("/".join(parts[:end]) + ".py", "/".join([*parts[:end], "__init__.py"])):
            if (parcel.folder / file).is_file():
                if left := parcel.why_not(file):
                    yield Finding(where, f"{file} is not sent: {left.why}", left.fix)
                return


def _check_path(
    value: str, key: str, where: str, parcel: Parcel, mounts: Mapping[str, str]
) -> Iterator[Finding]:
    if place := place_of(value, mounts, str(WORK)):
        what = f"it must be on the Volume {place.volume}, as {place.path}"
        fix = f"`modal volume ls {place.volume}` shows what is there"
        yield Finding(where, what, fix, level="skipped")
        return
    names = [value]
    if key in ("path", "data_files") and re.search(r"[*?\[]", value):
        names = sorted(glob(value, root_dir=parcel.folder, recursive=True))
    for name in names:
        here = os.path.normpath(parcel.folder / os.path.expanduser(name))
        if (
            os.path.lexists(here)
            and here != "/"
            and (said := _not_there(name, here, parcel, mounts))
        ):
            known = key in READ or os.path.isfile(here)
            yield Finding(where, *said, level="error" if known else "warning")
            return


def _not_there(
    name: str, here: str, parcel: Parcel, mounts: Mapping[str, str]
) -> tuple[str, str] | None:
    """What is wrong with a path that is on this machine, and the fix."""
    there = PurePosixPath(posixpath.normpath(WORK / name))
    if there.is_relative_to(WORK) and not name.startswith("~"):
        left = parcel.why_not(str(there.relative_to(WORK)))
        return left and (f"it is not sent: {left.why}", left.fix)
    inside = os.path.relpath(here, parcel.folder)
    if inside.split("/")[0] != "..":
        return f"the working folder is {WORK} in the container", f"Write {inside}"
    fix = "Copy it into the working folder"
    if mounts:
        mount, volume = next(iter(mounts.items()))
        base = os.path.basename(here)
        fix += f", or `modal volume put {volume} {here} /{base}` and write {mount}/{base}"
    return "it is outside of the working folder, and not sent", fix


def check_output(
    cfg: Any, mounts: Mapping[str, str], keys: tuple[str, ...] = ("output_dir", "grpo_rollouts")
) -> Iterator[Finding]:
    """What is written under these keys is on a Volume: all else ends with the container.

    mounts: mount point -> Volume. The mount point itself will do: a Volume may be one run's, and
    no run starts where another's checkpoints are.
    """
    for key in keys:
        value = cfg.get(key) or DEFAULTS.get(key)
        if not isinstance(value, str) or place_of(value, mounts, str(WORK)):
            continue
        what = f"on no Volume, and lost when the container ends{'' if cfg.get(key) else ' (the default)'}"
        fix = "Mount a Volume there (volumes in cloud.yaml)"
        if mounts:
            mount = PurePosixPath(next(iter(mounts)))
            inside = mount.is_relative_to(WORK)
            start = f"./{mount.relative_to(WORK)}" if inside else str(mount)
            last = os.path.basename(posixpath.normpath(WORK / value)) or "run"
            fix = f"Write {key}: {start}/{last}, or mount a Volume there (volumes in cloud.yaml)"
        yield Finding(at(cfg, f"{key} ({value})"), what, fix)
