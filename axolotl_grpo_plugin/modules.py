"""Modules that a config names: their functions, and errors of their import."""

import os
import traceback
from importlib import import_module
from types import ModuleType
from typing import Any

from axolotl_grpo_plugin.findings import Finding


def functions_of(module: ModuleType) -> list[str]:
    """Return the public functions that a module defines."""
    return [
        name
        for name in dir(module)
        if not name.startswith("_")
        and callable(getattr(module, name))
        and getattr(getattr(module, name), "__module__", None) == module.__name__
    ]


def imported(module_name: str, where: str) -> Any:
    """Import a module. Return the finding if that fails."""
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            return Finding(
                where,
                f"there is no module {error.name!r}",
                f"Install the package, or start in the folder that holds the file; this is {os.getcwd()}",
            )
        what = f"{module_name} cannot be imported, because it imports {error.name!r}, which is not installed"
        return Finding(where, what, f"Install {error.name}", traceback.format_exc())
    except (Exception, SystemExit) as error:
        what = f"{module_name} cannot be imported: {type(error).__name__}: {error}"
        return Finding(where, what, "Fix the module", traceback.format_exc())
