"""Check the installed packages against the metadata of Axolotl and vLLM."""

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from packaging.requirements import Requirement

from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.serving.placement import mode_of

OURS, AXOLOTL = "axolotl-grpo-plugin", "axolotl"
CORE = {AXOLOTL, "torch", "transformers", "trl", "accelerate", "peft", "datasets"}


def check_versions(cfg: Any, elsewhere: bool = False) -> Iterator[Finding]:
    """Check that the packages that the config uses are installed in matching versions.

    elsewhere: the run is for another machine, so a package that is missing here is a skipped check.
    """
    extras = {
        name
        for name, wanted in (
            ("vllm", mode_of(cfg) != "none"),
            ("deepspeed", cfg.get("deepspeed")),
            ("ray", cfg.get("use_ray")),
        )
        if wanted
    }
    logged = {"wandb"} if cfg.get("wandb_project") else set()
    there = {name for name in extras if _installed(name)}
    for owner in (OURS, AXOLOTL, *sorted(there)):
        for requirement in _required(owner, extras if owner == AXOLOTL else set()):
            if requirement.name in CORE | extras | logged:
                yield from _check(owner, requirement, elsewhere)


def _required(owner: str, extras: set[str]) -> Iterator[Requirement]:
    for text in requires(owner) or []:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def _check(owner: str, requirement: Requirement, elsewhere: bool) -> Iterator[Finding]:
    name, wanted = requirement.name, str(requirement.specifier)
    there = _installed(name)
    if there is None and elsewhere:
        what, fix = "not installed here", f"Needs {name}: {_install(name)}"
        yield Finding(name, what, fix, level="skipped")
    elif there is None:
        yield Finding(name, "not installed, and this config uses it", _install(name))
    elif not requirement.specifier.contains(there, prereleases=True):
        what = f"{there} is installed, and {owner} {_installed(owner)} wants {name}{wanted}"
        yield Finding(name, what, f'pip install "{name}{wanted}"', level="warning")


def _install(name: str) -> str:
    extra = any(
        (marker := Requirement(text).marker) and f'extra == "{name}"' in str(marker)
        for text in requires(OURS) or []
    )
    return f'pip install "{OURS}[{name}]"' if extra else f"pip install {name}"


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
