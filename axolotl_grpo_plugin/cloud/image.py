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
    plugin, extra = source(), "[gym]" * gym
    if isinstance(plugin, Path):
        file, folder = (plugin / name for name in SOURCES)
        there, caches = f"{CHECKOUT}/{folder.name}", ["**/__pycache__"]
        image = image.run_commands(*WANTED)
        image = image.add_local_file(file, f"{CHECKOUT}/{file.name}", copy=True)
        image = image.add_local_dir(folder, there, copy=True, ignore=caches)
        image = image.uv_pip_install(f"{CHECKOUT}{extra}")
    else:
        image = image.uv_pip_install(f"{OURS}{extra}{plugin}")
    # The caches come last: a Volume is mounted there, and no layer may write to that folder.
    return image.env(CACHES).add_local_dir(upload.folder, str(UPLOAD), ignore=upload.ignore)


def source() -> Path | str:
    """Return the checkout of this plugin, else ` @ URL` or `==VERSION`. Raises ConfigError."""
    origin = json.loads(distribution(OURS).read_text("direct_url.json") or "{}")  # PEP 610
    url, vcs = origin.get("url", ""), origin.get("vcs_info")
    local = Path(url2pathname(urlsplit(url).path)) if url.startswith("file:") else None
    for folder in (Path(axolotl_grpo_plugin.__file__).parents[1], local):
        if folder and all((folder / name).exists() for name in SOURCES):
            return folder
    if local:
        raise ConfigError(f"{OURS}: {local} is not a checkout. Install the plugin from git.")
    at = f" @ {vcs['vcs']}+{url}@{vcs['commit_id']}" if vcs else f" @ {url}"
    return at if url else f"=={version(OURS)}"
