"""Check the installed packages against the metadata of Axolotl and vLLM."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from packaging.requirements import Requirement

from axolotl_grpo_plugin.findings import Finding, Level
from axolotl_grpo_plugin.serving.placement import mode_of

OURS, AXOLOTL = "axolotl-grpo-plugin", "axolotl"
CORE = {AXOLOTL, "torch", "transformers", "trl", "accelerate", "peft", "datasets"}


def check_versions(cfg: Any, elsewhere: bool = False) -> Iterator[Finding]:
    """Check that the packages that the config uses are installed in matching versions.

    elsewhere: the run is for another machine, so a package that is missing here is a skipped check.
    """
    used = {
        "vllm": mode_of(cfg) != "none",
        "deepspeed": cfg.get("deepspeed"),
        "ray": cfg.get("use_ray"),
    }
    extras = {name for name, value in used.items() if value}
    checked = CORE | extras | ({"wandb"} if cfg.get("wandb_project") else set())
    for owner in (OURS, AXOLOTL, *sorted(filter(_installed, extras))):
        for requirement in _required(owner, extras if owner == AXOLOTL else set()):
            if requirement.name in checked:
                yield from _check(owner, requirement, elsewhere)


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
        what = "not installed here, but this config uses it"
        yield Finding(name, what, f"Install it with `pip install {_package(name)}`", level=level)
    elif not requirement.specifier.contains(installed, prereleases=True):
        what = f"{installed} is installed, but {owner} {_installed(owner)} requires {name}{wanted}"
        fix = f'Install it with `pip install "{name}{wanted}"`'
        yield Finding(name, what, fix, level="warning")


def _package(name: str) -> str:
    """Return the argument of `pip install`: an extra of this plugin if there is one."""
    requirements = map(Requirement, requires(OURS) or [])
    extra = any(f'extra == "{name}"' in str(each.marker) for each in requirements)
    return f'"{OURS}[{name}]"' if extra else name


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
