"""Import a module that a config names, and list its functions."""

import os
import traceback
from importlib import import_module
from inspect import getmembers
from types import ModuleType
from typing import Any

from axolotl_grpo_plugin.findings import Finding, nearest, raised


def functions_of(module: ModuleType) -> list[str]:
    """Return the names of the public functions that a module defines, or that its `__dir__` lists."""
    if "__dir__" in vars(module):
        return dir(module)
    return [
        name
        for name, value in getmembers(module, callable)
        if name[0] != "_" and getattr(value, "__module__", None) == module.__name__
    ]


def function_at(path: str, where: str) -> Any:
    """Import a function. Return the finding if there is none. A path without a dot names `default`."""
    module_name, _, name = path.rpartition(".") if "." in path else (path, "", "default")
    module = imported(module_name, where)
    if isinstance(module, Finding):
        return module
    function = getattr(module, name, None)
    if callable(function):
        return function
    is_there = hasattr(module, name)
    what = f"{name!r} is not a function" if is_there else f"no {name!r} in {module_name}"
    return Finding(where, what, nearest(name, functions_of(module)))


def check_file_path(path: str, where: str) -> Finding | None:
    """Return a finding if the path of a function is a file's: rewards/mine.py, or rewards/mine.function."""
    file, _, name = path.rpartition(".")
    if not os.path.isfile(f"{file}.py") or ("/" not in path and name != "py"):
        return None
    module_name, names = file.strip("./").replace("/", "."), [name]
    if name == "py":
        module = imported(module_name, where)
        if isinstance(module, Finding):
            return module
        names = functions_of(module) or ["FUNCTION"]
    fix = " or ".join(f"{module_name}.{each}" for each in names)
    return Finding(where, "a file's path, but Axolotl imports a module", f"Write it as {fix}")


def imported(module_name: str, where: str) -> Any:
    """Import a module. Return the finding if that fails."""
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            what = f"there is no module {error.name!r}"
            fix = f"Install it, or start in the folder of its file instead of {os.getcwd()}"
            return Finding(where, what, fix)
        what = f"{module_name} cannot be imported, because it imports {error.name!r}, which is not installed"
        return Finding(where, what, f"Install {error.name}", traceback.format_exc())
    except (Exception, SystemExit):
        what = f"{module_name} cannot be imported: {raised(traceback.format_exc())}"
        return Finding(where, what, "Correct the module", traceback.format_exc())
