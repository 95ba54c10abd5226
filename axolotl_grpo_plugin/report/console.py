"""The console of the commands, and texts that fit into a cell of a table."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, Any

import click
from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table

if TYPE_CHECKING:
    from tqdm import tqdm

WIDTH = 100
_LONG = 5.0  # seconds of work without a sign


def console() -> Console:
    """Return a console of at most WIDTH columns, which shows text as it is."""
    output = Console(markup=False, highlight=False, emoji=False)
    if not output.is_terminal or output.width > WIDTH:
        output.width = WIDTH
    return output


def table(*names: str, right: Sequence[str] = (), no_wrap: bool = False) -> Table:
    """Return a table with a line below its head. right: the columns of numbers."""
    new_table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        justify: JustifyMethod = "right" if name in right else "left"
        new_table.add_column(name, justify=justify, no_wrap=no_wrap)
    return new_table


def print_json(result: object) -> None:
    """Print the result of a command, for --json."""
    click.echo(json.dumps(result, indent=2, ensure_ascii=False, default=repr))


@contextmanager
def told_if_slow(line: str, seconds: float = 5.0) -> Iterator[None]:
    """Print a line to the standard error if the with block is not done after some seconds."""
    timer = Timer(seconds, click.echo, [line], {"err": True})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def in_one_line(text: str, width: int = 56) -> str:
    """Return both ends of a text on one line of at most `width` characters, without control characters."""
    head = width // 4
    if len(text) > width:  # the answer is at the end
        text = f"{text[:head]} … {text[head + 3 - width :]}"
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.split())


def progress(what: str, total: int | None, unit: str, shown: bool = True) -> "tqdm[Any]":
    """Return a bar on stderr that appears after 5 seconds, and stays with the time that the work took.

    Args:
        what: The work.
        total: The number of units, None if it is unknown.
        unit: The plural of what is counted.
        shown: False shows nothing, for example on other ranks than the first.
    """
    from tqdm import tqdm

    # A file gets each state as a line of its own, so that they must be few.
    return tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        delay=_LONG,
        mininterval=0.1 if sys.stderr.isatty() else _LONG,
        disable=not shown,
    )
