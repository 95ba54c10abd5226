"""The keys of cloud.yaml, their checks."""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath
from typing import Annotated

import yaml
from pydantic import AfterValidator as After
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from axolotl_grpo_plugin.findings import Finding, nearest, stop, stop_on

UPLOAD = Path("/upload")  # in the container: the working folder's files, as sent
WORK = Path("/workspace")  # in the container: where the command runs
# CUDA 13.0, as torch's wheels want it, with nvcc for the kernels that vLLM compiles.
IMAGE = "nvidia/cuda:13.0.2-devel-ubuntu24.04"
OPTIONAL = ("HF_TOKEN", "WANDB_API_KEY")  # only some trainings need them
SECRETS = "Write NAME (of your environment) or modal: NAME, never a value"
LOGIN = re.compile(r"://[^/\s@:]+:[^/\s@]+@|https?://[^/\s@]+@")  # in an address
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_SECRET = re.compile(r"(?:^|_|API)(TOKEN|(KEY|SECRET|PASSWORD|PASSWD|CREDENTIAL)S?)\d*(?:_|$)")
# GB of each GPU
GPUS = {
    "T4": 16,
    "L4": 24,
    "A10": 24,
    "A10G": 24,
    "L40S": 48,
    "A100": 40,
    "A100-40GB": 40,
    "A100-80GB": 80,
    "RTX-PRO-6000": 96,
    "H100": 80,
    "H100!": 80,
    "H200": 141,
    "B200": 180,
    "B200+": 180,
}
type Secret = tuple[str, str]  # kind (env or modal), and name
type Mounts = Mapping[str, str]  # mount point in the container -> name of the Volume


def _gpu(text: str) -> str:
    """Check a GPU string. A name that resembles none of GPUS passes: it may be newer than this file."""
    text = text.strip()
    name, *_ = text.upper().split(":")
    most = 4 if name in ("A10", "A10G") else 8
    if not re.fullmatch(rf"[^:]*(:[1-{most}])?", text):
        raise ValueError(f'{text} is not a number of GPUs that Modal offers. Write "L40S:2"')
    if name not in GPUS and get_close_matches(name, GPUS):
        raise ValueError(f"Modal has no GPU {text}. {nearest(name, GPUS)}")
    return text.upper().removesuffix(":1")


def _secret(entry: object) -> Secret:
    """Read an entry. No error repeats it: it may be the secret itself."""
    if isinstance(entry, str) and _VARIABLE.fullmatch(entry):
        if not os.environ.get(entry) and entry not in OPTIONAL:
            raise ValueError(f"{entry} is not set in your environment. Run `export {entry}=…`")
        return "env", entry
    if isinstance(entry, dict) and len(entry) == 1:
        (kind, name), *_ = entry.items()
        if kind == "modal" and re.fullmatch(r"[\w.-]{1,64}", str(name)):
            return kind, name
    raise ValueError(f"it is not the name of a secret. {SECRETS}")


def _env(given: object) -> dict[str, str]:
    """Return the variables as texts. A missing value is taken from this environment."""
    if not isinstance(given, dict):
        raise ValueError("it is not a mapping. Write NAME: value")
    variables = {}
    for name, value in given.items():
        # No error repeats a value, which may be a secret.
        if not _VARIABLE.fullmatch(str(name)):
            raise ValueError("an entry is not a variable's name. Write NAME: value")
        if _SECRET.search(name) or LOGIN.search(str(value)):
            raise ValueError(f"{name} is a secret. Write its name alone, under secrets")
        if value is None:
            value = os.environ.get(name)
        if type(value) not in (str, int):  # YAML reads NO as false
            raise ValueError(f"{name} is not set in your environment, or not a string")
        variables[name] = str(value)
    return variables


def _requirement(text: str) -> str:
    if LOGIN.search(text):
        raise ValueError("the image would keep the password. Put the package into your folder")
    return text


def _mount(typed: str) -> str:
    """Return the absolute mount point; a relative one is below the working folder."""
    path = PurePosixPath(WORK, typed)
    # Modal takes no such path, and a mount on the folder itself would hide the files that are sent.
    is_odd = re.search(r"^~|\\|//|(^|/)\.\.(/|$)", typed)
    if is_odd or str(path) in ("/", str(WORK), str(UPLOAD)):
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
    secrets: list[Annotated[Secret, PlainValidator(_secret)]] = [("env", name) for name in OPTIONAL]
    env: Annotated[dict[str, str], PlainValidator(_env)] = {}
    ignore: list[str] = []
    max_size: float = Field(500, gt=0)

    @property
    def mounts(self) -> dict[str, str]:
        """Mount point in the container -> name of the Volume."""
        return {volume.mount: volume.name for volume in self.volumes}


def read(config: Mapping[str, object], where: str) -> Settings:
    """Return the settings of the file `where`. Raises: FindingError with all wrong values."""
    try:
        # A key has no value if the value is commented out.
        given = {str(key): value for key, value in config.items() if value is not None}
        return Settings.model_validate(given)
    except ValidationError as error:
        stop_on(_finding(found, where) for found in error.errors())
        raise


def _finding(error: ErrorDetails, where: str) -> Finding:
    """Return an error of pydantic as a finding. No value of a secret is repeated."""
    key, *rest = error["loc"]
    place = f"{where}: {key}"
    for part in rest:
        place += f"[{part}]" if isinstance(part, int) else f".{part}"
    if error["type"] == "extra_forbidden":
        model = Volume if rest else Settings
        return Finding(
            place, "there is no such key", nearest(str(error["loc"][-1]), model.model_fields)
        )
    if error["type"] == "value_error":  # one of the functions above, whose text has a fix
        return Finding(place, str(error["ctx"]["error"]), "")
    fix = "See the comments in cloud.yaml"
    if key == "secrets":
        fix = SECRETS
    elif key != "pip_install":  # an address may have a password
        place += f" ({str(error['input'])[:60]})"
    return Finding(place, error["msg"].replace("Input", "it"), fix)


def check_file(file: str) -> None:
    """Check cloud.yaml before Axolotl, which starts its own launcher if the provider is missing."""
    try:
        config = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())
        stop("unreadable", file, what, "Correct the file or its name")
    if not isinstance(config, dict):
        fix = "Begin with provider: grpo-modal"
        stop("no-mapping", file, "it is empty or not a mapping", fix)
    name = str(config.get("provider"))
    # Axolotl also takes a class, as module:Class.
    if ":" not in name and not entry_points(group="axolotl.cloud_providers", name=name):
        stop(
            "unknown-provider",
            f"{file}: provider",
            f"{name} is not a provider",
            "Write provider: grpo-modal",
        )
    if name == "grpo-modal":
        read(config, file)
