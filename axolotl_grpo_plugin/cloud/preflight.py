"""Checks before a container is rented: files, addresses, outputs, secrets and GPUs."""

import os
import posixpath
import re
from collections.abc import Iterator
from glob import glob
from pathlib import Path, PurePosixPath
from typing import Any

from accelerate.commands.launch import launch_command_parser

from axolotl_grpo_plugin.cloud.remote import place_of
from axolotl_grpo_plugin.cloud.settings import WORK, Mounts, Settings
from axolotl_grpo_plugin.cloud.upload import Upload
from axolotl_grpo_plugin.commands.train import check_words
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Finding, warning
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.plan import CommandLine

DEFAULT_OUTPUT = "./model-out"  # Axolotl's output_dir
# Keys of files that a run reads.
_READ = re.compile(r"(\w+_)?(model|config|model_dir|jinja|checkpoint)|path|data_files|deepspeed")
# Keys of files that a run writes, and keys without a path. Axolotl sets axolotl_config_path itself.
_WRITTEN = re.compile(
    r"(output|logging)_dir|grpo_rollouts|outfile|push_dataset_to_hub|(hub|wandb|mlflow|comet|trackio)_\w+|"
    r"(dataset_prepared|trigger_file|autotune_cache|axolotl_config)_path"
)
_LOCAL = re.compile(r"://([^/@]*@)?(localhost|127\.|0\.0\.0\.0|\[::1?\])", re.IGNORECASE)


def strings(value: Any, key: str = "", where: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the key, the full name and the text of each string in a config that is not empty."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from strings(inner, str(name), f"{where}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from strings(inner, key, f"{where}[{number}]")
    elif isinstance(value, str) and value:
        yield key, where, value


def check_addresses(cfg: Config) -> Iterator[Finding]:
    """Check that no address is this machine's own."""
    for key, name, value in strings(cfg.raw):
        # vLLM's own server runs in the container.
        if _LOCAL.search(value) and not key.startswith("vllm_"):
            yield Finding(name, "the container cannot reach it", "Write a public address")


def check_paths(cfg: Config, upload: Upload, mounts: Mounts) -> Iterator[Finding]:
    """Check that the container has each file that the config names.

    A string names a file if this machine has that file. Python modules are sent, unless a pattern
    ignores them.
    """
    for key, name, value in strings(cfg.raw):
        is_read = _READ.fullmatch(key) is not None
        if _WRITTEN.fullmatch(key) or not (is_read or "/" in value or "." in value):
            continue
        where = f"{name} ({value})"
        volume = place_of(value, mounts)
        if volume:
            yield Finding(
                where,
                f"it must be on the Volume {volume.volume}, as {volume.path}",
                f"See `modal volume ls {volume.volume}`",
                level="skipped",
            )
            continue
        paths = sorted(glob(value, root_dir=upload.folder, recursive=True)) or [value]
        for path in paths:
            problem = _missing(path, upload)
            if problem:
                # Another string may only look like a path.
                is_path = is_read or (upload.folder / path).is_file()
                yield Finding(where, *problem, level="error" if is_path else "warning")
                break


def _missing(path: str, upload: Upload) -> tuple[str, str] | None:
    """Return why the container will not have a file of this machine, and the fix."""
    here = Path(os.path.normpath(upload.folder / os.path.expanduser(path)))
    # A hub's name, a text such as "/", or a path that only the container has.
    if not os.path.lexists(here) or here == Path("/"):
        return None
    if not here.is_relative_to(upload.folder):
        return "it is outside the working folder, and not sent", "Copy it there, or to a Volume"
    inside = str(here.relative_to(upload.folder))
    is_in_work = PurePosixPath(path).is_relative_to(WORK)  # the container has this path, too
    if path.startswith("~") or (path.startswith("/") and not is_in_work):
        return f"the working folder is {WORK} in the container", f"Write {inside}"
    if upload.has(inside):
        return None
    is_hidden = any(part.startswith(".") for part in Path(inside).parts)
    if is_hidden or here.is_symlink():
        return (
            f"{inside} is not sent",
            "Copy it to another name. Hidden files and links are never sent",
        )
    return f"{inside} is not sent", f'Add "!{inside}" to ignore in cloud.yaml'


def check_output(cfg: Config, mounts: Mounts) -> Iterator[Finding]:
    """Check that the model and the rollouts are written to a Volume."""
    outputs = {
        "output_dir": cfg.output_dir or DEFAULT_OUTPUT,
        "grpo_rollouts": cfg.grpo_rollouts,  # may be true
    }
    for key, value in outputs.items():
        if isinstance(value, str) and not place_of(value, mounts):
            first = next(iter(mounts), WORK / "outputs")
            folder = os.path.relpath(first, WORK)
            yield Finding(
                f"{key} ({value})",
                "it is on no Volume, and would be lost",
                f"Write {key}: ./{folder}/{posixpath.basename(value)}, on a Volume of cloud.yaml",
            )


def check_run(cfg: Config, gpu: str | None, call: CommandLine) -> Iterator[Finding]:
    """Check that `axolotl-grpo train` can run this config on the container's GPUs."""
    yield from check_words(call, cfg, None)
    if call.launcher == "accelerate":  # Axolotl passes mistyped options on to it
        words = [*call.after, "-m", "axolotl.cli.train"]
        _, unknown = launch_command_parser().parse_known_args(words)
        for word in unknown:
            if word.startswith("-"):
                yield Finding(
                    word.partition("=")[0],
                    "`axolotl train` and its launcher have no such option",
                    "Correct it",
                )
    if gpu is None and mode_of(cfg) != "none":
        yield Finding("trl.use_vllm", "vLLM needs a GPU", "Set gpu in cloud.yaml")


def check_secrets(cfg: Config, settings: Settings) -> Iterator[Finding]:
    """Check that the API keys that the config needs are sent. A stored Secret may have any key."""
    sent = {name for _, name in settings.secrets if os.environ.get(name)}
    stored = any(kind != "env" for kind, _ in settings.secrets)
    for key, name in _keys(cfg, settings.env):
        if name not in sent:
            yield Finding(
                key,
                f"{name} is not sent",
                f"`export {name}=…`, and list it in cloud.yaml",
                level="warning" if stored else "error",
            )
    for reward in reward_refs(cfg):
        usual = "OPENAI_API_KEY" if reward.path.endswith(".rewards.judge.judge") else ""
        name = dict(reward.arguments).get("api_key_env", usual)
        if os.environ.get(name) and name not in sent:  # a self-hosted judge may need no key
            yield warning(
                "key-not-sent",
                f"grpo_reward_args ({reward.key})",
                f"{name} is not sent",
                f"List {name} under secrets in cloud.yaml",
            )


def _keys(cfg: Config, env: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the keys that need a login, and the variable that has it."""
    for key in ("hub_model_id", "hf_use_auth_token"):
        if cfg.value_at(key):
            yield key, "HF_TOKEN"
    mode = cfg.wandb_mode or env.get("WANDB_MODE")
    is_online = cfg.use_wandb is not False and mode not in ("offline", "disabled")
    if cfg.wandb_project and is_online:
        yield "wandb_project", "WANDB_API_KEY"
