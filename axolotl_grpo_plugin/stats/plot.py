"""Draw the distribution of lengths."""

from collections.abc import Sequence
from itertools import accumulate
from math import log10
from pathlib import Path

from axolotl_grpo_plugin.stats.budget import Budget
from axolotl_grpo_plugin.stats.counts import Lengths
from axolotl_grpo_plugin.stats.show import Counted, together

BINS = 60


def plot(counted: Counted, options: Sequence[Budget], chosen: Budget, file: Path) -> None:
    """Draw a histogram of prompt lengths, their cumulative share, and the budgets."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    shares = axes.twinx()
    parts = [(tokenizer.name, together(datasets)) for tokenizer, datasets in counted]
    parts = [(name, lengths) for name, lengths in parts if lengths.rows]
    width = _bin_width(Lengths.together(lengths for _, lengths in parts))
    for number, (name, lengths) in enumerate(parts):
        places, numbers = zip(*sorted(lengths.counts.items()), strict=True)
        first = lengths.least // width * width
        axes.hist(
            places,
            bins=range(first, lengths.most + width + 1, width),
            weights=numbers,
            color=f"C{number}",
            alpha=0.4,
            label=f"{Path(name).name}: {lengths.rows:,} prompts, the longest {lengths.most}",
        )
        curve = [seen / lengths.rows for seen in accumulate(numbers, initial=0)]
        shares.step([places[0], *places], curve, where="post", color=f"C{number}", linewidth=1.2)
    for each in {each.context: each for each in [*options, chosen]}.values():
        marked = each.context == chosen.context
        color = "tab:red" if marked else "gray"
        prompt = each.context - each.completion
        axes.axvline(prompt, color=color, linestyle="--" if marked else ":", linewidth=1.2)
        axes.annotate(
            f"context {each.context}: {prompt} for a prompt"
            + (f", {each.dropped:,} dropped" if each.dropped else ""),
            (prompt, 0.5),
            xycoords=("data", "axes fraction"),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            rotation=90,
            color=color,
            fontsize=8,
        )
    axes.set(
        xlabel="tokens of a prompt, chat template included", ylabel=f"prompts per {width} tokens"
    )
    shares.set(ylabel="share of prompts that are no longer", ylim=(0, 1.02))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(0, 1.12), ncols=2, fontsize=8)
    for side in (axes, shares):
        side.spines["top"].set_visible(False)
    figure.savefig(file, dpi=150)


def _bin_width(lengths: Lengths) -> int:
    """Return 1, 2 or 5 times a power of ten, so that there are at most BINS bins."""
    least = max((lengths.most - lengths.least + 1) / (BINS - 1), 1)
    power = 10 ** int(log10(least))
    return next(int(n * power) for n in (1, 2, 5, 10) if n * power >= least)
