"""Check that the packages of a config are installed in tested versions, and the login of wandb."""

import os
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.version import Version
from requests.utils import get_netrc_auth

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Finding, Findings, warning
from axolotl_grpo_plugin.serving.placement import mode_of

OURS = "axolotl-grpo-plugin"
EXTRAS = ("vllm", "deepspeed", "ray")  # of Axolotl, named like their packages


def check_versions(cfg: Config, elsewhere: bool = False) -> Findings:
    """Check that the packages that the config uses are installed, in the versions that were tested.

    elsewhere: the run is for another machine, so a package that is missing here is a skipped check.
    """
    used = {
        "vllm": mode_of(cfg) != "none",
        "deepspeed": cfg.deepspeed,
        "ray": cfg.use_ray,
        "wandb": cfg.wandb_project,
    }
    for name, is_used in used.items():
        if not is_used or _installed(name):
            continue
        yield Finding(
            name,
            "not installed here, but this config uses it",
            install(name),
            level="skipped" if elsewhere else "error",
            code="not-installed",
        )
    others, wanted = [], []
    for name, known in tested().items():
        here = _installed(name)
        if here and Version(here).public not in known.split() and used.get(name, True):
            others.append(f"{name} {Version(here).public}")
            wanted.append(f"{name}=={known.split()[0]}")
    if others:
        yield warning(
            "untested-versions",
            "versions",
            f"{OURS} {_installed(OURS)} was not tested with {', '.join(others)}",
            f"If a run fails, try `pip install {' '.join(wanted)}`",
        )


def install(name: str) -> str:
    """Return the fix for a missing package."""
    # This plugin's own extras ask for the same, but it is not on PyPI.
    package = f'"axolotl[{name}]=={tested()["axolotl"]}"' if name in EXTRAS else name
    return f"Install it with `pip install {package}`"


def tested() -> dict[str, str]:
    """Return the versions of other packages that this release was tested with, by their names.

    Several versions have a space between them, and the first one is recommended.
    """
    file = Path(__file__).parents[1] / "repairs/upstream.toml"
    return dict(tomllib.loads(file.read_text(encoding="utf-8"))["tested"])


def check_wandb(cfg: Config, elsewhere: bool = False) -> Findings:
    """Check that wandb can log in. It would ask only after the model is loaded.

    elsewhere: the run is for another machine, so a missing login here is a skipped check.
    """

    def setting(name: str) -> str | None:
        return cfg.value_at(name) or os.environ.get(name.upper())

    if not cfg.wandb_project or setting("wandb_mode") not in (None, "", "online"):
        return
    host = setting("wandb_base_url") or "https://api.wandb.ai"
    keys = ("wandb_api_key", "wandb_identity_token_file", "wandb_disabled")
    if not any(map(setting, keys)) and not get_netrc_auth(host):
        yield Finding(
            "wandb_project",
            f"wandb has no login for {host}",
            "Run `wandb login`, set WANDB_API_KEY, or set wandb_mode: offline",
            level="skipped" if elsewhere else "error",
            code="no-login",
        )


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
