"""Check the installed packages against requirements and tested versions, and the login of wandb."""

import os
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version
from requests.utils import get_netrc_auth

from axolotl_grpo_plugin.findings import Finding, Level, at
from axolotl_grpo_plugin.serving.placement import mode_of

OURS, AXOLOTL = "axolotl-grpo-plugin", "axolotl"
EXTRAS = ("vllm", "deepspeed", "ray")  # of this plugin and of Axolotl, named like their packages
CORE = {AXOLOTL, "torch", "transformers", "trl", "accelerate", "peft", "datasets"}


def check_versions(cfg: Any, elsewhere: bool = False) -> Iterator[Finding]:
    """Check that the packages that the config uses are installed in versions that match and were tested.

    elsewhere: the run is for another machine, so a package that is missing here is a skipped check.
    """
    used = (mode_of(cfg) != "none", cfg.get("deepspeed"), cfg.get("use_ray"))
    extras = {name for name, is_used in zip(EXTRAS, used, strict=True) if is_used}
    checked = CORE | extras | ({"wandb"} if cfg.get("wandb_project") else set())
    findings = [
        finding
        for owner in (OURS, AXOLOTL, *sorted(filter(_installed, extras)))
        for requirement in _required(owner, extras if owner == AXOLOTL else set())
        if requirement.name in checked
        for finding in _check(owner, requirement, elsewhere)
    ]
    yield from findings
    yield from _check_tested(checked - {each.where for each in findings})


def tested() -> dict[str, str]:
    """Return the versions of other packages that this release was tested with, by their names."""
    file = Path(__file__).parents[1] / "upstream.toml"
    return dict(tomllib.loads(file.read_text(encoding="utf-8"))["tested"])


def _check_tested(names: set[str]) -> Iterator[Finding]:
    pairs = [
        (f"{name} {Version(here).public}", f"{name}=={known}")
        for name, known in tested().items()
        if name in names and (here := _installed(name)) and Version(here).public != known
    ]
    if pairs:
        others, wanted = zip(*pairs, strict=True)
        what = f"{OURS} {_installed(OURS)} was not tested with {', '.join(others)}"
        fix = f"If a run fails, try `pip install {' '.join(wanted)}`"
        yield Finding("versions", what, fix, level="warning")


def check_wandb(cfg: Any, elsewhere: bool = False) -> Iterator[Finding]:
    """Check that wandb can log in. It would ask only after the model is loaded.

    elsewhere: the run is for another machine, so a missing login here is a skipped check.
    """

    def setting(name: str) -> Any:
        return cfg.get(name) or os.environ.get(name.upper())

    online = cfg.get("wandb_project") and setting("wandb_mode") in (None, "", "online")
    host = setting("wandb_base_url") or "https://api.wandb.ai"
    keys = map(setting, ("wandb_api_key", "wandb_identity_token_file", "wandb_disabled"))
    if online and not any(keys) and not get_netrc_auth(host):
        fix = "Run `wandb login`, set WANDB_API_KEY, or set wandb_mode: offline"
        level: Level = "skipped" if elsewhere else "error"
        what = f"wandb has no login for {host}"
        yield Finding(at(cfg, "wandb_project"), what, fix, level=level)


def _required(owner: str, extras: set[str]) -> Iterator[Requirement]:
    for text in requires(owner) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _check(owner: str, requirement: Requirement, elsewhere: bool) -> Iterator[Finding]:
    name, wanted = requirement.name, str(requirement.specifier)
    installed = _installed(name)
    if installed is None:
        level: Level = "skipped" if elsewhere else "error"
        package = f'"{OURS}[{name}]"' if name in EXTRAS else name
        what = "not installed here, but this config uses it"
        yield Finding(name, what, f"Install it with `pip install {package}`", level=level)
    elif not requirement.specifier.contains(installed, prereleases=True):
        what = f"{installed} is installed, but {owner} {_installed(owner)} requires {name}{wanted}"
        fix = f'Install it with `pip install "{name}{wanted}"`'
        yield Finding(name, what, fix, level="warning")


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
