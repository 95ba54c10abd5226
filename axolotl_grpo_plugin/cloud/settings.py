"""The keys of cloud.yaml, their checks, and the cost of a run."""

import math
import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator as After
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from axolotl_grpo_plugin.findings import ConfigError, Finding, nearest, stop_on

UPLOAD = Path("/upload")  # in the container: the working folder's files, as sent
WORK = Path("/workspace")  # in the container: where the command runs
# CUDA 13.0, as torch's wheels want it, with nvcc for the kernels that vLLM compiles.
IMAGE = "nvidia/cuda:13.0.2-devel-ubuntu24.04"
OPTIONAL = ("HF_TOKEN", "WANDB_API_KEY")  # only some trainings need them
SECRETS = "Write NAME (of your environment), modal: NAME or dotenv: FILE, never a value"
LOGIN = re.compile(r"://[^/\s@:]+:[^/\s@]+@|https?://[^/\s@]+@")  # in an address
ELSEWHERE = {"gpu_count": 'Write gpu: "L40S:2"', "docker_tag": "Write image: REPOSITORY:TAG"}
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET = re.compile(r"(?:^|_|API)(TOKEN|(KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?)\d*(?:_|$)")
# GPU, GB of one, its list price in dollars per hour, July 2026 (https://modal.com/pricing).
_GPUS = """T4 16 .5904, L4 24 .7992, A10 24 1.1016, A10G 24 1.1016, L40S 48 1.9512, A100 40 2.0988,
    A100-40GB 40 2.0988, A100-80GB 80 2.4984, RTX-PRO-6000 96 3.0312, H100 80 3.9492,
    H100! 80 3.9492, H200 141 4.5396, B200 180 6.2496, B200+ 180 6.2496"""
GPUS = {name: (float(gb), float(price)) for name, gb, price in map(str.split, _GPUS.split(","))}
CPU, MEMORY = 0.04716, 0.007992  # dollars per hour for one physical core, and for one GiB


def _gpu(text: str) -> str:
    """Check a GPU string. A name that resembles none of GPUS passes: it may be newer than this file."""
    name, colon, typed = text.strip().upper().partition(":")
    number = int(typed) if typed.isascii() and typed.isdigit() else 0 if colon else 1
    if not 1 <= number <= (4 if name in ("A10", "A10G") else 8):
        raise ValueError(f'{text} is not a number of GPUs that Modal offers. Write "L40S:2"')
    if name not in GPUS and (close := get_close_matches(name, GPUS, 1)):
        raise ValueError(f"Modal has no GPU {text}. Did you mean `{close[0]}`?")
    return f"{name}:{number}" if number > 1 else name


def _secret(entry: Any) -> tuple[str, str]:
    """Return (kind, name) of an entry. No error repeats it: it may be the secret itself."""
    pairs = list(entry.items()) if isinstance(entry, dict) else [("env", entry)]
    kind, name = pairs[0] if len(pairs) == 1 and isinstance(pairs[0][1], str) else ("", "")
    if kind == "env" and isinstance(entry, str) and _VARIABLE.fullmatch(name):
        if not os.environ.get(name) and name not in OPTIONAL:
            raise ValueError(f"{name} is not set in your environment. Run `export {name}=…`")
        return kind, name
    known = {"modal": re.fullmatch(r"[\w.-]{1,64}", name), "dotenv": os.path.isfile(name)}
    if not known.get(kind):
        raise ValueError(f"it is not the name of a secret. {SECRETS}")
    return kind, name


def _env(given: Any) -> dict[str, str]:
    """Read a mapping, or Axolotl's list of names and mappings."""
    variables = {}
    for entry in given if isinstance(given, list) else [given]:
        for name, value in (entry if isinstance(entry, dict) else {entry: None}).items():
            if not _VARIABLE.fullmatch(str(name)):
                raise ValueError("an entry is not a variable's name. Write NAME: value")
            if _SECRET.search(name) or (value is not None and LOGIN.search(str(value))):
                raise ValueError(f"{name} is a secret. Write its name alone, under secrets")
            value = os.environ.get(name) if value is None else value
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise ValueError(f"{name} is not set in your environment, or not a string")
            variables[name] = str(value)
    return variables


def _requirement(text: str) -> str:
    if LOGIN.search(text):
        raise ValueError("the image would keep the password. Put the package into your folder")
    return text


