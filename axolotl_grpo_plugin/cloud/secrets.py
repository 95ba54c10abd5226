"""Keys that travel as Modal's Secrets: not in the image, not in the parcel, in no log."""

import os
from collections.abc import Iterator
from typing import Any

import modal
from huggingface_hub import get_token

from axolotl_grpo_plugin.cloud.entries import Stored
from axolotl_grpo_plugin.cloud.keys import is_for_key, is_key
from axolotl_grpo_plugin.cloud.local import strings
from axolotl_grpo_plugin.cloud.settings import Settings
from axolotl_grpo_plugin.findings import Finding, Level, at
from axolotl_grpo_plugin.load import reward_refs

HUB, WANDB = "HF_TOKEN", "WANDB_API_KEY"
# Rewards that read a key from the environment, and its usual name.
JUDGES = {"axolotl_grpo_plugin.rewards.judge.judge": "OPENAI_API_KEY"}
# Axolotl's telemetry: who said no here is not asked again there.
OPT_OUTS = ("AXOLOTL_DO_NOT_TRACK", "DO_NOT_TRACK")


def taken(settings: Settings) -> dict[str, str | None]:
    """The variables of the user's environment that `secrets` names, of those that are set."""
    asked = [each for each in settings.secrets if isinstance(each, str)]
    return {name: os.environ[name] for name in asked if os.environ.get(name)}


def stored(settings: Settings) -> list[str]:
    """The Secrets on Modal that `secrets` names."""
    return [each.name for each in settings.secrets if isinstance(each, Stored)]


def secrets_of(settings: Settings) -> list[modal.Secret]:
    """What the container's environment is made of: `env`, the user's keys, and Secrets on Modal."""
    opt_outs = {name: os.environ[name] for name in OPT_OUTS if name in os.environ}
    variables: list[dict[str, str | None]] = [{**opt_outs, **settings.env}, taken(settings)]
    made = [modal.Secret.from_dict(each) for each in variables if each]
    return [*made, *map(modal.Secret.from_name, stored(settings))]


def described(settings: Settings) -> str:
    """The names, never the values."""
    there = taken(settings)
    unset = [each for each in settings.secrets if isinstance(each, str) and each not in there]
    said = ", ".join([*there, *(f"{name} on Modal" for name in stored(settings))]) or "none"
    return f"{said}; not set here: {', '.join(unset)}" if unset else said


def check_secrets(cfg: Any, settings: Settings) -> Iterator[Finding]:
    """What the config needs a key for has it, and none is in it. Secrets stored on Modal may hold any."""
    for option, where, value in strings(cfg):
        if is_for_key(option) or is_key(value):
            what = "a key or a password, which would be sent and shown"
            fix = "Take it out; a variable that `secrets` in cloud.yaml names arrives in the container"
            yield Finding(at(cfg, where), what, fix)
    there = taken(settings)
    level: Level = "warning" if stored(settings) else "error"
    project = cfg.get("wandb_project")
    online = (cfg.get("wandb_mode") or settings.env.get("WANDB_MODE")) not in (
        "offline",
        "disabled",
    )
    if project and cfg.get("use_wandb") is not False and online and WANDB not in there:
        fix = f"`export {WANDB}=…`, or set wandb_mode: offline"
        yield Finding(
            at(cfg, f"wandb_project ({project})"), f"{WANDB} is not set here", fix, level=level
        )
    asks = next((key for key in ("hub_model_id", "hf_use_auth_token") if cfg.get(key)), None)
    if HUB not in there and asks:
        fix = f"`export {HUB}=…`, a token of https://huggingface.co/settings/tokens"
        yield Finding(at(cfg, asks), f"{HUB} is not set here", fix, level=level)
    elif HUB not in there and get_token():
        what = f"you are logged in here, and the container is not: {HUB} is not set"
        fix = f"`export {HUB}=…` if the model or the data wants a login"
        yield Finding(at(cfg, "base_model"), what, fix, level="warning")
    for reward in reward_refs(cfg):
        key = dict(reward.arguments).get("api_key_env", JUDGES.get(reward.path))
        if key and os.environ.get(key) and key not in there:
            where = at(cfg, f"grpo_reward_args ({reward.key})")
            what = f"it reads {key}, which is set here and not in the container"
            yield Finding(where, what, f"Add {key} to secrets in cloud.yaml", level="warning")
