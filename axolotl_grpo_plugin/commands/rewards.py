"""`axolotl grpo rewards`: list the rewards and transforms that a YAML can name."""

import json
import re
from collections.abc import Iterator
from inspect import Parameter, getdoc, isclass, signature
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules
from textwrap import shorten
from types import ModuleType
from typing import Any, NamedTuple

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

import axolotl_grpo_plugin
from axolotl_grpo_plugin import paths, rewards
from axolotl_grpo_plugin import transforms as transforming
from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.modules import functions_of, imported
from axolotl_grpo_plugin.reward import BaseReward, GroupReward, Reward, Spec, described

WIDTH = 100
REQUIRED = "required"


class Entry(NamedTuple):
    """A reward or a transform.

    kind: "reward", "group" (scores a prompt's completions together), "async", "function" (without
    a decorator), "factory" (makes a reward from `grpo_reward_args`), or "transform". range: lowest
    and highest score, None if not known. reads: columns; those of may_read are optional. options:
    with their defaults, or REQUIRED. pays: the first line of its docstring.
    """

    path: str
    kind: str
    range: tuple[float, float] | None
    reads: tuple[str, ...]
    may_read: tuple[str, ...]
    options: dict[str, Any]
    pays: str


def run(as_json: bool) -> int:
    """Print the list. Return the exit code: 1 if a module cannot be imported, else 0."""
    paths.add_working_folder()
    entries: list[Entry] = []
    problems: list[Finding] = []
    for name in modules():
        module = imported(name, name)
        if isinstance(module, Finding):
            problems.append(module)
        else:
            entries += rewards_of(module)
    entries += transforms()
    if as_json:
        click.echo(json.dumps([each._asdict() for each in entries], indent=2, default=repr))
    else:
        _show(entries)
    for problem in problems:
        click.echo(str(problem), err=True)
    return int(bool(problems))


def modules() -> Iterator[str]:
    """Yield the names of the shipped reward modules and of the working folder's."""
    for module in iter_modules(rewards.__path__):
        yield f"{rewards.__name__}.{module.name}"
    for file in sorted(Path("rewards").glob("[!_]*.py")):
        yield f"rewards.{file.stem}"


def rewards_of(module: ModuleType) -> Iterator[Entry]:
    """Yield the rewards and reward factories that a module defines."""
    for name in functions_of(module):
        function = getattr(module, name)
        spec, options = Spec(), {}
        if isinstance(function, BaseReward):
            kind, spec, options = _kind(function), function.spec, function.options
        elif _is_factory(function):
            kind, options = "factory", options_of(function)
        elif "completions" in signature(function).parameters:
            kind = _kind(described(function))
        else:
            continue
        columns = (spec.range, spec.reads, spec.may_read)
        yield Entry(f"{module.__name__}.{name}", kind, *columns, options, _first_line(function))


def _kind(reward: BaseReward) -> str:
    if reward.is_async:
        return "async"
    if isinstance(reward, Reward):
        return "reward"
    return "group" if isinstance(reward, GroupReward) else "function"


def _is_factory(function: Any) -> bool:
    """Return True for a function annotated to return a reward, and for a class of rewards."""
    if isclass(function):
        return "completions" in signature(function.__call__).parameters
    returns = str(getattr(function, "__annotations__", {}).get("return"))
    return re.search("Reward|Callable", returns) is not None


def options_of(function: Any) -> dict[str, Any]:
    """Return the parameters with their defaults, or REQUIRED."""
    return {
        each.name: REQUIRED if each.default is Parameter.empty else each.default
        for each in signature(function).parameters.values()
        if each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    }


def transforms() -> Iterator[Entry]:
    """Yield the dataset transforms under the paths that a YAML uses."""
    for module in iter_modules(transforming.__path__):
        if module.name in dir(axolotl_grpo_plugin):
            pays = _first_line(getattr(axolotl_grpo_plugin, module.name))
            path = f"{axolotl_grpo_plugin.__name__}.{module.name}"
            yield Entry(path, "transform", None, (), (), {}, pays)


def _first_line(function: Any) -> str:
    return (getdoc(function) or "").partition("\n")[0]


def console() -> Console:
    """Return a console of at most WIDTH columns."""
    made = Console()
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def both_ends(text: str, head: int, tail: int) -> str:
    """Return a long text without its middle, because the answer is at the end."""
    return f"{text[:head]} … {text[-tail:]}" if len(text) > head + tail + 3 else text


def in_one_line(text: str, width: int = 56) -> str:
    """Return at most `width` characters on one line, without control characters."""
    line = "".join(c if c.isprintable() else " " for c in text[:1000])
    return shorten(line, width, placeholder=" …")


def _show(entries: list[Entry]) -> None:
    out = console()
    for module, group in groupby(entries, lambda each: each.path.rpartition(".")[0]):
        listed = list(group)
        is_transform = listed[0].kind == "transform"
        title = Text(f"{module}.*", style="bold")
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0))
        table.add_column("type" if is_transform else "reward", overflow="fold")
        if not is_transform:
            table.add_column("range", justify="right", no_wrap=True)
            table.add_column("reads", max_width=20)
        table.add_column("what it makes" if is_transform else "what it pays")
        for each in listed:
            text = Text(each.pays)
            if each.kind not in ("reward", "transform"):
                text.append(f" [{each.kind}]", style="cyan")
            if each.options:
                text.append(f"\n{', '.join(map(_option, each.options.items()))}", style="dim")
            cells = [] if is_transform else [_range(each), _reads(each)]
            table.add_row(each.path.rpartition(".")[2], *map(Text, cells), text)
        out.print(table)


def _option(option: tuple[str, Any]) -> str:
    name, value = option
    return name if value == REQUIRED else f"{name}={shorten(repr(value), 40)}"


def _range(entry: Entry) -> str:
    return "" if entry.range is None else "{:g} .. {:g}".format(*entry.range)


def _reads(entry: Entry) -> str:
    optional = [f"[{name}]" for name in entry.may_read if name not in entry.reads]
    return ", ".join([*entry.reads, *optional])
