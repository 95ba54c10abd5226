"""cloud.yaml: what its keys are, and what is wrong with those of a file, all at once."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainValidator,
    ValidationError,
)
from pydantic_core import ErrorDetails

from axolotl_grpo_plugin.cloud import gpus
from axolotl_grpo_plugin.cloud.entries import (
    OPTIONAL,
    Stored,
    Volume,
    apart,
    by_name,
    is_name,
    requirement,
    secret,
    variable,
)
from axolotl_grpo_plugin.cloud.keys import is_key
from axolotl_grpo_plugin.findings import Finding, nearest, stop_on

# CUDA 13.0, as torch's wheels and the driver of Modal's hosts have it
# (https://modal.com/docs/guide/cuda), with nvcc, for the kernels that vLLM compiles.
IMAGE = "nvidia/cuda:13.0.2-devel-ubuntu24.04"
# Keys of Axolotl's own `provider: modal`, and what they are here.
ELSEWHERE = {
    "branch": "Name the branch in pip_install: git+https://…@BRANCH",
    "docker_tag": "Write image: REPOSITORY:TAG",
    "dockerfile_commands": "Use apt_install and pip_install, or an image of your own",
    "image_build": "Push the image to a registry, and name it: image: REPOSITORY:TAG",
    "image_registry": "Name an image that is pulled without a login: image: REPOSITORY:TAG",
    "memory_preprocess": "Remove it: memory holds for `axolotl preprocess` too",
    "spawn": "Write detach: true",
    "timeout_preprocess": "Remove it: timeout holds for `axolotl preprocess` too",
}


class Settings(BaseModel):
    """The keys of cloud.yaml, as `read` makes them; a description says what to write.

    gpu: what gpu, gpu_count and gpu_memory ask for together, None for a CPU. Secrets are names:
    their values are looked up where they are handed over.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    provider: str = Field("grpo-modal", description="Write grpo-modal")
    gpu: InstanceOf[gpus.GPU] | None = Field(None, description='Write "L40S" or "L40S:2"')
    gpu_count: int | None = Field(None, description="Write a number of GPUs")
    gpu_memory: float | None = Field(None, description="Write the GB of one GPU")
    cpu: float = Field(8, ge=0.125, description="Write physical cores, 0.125 or more")
    memory: float = Field(64, ge=0.125, description="Write GiB, 0.125 or more")
    timeout: int = Field(
        6 * 3600, ge=1, le=24 * 3600, description="Write seconds, 1 to 86400: 6 hours are 21600"
    )
    image: str = Field(IMAGE, min_length=1, description="Write REPOSITORY:TAG, an image with CUDA")
    apt_install: list[str] = Field([], description="Write a list of Ubuntu packages")
    pip_install: list[Annotated[str, AfterValidator(requirement)]] = Field(
        [], description="Write a list of requirements, as pip takes them"
    )
    volumes: Annotated[list[Volume], AfterValidator(apart)] = Field(
        [], description="Write a list, each entry with a name and a mount"
    )
    secrets: list[Annotated[str | Stored, PlainValidator(secret)]] = Field(
        [*OPTIONAL], description="Write a list of names, or of modal: NAME"
    )
    env: Annotated[
        dict[str, Annotated[str, PlainValidator(variable)]], BeforeValidator(by_name)
    ] = Field({}, description="Write NAME: value, a line each")
    ignore: list[str] = Field([], description="Write a list of patterns, as in .dockerignore")
    max_size: float = Field(500, gt=0, description="Write the MB that may be sent")
    detach: bool = Field(False, description="Write true or false")
    dry_run: bool = Field(False, description="Write true or false")

    @property
    def mounts(self) -> dict[str, str]:
        """Mount point in the container -> Volume."""
        return {volume.mount: volume.name for volume in self.volumes}


def read(config: Mapping[Any, Any], where: str) -> Settings:
    """The settings of a cloud.yaml. Raises ConfigError with everything that is wrong there.

    config: the file's keys. where: its name, as typed.

    >>> read({"provider": "grpo-modal", "gpu": "l40s:2"}, "cloud.yaml").gpu.modal
    'L40S:2'
    """
    given = {str(key): value for key, value in config.items() if value is not None}
    unknown = [key for key in given if key not in Settings.model_fields]
    findings = [
        Finding(
            f"{where}: {key}",
            "no such key",
            ELSEWHERE.get(key) or nearest(key, Settings.model_fields),
        )
        for key in unknown
    ]
    gpu = gpus.parse(given.get("gpu"), given.get("gpu_count"), given.get("gpu_memory"), where)
    checked = {key: value for key, value in given.items() if key not in unknown}
    if isinstance(gpu, Finding):
        findings.append(gpu)
        checked = {key: value for key, value in checked.items() if not key.startswith("gpu")}
        gpu = None
    try:
        settings = Settings.model_validate({**checked, "gpu": gpu})
    except ValidationError as error:
        stop_on([*findings, *(_finding(each, where) for each in error.errors())])
    stop_on(findings)
    return settings


def _finding(error: ErrorDetails, where: str) -> Finding:
    """What pydantic found, in a line."""
    key, *rest = error["loc"]
    said = error.get("ctx", {})
    if key == "env":
        named = "".join(f" ({name})" for name in rest if is_name(name))
        return Finding(f"{where}: env{named}", said["what"], said["fix"])
    at = f"{where}: {key}"
    at += "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
    if error["type"] == "extra_forbidden":
        return Finding(at, "no such key", nearest(str(rest[-1]), Volume.model_fields))
    hidden = key == "secrets" or is_key(str(error["input"]))
    shown = said.get("shown") or ("" if hidden else str(error["input"])[:60])
    if error["type"] == "missing":
        what, shown = "is missing", ""
    else:
        what = said.get("what") or error["msg"].replace("Input should", "should")
        what = what.removesuffix(" or instance of Volume")
    fix = said.get("fix") or str(Settings.model_fields[str(key)].description)
    return Finding(f"{at} ({shown})" if shown else at, what, fix)
