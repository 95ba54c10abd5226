"""Import a module that a config names, and list its functions."""

import os
import traceback
from collections.abc import Callable
from importlib import import_module
from inspect import getmembers
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

from axolotl_grpo_plugin.findings import Finding, fault, nearest, raised

Function = Callable[..., Any]


def functions_of(module: ModuleType) -> list[str]:
    """Return the names of the public functions of a module or package, as its `__dir__` lists them."""
    if "__dir__" in vars(module):
        return dir(module)
    names = []
    for name, value in getmembers(module, callable):
        # A package may offer functions of its modules.
        defined_in = f"{getattr(value, '__module__', '')}."
        is_own = defined_in.startswith(f"{module.__name__}.")
        if is_own and not name.startswith("_"):
            names.append(name)
    return names


def function_at(path: str, where: str) -> Function | Finding:
    """Import a function. Return the finding if there is none. A path without a dot names `default`."""
    module_name, name = path, "default"
    if "." in path:
        module_name, name = path.rsplit(".", 1)
    module = imported(module_name, where)
    if isinstance(module, Finding):
        return module
    function: Function | None = getattr(module, name, None)
    if callable(function):
        return function
    what = f"no {name!r} in {module_name}"
    if hasattr(module, name):
        what = f"{name!r} is not a function"
    return fault("no-function", where, what, nearest(name, functions_of(module)))


def check_file_path(path: str, where: str) -> Finding | None:
    """Return a finding if the path of a function is a file's: rewards/mine.py, or rewards/mine.function."""
    path = path.replace(".py:", ".")  # rewards/mine.py:function, as other programs write it
    file, _, name = path.rpartition(".")
    if not os.path.isfile(f"{file}.py") or ("/" not in path and name != "py"):
        return None
    module_name, names = file.strip("./").replace("/", "."), [name]
    if name == "py":
        module = imported(module_name, where)
        if isinstance(module, Finding):
            return module
        names = functions_of(module) or ["FUNCTION"]
    fix = " or ".join(f"{module_name}.{name}" for name in names)
    what = "a file's path, but Axolotl imports a module"
    return fault("path-of-file", where, what, f"Write it as {fix}")


def imported(module_name: str, where: str) -> ModuleType | Finding:
    """Import a module. Return the finding if that fails."""
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            what = f"there is no module {error.name!r}"
            fix = f"Install it, or start in the folder of its file instead of {os.getcwd()}"
            parent = error.name.rpartition(".")[0]
            if error.name.startswith("axolotl_grpo_plugin."):
                modules = iter_modules(import_module(parent).__path__, f"{parent}.")
                fix = nearest(error.name, [module.name for module in modules])
            return fault("no-module", where, what, fix)
        why = f", because it imports {error.name!r}, which is not installed"
        fix, trace = f"Install {error.name}", traceback.format_exc()
    except (Exception, SystemExit):  # a user's module may call sys.exit
        fix, trace = "Correct the module", traceback.format_exc()
        why = f": {raised(trace)}"
    what = f"{module_name} cannot be imported{why}"
    return Finding(where, what, fix, trace, code="broken-module")
