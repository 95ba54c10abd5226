"""Checks before a container is rented: files, addresses, outputs, secrets and GPUs."""

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from glob import glob
from pathlib import PurePosixPath
from typing import Any

from accelerate.commands.launch import launch_command_parser

from axolotl_grpo_plugin.cloud.remote import place_of
from axolotl_grpo_plugin.cloud.settings import WORK, Settings
from axolotl_grpo_plugin.cloud.upload import Upload
from axolotl_grpo_plugin.commands.train import check_rl, check_words
from axolotl_grpo_plugin.findings import Finding, Level, at
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.plan import Call

# READ: keys whose strings are paths that a run reads. WRITTEN: keys of outputs, and of no paths.
READ = re.compile(r"(\w+_)?(model|config|model_dir|jinja|checkpoint)|path|data_files|deepspeed")
WRITTEN = re.compile(
    r"(output|logging)_dir|grpo_rollouts|outfile|push_dataset_to_hub|(hub|wandb|mlflow|comet)_\w+|"
    r"(dataset_prepared|trigger_file|autotune_cache|axolotl_config)_path|trackio_\w+"
)
DEFAULTS = {"output_dir": "./model-out", "dataset_prepared_path": "./last_run_prepared"}
_LOCAL = re.compile(r"://([^/@]*@)?(localhost|127\.|0\.0\.0\.0|\[::1?\])", re.IGNORECASE)


def strings(value: Any, key: str = "", where: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the key, the full name and the text of each string in a config that is not empty."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from strings(each, str(name), f"{where}.{name}" if where else str(name))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from strings(each, key, f"{where}[{number}]")
    elif isinstance(value, str) and value:
        yield key, where, value


def check_strings(cfg: Any, upload: Upload, mounts: Mapping[str, str]) -> Iterator[Finding]:
    """Check that the config's files and modules are sent, and that no address is local."""
    for key, name, value in strings(cfg):
        where = at(cfg, f"{name} ({value})")
        if "://" in value and not key.startswith("vllm_") and _LOCAL.search(value):
            yield Finding(at(cfg, name), "the container cannot reach it", "Write a public address")
        stem = re.split(r"[.:](?=\w+$)", value)[0].replace(".", "/")  # rewards.mine.score
        modules = (f"{stem}.py", f"{stem}/__init__.py") if re.fullmatch(r"[\w.:]+", value) else ()
        paths = [each for each in modules if (upload.folder / each).is_file()]
        if not WRITTEN.fullmatch(key) and (READ.fullmatch(key) or "/" in value or "." in value):
            if place := place_of(value, mounts):
                what = f"it must be on the Volume {place[0]}, as {place[1]}"
                yield Finding(where, what, f"See `modal volume ls {place[0]}`", level="skipped")
                continue
            paths += sorted(glob(value, root_dir=upload.folder, recursive=True)) or [value]
        for problem in filter(None, (_missing(each, upload) for each in paths)):
            certain = READ.fullmatch(key) or os.path.isfile(upload.folder / paths[0])
            yield Finding(where, *problem, level="error" if certain else "warning")
            break


def _missing(path: str, upload: Upload) -> tuple[str, str] | None:
    """Return why the container will not have this path of this machine, and the fix."""
    here = os.path.normpath(upload.folder / os.path.expanduser(path))
    if not os.path.lexists(here) or here == "/":
        return None
    there, inside = PurePosixPath(WORK / path), os.path.relpath(here, upload.folder)
    if inside.startswith(".."):
        return "it is outside the working folder, and not sent", "Copy it there, or to a Volume"
    if not there.is_relative_to(WORK) or path.startswith("~"):
        return f"the working folder is {WORK} in the container", f"Write {inside}"
    skipped = upload.why_not(inside)
    return skipped and (f"{path} is not sent: {skipped.why}", skipped.fix)


def check_output(cfg: Any, mounts: Mapping[str, str], *keys: str) -> Iterator[Finding]:
    """Check that everything written under these keys is on a Volume."""
    for key in keys:
        value = cfg.get(key) or DEFAULTS.get(key)
        if isinstance(value, str) and not place_of(value, mounts):
            mount = os.path.relpath(next(iter(mounts), WORK / "outputs"), WORK)
            fix = f"Write {key}: ./{mount}/{posixpath.basename(value)}, on a Volume of cloud.yaml"
            yield Finding(at(cfg, f"{key} ({value})"), "it is on no Volume, and would be lost", fix)


def check_run(cfg: Any, gpu: str | None, call: Call) -> Iterator[Finding]:
    """Check that `axolotl grpo train` can run this config on the container's GPUs."""
    yield from (*check_rl(cfg), *check_words(call, cfg))
    if call.launcher == "accelerate":  # Axolotl passes mistyped options on to it
        left = launch_command_parser().parse_known_args([*call.after, "-m", "axolotl.cli.train"])[1]
        for word in {each.partition("=")[0] for each in left if each.startswith("-")}:
            what = "`axolotl train` and its launcher have no such option"
            yield Finding(word, what, "Correct it")
    if cfg.get("save_strategy") in ("no", False):
        what, fix = "a run that is interrupted starts from the beginning", "Set it to steps"
        yield Finding(at(cfg, "save_strategy"), what, fix, level="warning")
    if gpu is None and mode_of(cfg) != "none":
        yield Finding(at(cfg, "trl.use_vllm"), "vLLM needs a GPU", "Set gpu in cloud.yaml")


def check_secrets(cfg: Any, settings: Settings) -> Iterator[Finding]:
    """Check that the API keys that the config needs are sent. A stored Secret may have any key."""
    names = {name for kind, name in settings.secrets if kind == "env" and os.environ.get(name)}
    mode = str(cfg.get("wandb_mode") or settings.env.get("WANDB_MODE"))
    wanted = {"hub_model_id": "HF_TOKEN", "hf_use_auth_token": "HF_TOKEN"}
    if cfg.get("use_wandb") is not False and mode not in ("offline", "disabled"):
        wanted["wandb_project"] = "WANDB_API_KEY"
    wanted = {key: name for key, name in wanted.items() if cfg.get(key)}
    for reward in reward_refs(cfg):
        usual = "OPENAI_API_KEY" if reward.path.endswith(".rewards.judge.judge") else ""
        secret = dict(reward.arguments).get("api_key_env", usual)
        if os.environ.get(secret):  # a self-hosted judge may need no key
            wanted[f"grpo_reward_args ({reward.key})"] = secret
    level: Level = "error" if all(kind == "env" for kind, _ in settings.secrets) else "warning"
    for where, name in wanted.items():
        if name not in names:
            what, fix = f"{name} is not sent", f"`export {name}=…`, and list it in cloud.yaml"
            yield Finding(at(cfg, where), what, fix, level=level if where in cfg else "warning")
