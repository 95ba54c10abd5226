"""`axolotl-grpo reward list`: list the rewards and transforms that a YAML can name."""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from importlib.util import find_spec
from inspect import Parameter, getdoc, isclass, signature
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules
from textwrap import shorten
from types import ModuleType
from typing import NamedTuple

import click
from rich.text import Text

import axolotl_grpo_plugin
from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin import rewards as shipped
from axolotl_grpo_plugin import transforms as transforming
from axolotl_grpo_plugin.completions import Names
from axolotl_grpo_plugin.findings import Finding, stop
from axolotl_grpo_plugin.load import Function, functions_of, imported
from axolotl_grpo_plugin.report.console import console, print_json, table
from axolotl_grpo_plugin.reward import BaseReward, Range, Row, parameters_of
from axolotl_grpo_plugin.runlog.rewards import short

REQUIRED = "required"


class Entry(NamedTuple):
    """A reward or a transform.

    pays: the first line of its docstring. range: lowest and highest score, None if not known. reads:
    columns; those of may_read are optional. options: with their defaults, or REQUIRED.
    """

    path: str
    pays: str
    range: Range | None = None
    reads: Names = ()
    may_read: Names = ()
    options: Row = {}  # noqa: RUF012


def run(as_json: bool) -> int:
    """Print the list. Return the exit code: 1 if a module cannot be imported, else 0."""
    entries, problems = _listed()
    entries += transforms()
    if as_json:
        print_json([entry._asdict() for entry in entries])
    else:
        _show(entries)
    for problem in problems:
        click.echo(str(problem), err=True)
    return int(bool(problems))


def _listed() -> tuple[list[Entry], list[Finding]]:
    """Return the shipped rewards and those of the working folder, and the modules' problems."""
    paths.add_working_folder()
    entries: list[Entry] = []
    problems: list[Finding] = []
    files = sorted(Path("rewards").glob("[!_]*.py"))
    names = [
        f"{shipped.__name__}.{info.name}"
        for info in iter_modules(shipped.__path__)
        if not info.ispkg
    ]
    names += [f"rewards.{file.stem}" for file in files]
    for name in names:
        module = imported(name, name)
        if isinstance(module, Finding):
            problems.append(module)
        else:
            entries += rewards_of(module)
    return entries, problems


def full_path(name: str) -> str:
    """Return the dotted path of a reward that a command line names by the end of its path.

    gsm8k.int and int are short for ...gsm8k.int_reward_func, and math is the only reward of its
    module. A name that fits no listed reward stays as it is. Raises: FindingError if it fits several.
    """
    fitting = []
    listed = [entry.path for entry in _listed()[0]]
    for path in listed:
        if path == name:
            return name
        module = path.rpartition(".")[0]
        # No path contains a space, so the end of one of the three is found.
        if f".{name} " in f"{path} {short(path)} {module} ":
            fitting.append(path)
    if len(fitting) > 1:
        stop(
            "ambiguous",
            f"--reward {name}",
            "several rewards have this name",
            f"Write one of {', '.join(fitting)}",
        )
    if not fitting:
        _check_spelling(name, [short(path) for path in listed])
    return fitting[0] if fitting else name


def _check_spelling(name: str, listed: Names) -> None:
    """Raise FindingError if a name begins with no module, and is similar to the end of a listed reward's path."""
    ends = {".".join(path.split(".")[-name.count(".") - 1 :]) for path in listed}
    close = get_close_matches(name, sorted(ends), 1)
    if close and not find_spec(name.partition(".")[0]):
        stop("unknown-reward", f"--reward {name}", "no such reward", f"Did you mean `{close[0]}`?")


def rewards_of(module: ModuleType) -> Iterator[Entry]:
    """Yield the rewards and reward factories that a module defines."""
    for name in functions_of(module):
        function = getattr(module, name)
        path = f"{module.__name__}.{name}"
        pays = _first_line(function)
        if isinstance(function, BaseReward):
            spec = function.spec
            yield Entry(path, pays, spec.range, spec.reads, spec.may_read, function.options)
        elif _is_factory(function):
            options = parameters_of(function)
            for option, default in options.items():
                if default is Parameter.empty:
                    options[option] = REQUIRED
            yield Entry(path, pays, options=options)
        # An exception class has no signature.
        elif not isclass(function) and "completions" in signature(function).parameters:
            yield Entry(path, pays)


def _is_factory(function: Function) -> bool:
    """Return True for a function annotated to return a reward, and for a class of rewards."""
    if isclass(function):
        return "completions" in signature(function.__call__).parameters
    returns = str(getattr(function, "__annotations__", {}).get("return"))
    return re.search("Reward|Callable", returns) is not None


def transforms() -> Iterator[Entry]:
    """Yield the dataset transforms under the paths that a YAML uses."""
    for module in iter_modules(transforming.__path__):
        if module.name in dir(axolotl_grpo_plugin):
            yield Entry(
                f"{axolotl_grpo_plugin.__name__}.{module.name}",
                _first_line(getattr(axolotl_grpo_plugin, module.name)),
            )


def _first_line(function: Function) -> str:
    return (getdoc(function) or "").partition("\n")[0]


def _show(entries: list[Entry]) -> None:
    """Print a table for each module."""
    out = console()
    for module, group in groupby(entries, lambda entry: entry.path.rpartition(".")[0]):
        lines = table("name", "range", "reads", "what it pays or makes", right=("range",))
        for entry in group:
            bounds = ""
            if entry.range:
                bounds = "{:g} .. {:g}".format(*entry.range)
            reads = [*entry.reads, *map("[{}]".format, entry.may_read)]
            lines.add_row(entry.path.rpartition(".")[2], bounds, ", ".join(reads), _pays(entry))
        out.print(f"{module}.*", style="bold")
        out.print(lines)


def _pays(entry: Entry) -> Text:
    """Return what it pays, and its options."""
    text = Text(entry.pays)
    options = []
    for name, value in entry.options.items():
        if value != REQUIRED:
            name = f"{name}={shorten(repr(value), 40)}"
        options.append(name)
    if options:
        text.append(f"\n{', '.join(options)}", style="dim")
    return text
