"""`axolotl grpo rewards`: what a YAML may name, the shipped ones and those of the working folder."""

import json
import re
from collections.abc import Iterator, Mapping
from inspect import Parameter, getdoc, isclass, signature
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules
from textwrap import shorten
from types import ModuleType
from typing import Any, NamedTuple

import click

import axolotl_grpo_plugin
from axolotl_grpo_plugin import paths, rewards
from axolotl_grpo_plugin import transforms as transforming
from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.modules import functions_of, imported
from axolotl_grpo_plugin.reward import BaseReward, GroupReward, Reward, Spec, described

WIDTH = 100
REQUIRED = "required"


class Entry(NamedTuple):
    """One thing that a YAML may name.

    kind: "reward", "group" (scores a prompt's completions together), "async", "function" (of one's
    own, without a decorator), "factory" (`grpo_reward_args` make a reward of it), or "transform". range:
    lowest and highest score, None where it is not known. reads: columns; in may_read those that
    may be missing. options: with their defaults, or REQUIRED.
    """

    path: str
    kind: str
    range: tuple[float, float] | None
    reads: tuple[str, ...]
    may_read: tuple[str, ...]
    options: dict[str, Any]
    pays: str


def run(as_json: bool) -> int:
    """List them; the exit code: 1 where a file of the working folder cannot be imported."""
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
    """The modules that have rewards: the shipped ones, and those of the working folder."""
    for module in iter_modules(rewards.__path__):
        yield f"{rewards.__name__}.{module.name}"
    for file in sorted(Path("rewards").glob("[!_]*.py")):
        yield f"rewards.{file.stem}"


def rewards_of(module: ModuleType) -> Iterator[Entry]:
    """The rewards that a module defines, and what makes rewards."""
    for name in functions_of(module):
        function = getattr(module, name)
        spec = function.spec if isinstance(function, BaseReward) else Spec()
        if isinstance(function, BaseReward):
            kind, options = _kind(function), function.options
        elif _makes_rewards(function):
            kind, options = "factory", _options(function)
        elif "completions" in _parameters(function):
            kind, options = _kind(described(function)), {}
        else:
            continue
        yield Entry(
            f"{module.__name__}.{name}",
            kind,
            spec.range,
            spec.reads,
            spec.may_read,
            options,
            _first_line(function),
        )


def _kind(reward: Any) -> str:
    if reward.is_async:
        return "async"
    if isinstance(reward, Reward):
        return "reward"
    return "group" if isinstance(reward, GroupReward) else "function"


def _makes_rewards(function: Any) -> bool:
    """Whether it says that it returns one, or is a class whose objects are."""
    if isclass(function):
        return "completions" in _parameters(function.__call__)
    returns = str(getattr(function, "__annotations__", {}).get("return"))
    return re.search("Reward|Callable", returns) is not None


def _parameters(function: Any) -> Mapping[str, Parameter]:
    return signature(function).parameters


def _options(function: Any) -> dict[str, Any]:
    return {
        each.name: REQUIRED if each.default is Parameter.empty else each.default
        for each in _parameters(function).values()
        if each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    }


def transforms() -> Iterator[Entry]:
    """The dataset transforms, by the names that a YAML has for them."""
    for name in sorted(each.name for each in iter_modules(transforming.__path__)):
        if name in dir(axolotl_grpo_plugin):
            factory = getattr(axolotl_grpo_plugin, name)
            path = f"{axolotl_grpo_plugin.__name__}.{name}"
            yield Entry(path, "transform", None, (), (), {}, _first_line(factory))


def _first_line(function: Any) -> str:
    return (getdoc(function) or "").partition("\n")[0]


def _show(entries: list[Entry]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    for module, group in groupby(entries, lambda each: each.path.rpartition(".")[0]):
        listed = list(group)
        is_transform = listed[0].kind == "transform"
        made = Table(
            box=box.SIMPLE_HEAD,
            title=Text(f"{module}.*", style="bold"),
            title_justify="left",
            padding=(0, 1, 0, 0),
        )
        made.add_column("type" if is_transform else "reward", overflow="fold")
        if not is_transform:
            made.add_column("range", justify="right", no_wrap=True)
            made.add_column("reads", max_width=20)
        made.add_column("what it makes" if is_transform else "what it pays")
        for each in listed:
            name = Text(each.path.rpartition(".")[2])
            said = Text(each.pays)
            if each.kind not in ("reward", "transform"):
                said.append(f" [{each.kind}]", style="cyan")
            if each.options:
                said.append(f"\n{', '.join(map(_option, each.options.items()))}", style="dim")
            cells = [] if is_transform else [_range(each), _reads(each)]
            made.add_row(name, *cells, said)
        console.print(made)


def _option(option: tuple[str, Any]) -> str:
    name, value = option
    return name if value == REQUIRED else f"{name}={shorten(repr(value), 40)}"


def _range(entry: Entry) -> str:
    return "" if entry.range is None else "{:g} .. {:g}".format(*entry.range)


def _reads(entry: Entry) -> Any:
    from rich.text import Text

    optional = [f"[{name}]" for name in entry.may_read if name not in entry.reads]
    return Text(", ".join([*entry.reads, *optional]))
