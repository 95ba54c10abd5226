"""Whether a container can do what config and command line ask for, before one is rented."""

import os
import posixpath
import re
from collections.abc import Iterator, Mapping
from glob import glob
from pathlib import PurePosixPath
from typing import Any

from accelerate.commands.launch import launch_command_parser

from axolotl_grpo_plugin.cloud.remote import place_of
from axolotl_grpo_plugin.cloud.settings import LOGIN, WORK, Settings
from axolotl_grpo_plugin.cloud.upload import Upload
from axolotl_grpo_plugin.commands.train import check_rl, check_words
from axolotl_grpo_plugin.findings import Finding, Level, at
from axolotl_grpo_plugin.load import reward_refs
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.serving.plan import Call

# Keys whose strings are paths that a run reads; keys whose strings are not, or that it writes.
READ = re.compile(r"(\w+_)?(model|config|model_dir|jinja|checkpoint)|path|data_files|deepspeed")
WRITTEN = re.compile(
    r"output_dir|logging_dir|grpo_rollouts|outfile|push_dataset_to_hub|"
    r"(dataset_prepared|trigger_file|autotune_cache|axolotl_config)_path|"
    r"(hub|wandb|mlflow|comet|trackio)_\w+"
)
DEFAULTS = {"output_dir": "./model-out", "dataset_prepared_path": "./last_run_prepared"}
_LOCAL = re.compile(r"://([^/@]*@)?(localhost|127\.|0\.0\.0\.0|\[::1?\])", re.IGNORECASE)
_KEY = re.compile(r".*((api|access|secret|private)_?key|(hf|hub|access|api)_token|password|secret)")


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
    """Check that each file and module that a config names arrives, and for keys and addresses."""
    for key, name, value in strings(cfg):
        where = at(cfg, f"{name} ({value})")
        if _KEY.fullmatch(key.lower()) or LOGIN.search(value):
            fix = (
                "Remove it: a variable that `secrets` in cloud.yaml names arrives in the container"
            )
            yield Finding(at(cfg, name), "a key or password would be sent and shown", fix)
        elif "://" in value and not key.startswith("vllm_") and _LOCAL.search(value):
            what = "nothing listens at this address of your machine in the container"
            yield Finding(at(cfg, name), what, "Write an address that Modal can reach")
        stem = re.split(r"[.:](?=\w+$)", value)[0].replace(".", "/")  # rewards.mine.score
        modules = (f"{stem}.py", f"{stem}/__init__.py") if re.fullmatch(r"[\w.:]+", value) else ()
        paths = [each for each in modules if (upload.folder / each).is_file()]
        if not WRITTEN.fullmatch(key) and (READ.fullmatch(key) or "/" in value or "." in value):
            if place := place_of(value, mounts):
                what = f"it must be on the Volume {place[0]}, as {place[1]}"
                yield Finding(where, what, f"See `modal volume ls {place[0]}`", level="skipped")
                continue
            paths += sorted(glob(value, root_dir=upload.folder, recursive=True)) or [value]
        for said in filter(None, (_missing(each, upload) for each in paths)):
            certain = READ.fullmatch(key) or os.path.isfile(upload.folder / paths[0])
            yield Finding(where, *said, level="error" if certain else "warning")
            break


def _missing(path: str, upload: Upload) -> tuple[str, str] | None:
    """Return what is wrong with a path of this machine in the container, and the fix."""
    here = os.path.normpath(upload.folder / os.path.expanduser(path))
    if not os.path.lexists(here) or here == "/":
        return None
    there, inside = PurePosixPath(WORK / path), os.path.relpath(here, upload.folder)
    if inside.startswith(".."):
        fix = "Copy it into the folder, or onto a Volume with `modal volume put`"
        return "it is outside of the working folder, and not sent", fix
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
            what = "it is on no Volume, and lost when the container ends"
            yield Finding(at(cfg, f"{key} ({value})"), what, fix)


def check_run(cfg: Any, gpu: str | None, call: Call) -> Iterator[Finding]:
    """Check for what the container's GPUs and `axolotl grpo train` there cannot do."""
    refused = list(check_words(call, cfg))
    yield from (*check_rl(cfg), *refused)
    if call.launcher == "accelerate":  # Axolotl hands it mistyped options, too
        words = [*call.after, "-m", "axolotl.cli.train"]
        unknown = [
            each.split("=")[0] for each in launch_command_parser().parse_known_args(words)[1]
        ]
        for word in {each for each in unknown if each[0] == "-"} - {each.where for each in refused}:
            what = "neither `axolotl train` nor its launcher has this option"
            yield Finding(word, what, "Correct or remove it")
    if cfg.get("save_strategy") in ("no", False):
        what = "without checkpoints, a run that is interrupted starts from the beginning"
        fix = "Set save_strategy: steps, and save_steps"
        yield Finding(at(cfg, "save_strategy"), what, fix, level="warning")
    if gpu is None and mode_of(cfg) != "none":
        yield Finding(at(cfg, "trl.use_vllm"), "vLLM needs a GPU", "Set gpu in cloud.yaml")


def check_secrets(cfg: Any, settings: Settings) -> Iterator[Finding]:
    """Check that the config's keys are among the secrets. Stored Secrets and files may hold any."""
    names = {name for kind, name in settings.secrets if kind == "env" and os.environ.get(name)}
    mode = str(cfg.get("wandb_mode") or settings.env.get("WANDB_MODE"))
    wanted = {"hub_model_id": "HF_TOKEN", "hf_use_auth_token": "HF_TOKEN"}
    if cfg.get("use_wandb") is not False and mode not in ("offline", "disabled"):
        wanted["wandb_project"] = "WANDB_API_KEY"
    wanted = {key: name for key, name in wanted.items() if cfg.get(key)}
    for reward in reward_refs(cfg):
        usual = "OPENAI_API_KEY" if reward.path.endswith(".rewards.judge.judge") else ""
        secret = dict(reward.arguments).get("api_key_env", usual)
        if os.environ.get(secret):  # a judge of one's own may need no key
            wanted[f"grpo_reward_args ({reward.key})"] = secret
    level: Level = "error" if all(kind == "env" for kind, _ in settings.secrets) else "warning"
    for where, name in wanted.items():
        if name not in names:
            what, known = f"{name} is not sent to the container", where in cfg
            fix = f"Run `export {name}=…`, and list it under secrets in cloud.yaml"
            yield Finding(at(cfg, where), what, fix, level=level if known else "warning")
