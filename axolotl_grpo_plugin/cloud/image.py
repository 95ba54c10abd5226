"""The container's image. The config is in none of its layers, so a change of it builds nothing."""

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
from axolotl_grpo_plugin.findings import ConfigError

OURS = "axolotl-grpo-plugin"
CHECKOUT = "/opt/axolotl-grpo-plugin"
SOURCES = ("pyproject.toml", "axolotl_grpo_plugin")  # an installation reads only these
WANTED = (
    f"mkdir -p {CHECKOUT}/configs {CHECKOUT}/rewards",
    f"touch {CHECKOUT}/README.md {CHECKOUT}/LICENSE {CHECKOUT}/cloud.yaml",
)
# The sysconfig of Modal's standalone Python names clang, which the image does not have.
COMPILER = {"CC": "gcc", "CXX": "g++"}
CACHES = {"HF_HOME": "/cache/huggingface", "VLLM_CACHE_ROOT": "/cache/vllm"}


def image_of(settings: Settings, upload: Upload, gym: bool) -> modal.Image:
    """Return the image. gym: with reasoning-gym, which compiles a package."""
    # The newest builder that the oldest supported client (1.3.0.post1) knows: it would refuse a
    # workspace that is on a newer one.
    os.environ.setdefault("MODAL_IMAGE_BUILDER_VERSION", "2025.06")
    image = (
        modal.Image.from_registry(settings.image, add_python="3.12")
        .entrypoint([])  # NVIDIA's prints a banner
        # A compiler for triton, git for requirements, bubblewrap for rewards that run code.
        .apt_install("bubblewrap", "build-essential", "git")
        .env(COMPILER)
        .uv_pip_install(f"axolotl[deepspeed,vllm]=={version('axolotl')}")
        .apt_install(*settings.apt_install)
        .uv_pip_install(*settings.pip_install)
    )
    here, extra = source(), "[gym]" * gym
    if isinstance(here, Path):
        (file, folder), made = SOURCES, ["**/__pycache__"]
        image = image.run_commands(*WANTED)
        image = image.add_local_file(here / file, f"{CHECKOUT}/{file}", copy=True)
        image = image.add_local_dir(here / folder, f"{CHECKOUT}/{folder}", copy=True, ignore=made)
        image = image.uv_pip_install(f"{CHECKOUT}{extra}")
    else:
        image = image.uv_pip_install(f"{OURS}{extra}{here}")
    # The caches come last: a Volume is mounted there, and no layer may write to that folder.
    return image.env(CACHES).add_local_dir(upload.folder, str(UPLOAD), ignore=upload.ignore)


def source() -> Path | str:
    """Return the checkout of this plugin, else ` @ URL` or `==VERSION`. Raises ConfigError."""
    noted = json.loads(distribution(OURS).read_text("direct_url.json") or "{}")  # PEP 610
    url, vcs = noted.get("url", ""), noted.get("vcs_info")
    local = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    for folder in (Path(axolotl_grpo_plugin.__file__).parents[1], local):
        if folder and all((folder / name).exists() for name in SOURCES):
            return folder
    if local:
        raise ConfigError(f"{OURS}: its source {local} is not a checkout. Install it from git.")
    at = f" @ {vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else f" @ {url}"
    return at if url else f"=={version(OURS)}"
