"""`axolotl-grpo docs`: read the documentation that belongs to this version."""

import sys
from pathlib import Path

import click

from axolotl_grpo_plugin.findings import nearest, stop
from axolotl_grpo_plugin.paths import shipped

_MOST = 20  # lines of a search


def run(topic: str | None) -> None:
    """Print a page, the lines that have a word, or the list of pages.

    Args:
        topic: A page such as "gpus", any other text to search for, or None.

    Raises:
        FindingError: Neither a page nor a line has the text.
    """
    pages = {page.stem: page for page in sorted(shipped("docs").glob("*.md"))}
    if topic is None:
        for name, page in pages.items():
            click.echo(f"{name:<22} {_title(page)}")
    elif topic.removesuffix(".md") in pages:
        _print(pages[topic.removesuffix(".md")])
    else:
        _search(topic, pages)


def _title(page: Path) -> str:
    return page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _print(page: Path) -> None:
    """Print Markdown as it is to a file or a pipe, and formatted to a terminal."""
    text = page.read_text(encoding="utf-8")
    if not sys.stdout.isatty():
        click.echo(text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))


def _search(text: str, pages: dict[str, Path]) -> None:
    lines = []
    for name, page in pages.items():
        for line in page.read_text(encoding="utf-8").splitlines():
            if text.lower() in line.lower():
                # Headings first, because their sections are about the text.
                lines.append((not line.startswith("#"), f"{name}: {line.strip()}"))
    if not lines:
        stop("no-topic", text, "no page has this text", nearest(text, pages))
    lines.sort(key=lambda pair: pair[0])
    for _, line in lines[:_MOST]:
        click.echo(line[:160])
    if len(lines) > _MOST:
        click.echo(f"... and {len(lines) - _MOST} more lines")