def _mount(typed: str) -> str:
    """Return the absolute mount point; a relative one is below the working folder."""
    path = PurePosixPath(WORK) / typed
    if re.search(r"^~|\\|//|(^|/)\.\.(/|$)", typed) or str(path) in ("/", str(WORK), str(UPLOAD)):
        raise ValueError(f"{typed} is not a new folder. Write a path such as ./outputs or /cache")
    return str(path)


class Volume(BaseModel):
    """A Modal Volume and its mount point. Modal creates a missing Volume."""

    model_config = ConfigDict(strict=True, extra="forbid")
    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    mount: Annotated[str, After(_mount)]


class Settings(BaseModel):
    """The keys of cloud.yaml, which explains them."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
    provider: str = "grpo-modal"
    gpu: Annotated[str, After(_gpu)] | None = None
    cpu: float = Field(8, ge=0.125)
    memory: float = Field(64, ge=0.125)
    timeout: int = Field(21600, ge=1, le=86400)
    retries: int = Field(2, ge=0, le=10)
    image: str = Field(IMAGE, min_length=1)
    apt_install: list[str] = []
    pip_install: list[Annotated[str, After(_requirement)]] = []
    volumes: list[Volume] = []
    secrets: list[Annotated[tuple[str, str], PlainValidator(_secret)]] = [*map(_secret, OPTIONAL)]
    env: Annotated[dict[str, str], PlainValidator(_env)] = {}
    ignore: list[str] = []
    max_size: float = Field(500, gt=0)
    detach: bool = True
    dry_run: bool = False

    @property
    def mounts(self) -> dict[str, str]:
        """Mount point in the container -> name of the Volume."""
        return {volume.mount: volume.name for volume in self.volumes}

    def cost(self, gpu: str | None, retries: int) -> str:
        """Return the maximum cost of a run, in words."""
        name, _, number = (gpu or "").partition(":")
        price = GPUS.get(name, (0, math.nan))[1] * int(number or 1) if gpu else 0
        hourly, hours = self.cpu * CPU + self.memory * MEMORY + price, self.timeout / 3600
        if math.isnan(hourly):
            return f"the price of {gpu} is not known here. See https://modal.com/pricing"
        one, most = (math.ceil(round(hourly * hours * n * 100, 6)) / 100 for n in (1, 1 + retries))
        more = f", ${most:,.2f} with {retries} retries" * (retries > 0)
        each = f"at most ${one:,.2f} for one attempt{more}: ${hourly:,.2f} an hour x {hours:.3g} h"
        return f"{each}\nby list prices of July 2026; more CPU or memory and storage cost extra"


def read(config: Mapping[Any, Any], where: str) -> Settings:
    """Return the settings of the file `where`. Raises ConfigError with all wrong values."""
    try:
        return Settings.model_validate({str(k): v for k, v in config.items() if v is not None})
    except ValidationError as error:
        findings = []
        for each in error.errors():
            key, *rest = each["loc"]
            at = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
            what, _, fix = each["msg"].removeprefix("Value error, ").partition(". ")
            if each["type"] == "extra_forbidden":
                known = (Volume if rest else Settings).model_fields
                what, name = "there is no such key", str((rest or [key])[-1])
                fix = ELSEWHERE.get(name) or nearest(name, known)
            elif each["type"] != "value_error" and key not in ("secrets", "pip_install"):
                at += f" ({str(each['input'])[:60]})"
            fix = fix or (SECRETS if key == "secrets" else "See the comments in cloud.yaml")
            findings.append(Finding(f"{where}: {key}{at}", what.replace("Input", "it"), fix))
        stop_on(findings)
        raise


def check_file(file: str) -> None:
    """Check cloud.yaml before Axolotl, which starts its own launcher if the provider is missing."""
    try:
        config = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}. Correct the file.") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{file}: it is empty or not a mapping. Begin with provider: grpo-modal.")
    name = str(config.get("provider"))
    if ":" not in name and not entry_points(group="axolotl.cloud_providers", name=name):
        what = f"{name} is not a provider" if config.get("provider") else "it is missing"
        stop_on([Finding(f"{file}: provider", what, "Write provider: grpo-modal")])
    if name == "grpo-modal":
        read(config, file)
