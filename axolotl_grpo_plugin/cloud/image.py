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

OURS = "axolotl-grpo-plugin"
CHECKOUT = "/opt/axolotl-grpo-plugin"
# Of a checkout, what its installation reads.
SOURCES = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "cloud.yaml",
    "configs",
    "rewards",
    "axolotl_grpo_plugin",
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
    root = checkout()
    if root is None:
        return image.uv_pip_install(source())
    for name in SOURCES:
        path, there = root / name, f"{CHECKOUT}/{name}"
        if path.is_dir():
            made = ["**/__pycache__", "**/*.pyc"]
            image = image.add_local_dir(path, there, copy=True, ignore=made)
        else:
            image = image.add_local_file(path, there, copy=True)
    return image.uv_pip_install(f"{CHECKOUT}[gym]")


def checkout() -> Path | None:
    """The folder with this plugin's sources, where it runs from one or was installed from one."""
    beside = Path(axolotl_grpo_plugin.__file__).parents[1]
    url = _origin().get("url", "")
    origin = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else beside
    return next((each for each in (beside, origin) if _holds_sources(each)), None)


def _holds_sources(folder: Path) -> bool:
    return all((folder / name).exists() for name in SOURCES)


def source() -> str:
    """What pip installs this plugin from: a checkout's folder here, its repository, or its release."""
    if root := checkout():
        return str(root)
    origin = _origin()
    if vcs := origin.get("vcs_info"):
        return f"{OURS}[gym] @ {vcs['vcs']}+{origin['url']}@{vcs['commit_id']}"
    return f"{OURS}[gym]=={version(OURS)}"


def _origin() -> Any:
    """What an installer noted (PEP 610); nothing for a release."""
    return json.loads(distribution(OURS).read_text("direct_url.json") or "{}")
