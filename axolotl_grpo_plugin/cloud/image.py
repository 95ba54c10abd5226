"""The container's image. Config and uploads are in no layer: changing them builds no new image."""

import json
import os
from importlib.metadata import distribution, version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import modal

import axolotl_grpo_plugin
from axolotl_grpo_plugin.cloud.settings import UPLOAD, Settings
from axolotl_grpo_plugin.cloud.upload import Upload
from axolotl_grpo_plugin.findings import stop

OURS = "axolotl-grpo-plugin"
CHECKOUT = "/opt/axolotl-grpo-plugin"
# An installation reads only these. The package comes last.
SOURCES = ("pyproject.toml", "hatch_build.py", "axolotl_grpo_plugin")
WANTED = (
    f"mkdir -p {CHECKOUT}/configs {CHECKOUT}/docs {CHECKOUT}/rewards",
    f"touch {CHECKOUT}/README.md {CHECKOUT}/LICENSE {CHECKOUT}/cloud.yaml",
)
# The sysconfig of Modal's standalone Python names clang, which the image does not have.
COMPILER = {"CC": "gcc", "CXX": "g++"}
CACHES = {"HF_HOME": "/cache/huggingface", "VLLM_CACHE_ROOT": "/cache/vllm"}


def image_of(settings: Settings, upload: Upload, gym: bool) -> modal.Image:
    """Return the image. gym: with reasoning-gym, which compiles a package."""
    # The oldest supported client (1.3.0.post1) knows no newer builder. Without this setting, it
    # refuses a workspace whose builder is newer.
    os.environ.setdefault("MODAL_IMAGE_BUILDER_VERSION", "2025.06")
    image = (
        modal.Image.from_registry(settings.image, add_python="3.12")
        .entrypoint([])  # NVIDIA's entrypoint prints a banner
        # A compiler for triton, git for requirements, bubblewrap for rewards that run code.
        .apt_install("bubblewrap", "build-essential", "git")
        .env(COMPILER)
        .uv_pip_install(f"axolotl[deepspeed,vllm]=={version('axolotl')}")
        .apt_install(*settings.apt_install)
        .uv_pip_install(*settings.pip_install)
    )
    plugin = source()
    extra = "[gym]" if gym else ""
    if isinstance(plugin, Path):
        *files, package = SOURCES
        image = image.run_commands(*WANTED)
        for name in files:
            image = image.add_local_file(plugin / name, f"{CHECKOUT}/{name}", copy=True)
        image = image.add_local_dir(
            plugin / package, f"{CHECKOUT}/{package}", copy=True, ignore=["**/__pycache__"]
        ).uv_pip_install(f"{CHECKOUT}{extra}")
    else:
        image = image.uv_pip_install(f"{OURS}{extra}{plugin}")
    # The caches come last: a Volume is mounted there, and no layer may write to that folder.
    return image.env(CACHES).add_local_dir(upload.folder, str(UPLOAD), ignore=upload.ignore)


def source() -> Path | str:
    """Return the checkout of this plugin, else ` @ URL` or `==VERSION`. Raises: FindingError."""
    origin = json.loads(distribution(OURS).read_text("direct_url.json") or "{}")  # PEP 610
    url = origin.get("url", "")
    folders = [Path(axolotl_grpo_plugin.__file__).parents[1]]
    if url.startswith("file:"):
        folders.append(Path(url2pathname(urlsplit(url).path)))
    for folder in folders:
        if all((folder / name).exists() for name in SOURCES):
            return folder
    if url.startswith("file:"):
        stop("no-checkout", OURS, f"{folder} is not a checkout", "Install the plugin from git")
    if "vcs_info" in origin:
        git = origin["vcs_info"]
        return f" @ {git['vcs']}+{url}@{git['commit_id']}"
    if url:
        return f" @ {url}"
    return f"=={version(OURS)}"
