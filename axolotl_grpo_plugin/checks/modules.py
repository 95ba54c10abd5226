"""Modules that a config names: what they hold, and why they cannot be imported."""

import os
import traceback
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Any

from axolotl_grpo_plugin.checks import Finding


def at(cfg: Any, key: Any) -> str:
    """A place in a config, for a finding."""
    file = cfg.get("axolotl_config_path")
    return f"{file}: {key}" if file else str(key)


def nearest(name: str, known: Iterable[str]) -> str:
    """The fix for a name that is not known."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    return f"Did you mean {close[0]!r}" if close else f"There are: {', '.join(known) or 'none'}"


def functions_of(module: ModuleType) -> list[str]:
    """The public functions that a module defines."""
    return [
        name
        for name in dir(module)
        if not name.startswith("_")
        and callable(getattr(module, name))
        and getattr(getattr(module, name), "__module__", None) == module.__name__
    ]


def imported(module_name: str, where: str) -> Any:
    """The module, or the finding that says what is in its way."""
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            return Finding(
                where,
                f"there is no module {error.name!r}",
                f"A file of yours is found from the working folder ({os.getcwd()}), a package once it is installed",
            )
        what = f"{module_name} cannot be imported, because it imports {error.name!r}, which is not installed"
        return Finding(where, what, f"Install {error.name}", traceback.format_exc())
    except (Exception, SystemExit) as error:
        what = f"{module_name} cannot be imported: {type(error).__name__}: {error}"
        return Finding(where, what, "Fix the module", traceback.format_exc())
