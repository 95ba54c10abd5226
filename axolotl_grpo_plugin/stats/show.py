"""Show counts as tables, and as JSON."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from axolotl_grpo_plugin.stats.budget import Budget
from axolotl_grpo_plugin.stats.counts import SHARES, Lengths
from axolotl_grpo_plugin.stats.measure import SHOWN, Measured
from axolotl_grpo_plugin.stats.rollouts import CompletionLengths
from axolotl_grpo_plugin.stats.tokenizer import Tokenizer

Counted = Sequence[tuple[Tokenizer, Sequence[Measured]]]


def distribution(tokenizer: str, datasets: Sequence[Measured]) -> Table:
    """Return a table with one line per dataset and one for its gold completions."""
    table = _table(f"tokens of a prompt, {tokenizer}")
    table.add_column("", no_wrap=True)
    for head in ["rows", "min", *(f"p{100 * share:g}" for share in SHARES), "max"]:
        table.add_column(head, justify="right", no_wrap=True)
    for each in datasets:
        table.add_row(each.label, *cells(each.prompts))
        if each.gold.rows:
            table.add_row(Text(f"  {each.gold_column} alone"), *cells(each.gold), style="dim")
    if len(datasets) > 1:
        table.add_row("all prompts", *cells(together(datasets)), style="bold")
    return table


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


def longest(datasets: Sequence[Measured]) -> Table:
    """Return a table of the longest prompts, with the tokens of text, template and opening."""
    table = _table("the longest prompts")
    table.caption = (
        "text: of the messages; template: added around them; opening: the generation prompt"
    )
    table.expand = True
    for head in ("tokens", "text", "template", "opening", "row"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("dataset", no_wrap=True)
    table.add_column("first words", no_wrap=True, ratio=1)
    prompts = [(each.label, long) for each in datasets for long in each.longest]
    for label, long in sorted(prompts, key=lambda each: -each[1].length)[:SHOWN]:
        parts = (long.length, long.plain, long.template, long.generation, long.row)
        cells = ("" if part is None else str(part) for part in parts)
        table.add_row(*cells, label, Text(long.words))
    return table


def trade_off(options: Sequence[Budget], chosen: Budget, rows: int, why: str) -> Table:
    """Return a table of budgets, one line per context, the chosen one marked."""
    table = _table("budgets")
    table.caption = f"completion: {why}"
    for head in ("context", "= completion", "+ prompt", "rows dropped", ""):
        table.add_column(head, justify="right")
    contexts = {each.context: each for each in [*reversed(options), chosen]}
    for context in sorted(contexts, reverse=True):
        each = contexts[context]
        marked = context == chosen.context
        table.add_row(
            str(context),
            str(each.completion),
            str(context - each.completion),
            f"{each.dropped:,}",
            f"{each.dropped / rows:.2%}",
            style="bold green" if marked else "",
        )
    return table


def rollouts(found: CompletionLengths) -> Table:
    """Return a table of a run's completions."""
    how = "estimated from the text" if found.estimated else "as logged"
    table = _table(f"{found.rows:,} rollouts of {found.folder}, tokens {how}")
    reward = found.reward
    if reward.range:
        table.caption = Text(f"right: {reward.name} gave {reward.range[1]:g}, its declared maximum")
    for head in ("", "rollouts", ""):
        table.add_column(head, justify="right")
    table.add_row("all", f"{found.rows:,}", "")
    table.add_row("truncated", f"{found.truncated:,}", f"{found.share:.1%}")
    if found.finished.rows:
        ends = ", ".join(f"p{100 * share:g} {found.finished.at(share)}" for share in SHARES)
        shown = f"{ends}, max {found.finished.most} tokens"
        table.add_row("finished", f"{found.finished.rows:,}", shown)
    right, judged = found.right, found.judged
    if judged:
        part = right[True] / max(judged[True], 1)
        shown = f"{right.total() / judged.total():.1%} of all, {part:.1%} of the truncated"
        table.add_row("right", f"{right.total():,}", shown)
    return table


def provenance(tokenizer: Tokenizer, datasets: Sequence[Measured]) -> Table:
    """Return a table of tokenizer, template and datasets behind the counts."""
    table = Table.grid(padding=(0, 2))
    table.add_row("tokenizer", Text(tokenizer.name))
    if tokenizer.template:
        table.add_row("template", Text(tokenizer.template_source))
    table.add_row("counted by", tokenizer.how)
    for each in datasets:
        cells = (each.path, f"split {each.split}", each.transform, f"n = {each.prompts.rows:,}")
        table.add_row(each.label, Text(", ".join(cells)))
    return table


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
