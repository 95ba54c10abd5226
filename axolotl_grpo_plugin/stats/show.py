"""Show counts as tables, and as JSON."""

from rich.table import Table
from rich.text import Text

from axolotl_grpo_plugin.data.counts import SHARES, Lengths
from axolotl_grpo_plugin.data.measure import Measured
from axolotl_grpo_plugin.data.tokenizer import Tokenizer
from axolotl_grpo_plugin.report.console import table
from axolotl_grpo_plugin.stats.budget import Budget
from axolotl_grpo_plugin.stats.rollouts import CompletionLengths


def percentiles(lengths: Lengths) -> dict[str, int]:
    """Return the least length, the percentiles and the largest length, by their names."""
    numbers = {"min": min(lengths.counts)}
    for share in SHARES:
        numbers[f"p{100 * share:g}"] = lengths.at(share)
    return {**numbers, "max": lengths.most}


def distribution(datasets: list[Measured], prompts: Lengths) -> Table:
    """Return a table with one line per dataset. prompts: of all datasets."""
    heads = ["rows", *percentiles(prompts)]
    shown = table("tokens of a prompt", *heads, right=heads, no_wrap=True)
    for dataset in datasets:
        shown.add_row(dataset.source.label, *cells(dataset.prompts))
    if len(datasets) > 1:
        shown.add_row("all prompts", *cells(prompts))
    return shown


def cells(lengths: Lengths) -> list[str]:
    """Return rows, min, the percentiles and max as text."""
    if not lengths.rows:
        return ["0"]
    return [f"{lengths.rows:,}", *map(str, percentiles(lengths).values())]


def trade_off(options: list[Budget], rows: int) -> Table:
    """Return a table of budgets, one line per context."""
    heads = ["context", "= completion", "+ prompt", "rows dropped", "share"]
    shown = table(*heads, right=heads, no_wrap=True)
    # Of two with the same context, the first keeps more rows.
    contexts = {option.context: option for option in reversed(options)}
    for context, option in sorted(contexts.items(), reverse=True):
        shown.add_row(
            str(context),
            str(option.completion),
            str(context - option.completion),
            f"{option.dropped:,}",
            f"{option.dropped / rows:.2%}",
        )
    return shown


def rollouts(found: CompletionLengths) -> Table:
    """Return a table of a run's completions."""
    shown = table("rollouts", "number", "share or tokens")
    shown.add_row("all", f"{found.rows:,}", Text(str(found.folder)))
    shown.add_row("truncated", f"{found.truncated:,}", f"{found.share:.1%}")
    if found.finished.rows:
        shown.add_row(
            "finished",
            f"{found.finished.rows:,}",
            ", ".join(
                f"{name} {length}"
                for name, length in percentiles(found.finished).items()
                if name != "min"
            ),
        )
    right, judged = found.right, found.judged
    if judged:
        part = right[True] / max(judged[True], 1)
        shown.add_row(
            "right",
            f"{right.total():,}",
            f"{right.total() / judged.total():.1%} of all, {part:.1%} of the truncated",
        )
    return shown


def provenance(tokenizer: Tokenizer, datasets: list[Measured]) -> list[str]:
    """Return lines on tokenizer, template and datasets behind the counts."""
    lines = [f"tokenizer {tokenizer.name}, counted by {tokenizer.how}"]
    if tokenizer.template:
        lines.append(f"template {tokenizer.template_source}")
    for dataset in datasets:
        source, rows = dataset.source, dataset.prompts.rows
        lines.append(
            f"{source.name}, split {source.split}, {source.transform}, n = {rows:,}, "
            f"the longest is row {dataset.longest.number}"
        )
    return lines


def plain(lengths: Lengths) -> dict[str, object]:
    """Return the distribution for JSON."""
    if not lengths.rows:
        return {"rows": 0}
    return {
        "rows": lengths.rows,
        **percentiles(lengths),
        "counts": dict(sorted(lengths.counts.items())),
    }
