"""The container's image: what changes least comes first, and a config is in none of its layers."""

import json
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import modal

import axolotl_grpo_plugin
from axolotl_grpo_plugin.cloud.parcel import Parcel
from axolotl_grpo_plugin.cloud.remote import PARCEL
from axolotl_grpo_plugin.cloud.settings import Settings
from axolotl_grpo_plugin.findings import ConfigError

OURS = "axolotl-grpo-plugin"
CHECKOUT = "/opt/axolotl-grpo-plugin"
# What a checkout's installation reads, and what it only wants to be there: a container reads nothing of
# the config pack, so a change of a config builds nothing.
SOURCES = ("pyproject.toml", "axolotl_grpo_plugin")
WANTED = (
    f"mkdir -p {CHECKOUT}/configs {CHECKOUT}/rewards",
    f"touch {CHECKOUT}/README.md {CHECKOUT}/LICENSE {CHECKOUT}/cloud.yaml",
)
# A compiler for triton's kernels, git for requirements that name a repository, bubblewrap for the
# rewards that run code.
SYSTEM = ("bubblewrap", "build-essential", "git")
CACHES = {"HF_HOME": "/cache/huggingface", "VLLM_CACHE_ROOT": "/cache/vllm"}


def image_of(settings: Settings, parcel: Parcel) -> modal.Image:
    """CUDA, Python 3.12, Axolotl with vLLM, the user's packages, this plugin, and the parcel.

    The parcel's files are in no layer: a change of theirs builds nothing.
    """
    made = (
        modal.Image.from_registry(settings.image, add_python="3.12")
        .entrypoint([])  # NVIDIA's prints a banner
        .apt_install(*SYSTEM)
        .uv_pip_install(f"axolotl[deepspeed,vllm]=={version('axolotl')}")
        .apt_install(*settings.apt_install)
        .uv_pip_install(*settings.pip_install)
    )
    # The caches are named last: a Volume is mounted there, and what a layer wrote would be in its way.
    made = plugin(made).env(CACHES)
    return made.add_local_dir(parcel.folder, str(PARCEL), ignore=parcel.ignore)


def plugin(image: modal.Image) -> modal.Image:
    """This plugin, as it is here: the checkout that runs, else what it was installed from."""
    root, wheel = checkout(), _wheel()
    if wheel and not root:
        there = f"/opt/{wheel.name}"
        image = image.add_local_file(wheel, there, copy=True)
        return image.uv_pip_install(f"{OURS}[gym] @ file://{there}")
    if root is None:
        return image.uv_pip_install(source())
    project, package = (root / name for name in SOURCES)
    made = ["**/__pycache__", "**/*.pyc"]
    image = image.run_commands(*WANTED)
    image = image.add_local_file(project, f"{CHECKOUT}/{project.name}", copy=True)
    image = image.add_local_dir(package, f"{CHECKOUT}/{package.name}", copy=True, ignore=made)
    return image.uv_pip_install(f"{CHECKOUT}[gym]")


def checkout() -> Path | None:
    """The folder with this plugin's sources, where it runs from one or was installed from one."""
    beside = Path(axolotl_grpo_plugin.__file__).parents[1]
    return next((each for each in (beside, _local()) if each and _holds_sources(each)), None)


def _holds_sources(folder: Path) -> bool:
    return all((folder / name).exists() for name in SOURCES)


def source() -> str:
    """What pip installs this plugin from: a folder or a wheel here, its repository, or its release."""
    origin = _origin()
    if here := checkout() or _wheel():
        return str(here)
    if vcs := origin.get("vcs_info"):
        return f"{OURS}[gym] @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    if gone := _local():
        what = f"it was installed from {gone}, which is not there any more"
        raise ConfigError(f"{OURS}: {what}. Install it again")
    if url := origin.get("url"):
        return f"{OURS}[gym] @ {url}"
    return f"{OURS}[gym]=={version(OURS)}"


def _local() -> Path | None:
    """The folder or the wheel here that it was installed from, if it was."""
    url = urlsplit(_origin().get("url", ""))
    return Path(url2pathname(url.path)) if url.scheme == "file" else None


def _wheel() -> Path | None:
    local = _local()
    return local if local and local.suffix == ".whl" and local.is_file() else None


def _origin() -> Any:
    """What an installer noted (PEP 610); nothing for a release."""
    return json.loads(distribution(OURS).read_text("direct_url.json") or "{}")
