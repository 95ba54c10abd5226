"""Show counts as tables, and as JSON."""

from collections.abc import Sequence
from math import floor, log10
from typing import Any

from rich import box
from rich.bar import Bar
from rich.table import Table
from rich.text import Text

from axolotl_grpo_plugin.stats.budget import Budget
from axolotl_grpo_plugin.stats.counts import SHARES, Lengths
from axolotl_grpo_plugin.stats.measure import SHOWN, Measured
from axolotl_grpo_plugin.stats.rollouts import CompletionLengths
from axolotl_grpo_plugin.stats.tokenizer import Tokenizer

BINS, WIDTH = 16, 28

Counted = Sequence[tuple[Tokenizer, Sequence[Measured]]]


def distribution(tokenizer: str, datasets: Sequence[Measured]) -> Table:
    """Return a table with one line per dataset and one for its gold completions."""
    made = _table(f"tokens of a prompt, {tokenizer}")
    made.add_column("", no_wrap=True)
    for head in ["rows", "min", *(f"p{100 * share:g}" for share in SHARES), "max"]:
        made.add_column(head, justify="right", no_wrap=True)
    for each in datasets:
        made.add_row(each.label, *cells(each.prompts))
        if each.gold.rows:
            made.add_row(Text(f"  {each.gold_column} alone"), *cells(each.gold), style="dim")
    if len(datasets) > 1:
        made.add_row("all prompts", *cells(together(datasets)), style="bold")
    return made


def _table(title: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        title=Text(title, style="bold"),
        title_justify="left",
        caption_justify="left",
        padding=(0, 1, 0, 0),
    )


def together(datasets: Sequence[Measured]) -> Lengths:
    return Lengths.together(each.prompts for each in datasets)


def cells(lengths: Lengths) -> list[str]:
    """Return rows, min, the percentiles and max as text."""
    if not lengths.rows:
        return ["0"]
    values = [lengths.least, *(lengths.at(share) for share in SHARES), lengths.most]
    return [f"{lengths.rows:,}", *map(str, values)]


def histogram(lengths: Lengths, room: int) -> Table:
    """Return a histogram with cumulative shares. room: tokens that a prompt may have."""
    width = bin_width(lengths, BINS)
    bins: dict[int, int] = {}
    for length, count in lengths.counts.items():
        bins[length // width] = bins.get(length // width, 0) + count
    most, seen = max(bins.values()), 0
    made = _table("how many prompts have how many tokens")
    if lengths.most > room:
        made.caption = f"red: longer than the {room} tokens that the budget leaves"
    made.add_column("tokens", justify="right")
    made.add_column("prompts", justify="right")
    made.add_column("")
    made.add_column("so far", justify="right")
    for place in range(min(bins), max(bins) + 1):
        count = bins.get(place, 0)
        seen += count
        style = "cyan" if place * width <= room else "red"
        made.add_row(
            f"{place * width}-{(place + 1) * width - 1}" if width > 1 else str(place),
            f"{count:,}",
            # At least an eighth of a cell, so that a few rows among thousands are visible.
            Bar(most, 0, count and max(count, most / WIDTH / 8), width=WIDTH, color=style),
            f"{floor(1000 * seen / lengths.rows) / 10}%",
        )
    return made


def bin_width(lengths: Lengths, bins: int) -> int:
    """Return 1, 2 or 5 times a power of ten that gives at most this many bins."""
    least = max((lengths.most - lengths.least + 1) / (bins - 1), 1)
    power = 10 ** int(log10(least))
    return next(int(n * power) for n in (1, 2, 5, 10) if n * power >= least)


def longest(datasets: Sequence[Measured]) -> Table:
    """Return a table of the longest prompts, with the tokens of text, template and opening."""
    made = _table("the longest")
    made.caption = (
        "text: of the messages; template: added around them; opening: the generation prompt"
    )
    made.expand = True
    for head in ("tokens", "text", "template", "opening", "row"):
        made.add_column(head, justify="right", no_wrap=True)
    made.add_column("of", no_wrap=True)
    made.add_column("which begins", no_wrap=True, ratio=1)
    found = [(each.label, long) for each in datasets for long in each.longest]
    for label, long in sorted(found, key=lambda each: -each[1].length)[:SHOWN]:
        parts = (long.length, long.plain, long.template, long.generation, long.row)
        shown = ("" if part is None else str(part) for part in parts)
        made.add_row(*shown, label, Text(long.words))
    return made


def trade_off(options: Sequence[Budget], chosen: Budget, rows: int, why: str) -> Table:
    """Return a table of budgets, one line per context, the chosen one marked."""
    made = _table("budgets")
    made.caption = f"completion: {why}"
    for head in ("context", "= completion", "+ prompt", "rows dropped", ""):
        made.add_column(head, justify="right")
    contexts = {each.context: each for each in [*reversed(options), chosen]}
    for context in sorted(contexts, reverse=True):
        each = contexts[context]
        marked = context == chosen.context
        made.add_row(
            str(context),
            str(each.completion),
            str(context - each.completion),
            f"{each.dropped:,}",
            f"{each.dropped / rows:.2%}",
            style="bold green" if marked else "",
        )
    return made


def rollouts(found: CompletionLengths) -> Table:
    """Return a table of a run's completions in parts of equal length."""
    how = "estimated from the text" if found.estimated else "as logged"
    made = _table(f"{found.rows:,} rollouts of {found.folder}, tokens {how}")
    made.caption = Text(f"right: {found.reward} gave {found.best:g}, its highest score in this run")
    for head in ("", "rollouts", "truncated", "mean tokens"):
        made.add_column(head, justify="right")
    for first, last, rows, truncated, tokens in found.parts():
        made.add_row(f"steps {first}-{last}", f"{rows:,}", f"{truncated:.1%}", f"{tokens:.0f}")
    made.add_section()
    made.add_row("all", f"{found.rows:,}", f"{found.share:.1%}", "", style="bold")
    if found.finished.rows:
        ends = ", ".join(f"p{100 * share:g} {found.finished.at(share)}" for share in SHARES)
        made.add_row(
            "finished", f"{found.finished.rows:,}", "", f"{ends}, max {found.finished.most}"
        )
    if found.right:
        part = found.right_truncated / found.truncated if found.truncated else 0
        whole = found.right / found.rows
        made.add_row(
            "right", f"{found.right:,}", "", f"{whole:.1%} of all, {part:.1%} of the truncated"
        )
    return made


def provenance(tokenizer: Tokenizer, datasets: Sequence[Measured]) -> Table:
    """Return a table of tokenizer, template and datasets behind the counts."""
    made = Table.grid(padding=(0, 2))
    made.add_row("tokenizer", Text(f"{tokenizer.name} {tokenizer.hash()}"))
    if tokenizer.template:
        made.add_row("template", Text(f"{tokenizer.template_source} {tokenizer.template_hash()}"))
    made.add_row("counted by", tokenizer.how)
    for each in datasets:
        cells = (each.path, f"split {each.split}", each.transform, f"n = {each.prompts.rows:,}")
        made.add_row(each.label, Text(", ".join(cells)))
    return made


def plain(lengths: Lengths) -> dict[str, Any]:
    """Return the distribution for JSON."""
    if not lengths.rows:
        return {"rows": 0}
    return {
        "rows": lengths.rows,
        "min": lengths.least,
        **{f"p{100 * share:g}": lengths.at(share) for share in SHARES},
        "max": lengths.most,
        "counts": dict(sorted(lengths.counts.items())),
    }
