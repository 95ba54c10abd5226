"""Show a run's curve and its held-out table, in the terminal and as a PNG."""

from pathlib import Path
from typing import Any

import numpy as np

from axolotl_grpo_plugin.training.held_out import Change

PLOT = "training.png"
BLOCKS = "▁▂▃▄▅▆▇█"


def short(reward: str) -> str:
    """Return a reward function's name without its usual ending."""
    return reward.removesuffix("_reward_func")


def mean_of(reward: str) -> str:
    """Return TRL's name for the mean of a reward function in its logs."""
    return f"rewards/{reward}/mean"


def right_of(reward: str) -> str:
    """Return the plugin's name for the share of a reward function's highest scores."""
    return f"reward_right/{reward}"


def sparkline(values: list[float], width: int = 40) -> str:
    """Return the values as at most `width` block characters, each a mean of neighbors."""
    parts = np.array_split(values, min(width, len(values)))
    means = [float(part.mean()) for part in parts]
    low, high = min(means), max(means)
    span = (high - low) or 1.0
    return "".join(BLOCKS[round((mean - low) / span * (len(BLOCKS) - 1))] for mean in means)


def table(changes: list[Change]) -> Any:
    """Return the held-out changes as a rich table: one line per reward, one column per mode."""
    from rich import box
    from rich.table import Table

    modes = list(dict.fromkeys(change.mode for change in changes))
    rewards = list(dict.fromkeys(change.reward for change in changes))
    shown = Table(
        "",
        *modes,
        box=box.SIMPLE,
        title=f"{max(change.rows for change in changes)} held-out rows, before and after training",
        caption="mean reward, ± the 95 % interval of its change",
    )
    cells = {(change.reward, change.mode): _cell(change) for change in changes}
    first = [change for change in changes if change.reward == rewards[0]]
    if all(change.right_before is not None for change in first):
        shown.add_row(
            f"{short(rewards[0])}: right",
            *(f"{change.right_before:.1%} → {change.right_after:.1%}" for change in first),
            style="bold",
        )
    for name in rewards:
        shown.add_row(short(name), *(cells.get((name, mode), "") for mode in modes))
    return shown


def _cell(change: Change) -> str:
    margin = (change.high - change.low) / 2
    return f"{change.before:.2f} → {change.after:.2f} ±{rounded(margin)}"


def rounded(value: float, sign: str = "") -> str:
    """Return a number with two decimals, or a smaller one with one digit that is not 0."""
    return f"{value:{sign}.{'2f' if abs(value) >= 0.005 else '1g'}}"


def plot(curves: dict[str, list[tuple[int, float]]], changes: list[Change], file: Path) -> None:
    """Write a PNG of the training curves and of the first reward's held-out means."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    shown = [change for change in changes if change.reward == changes[0].reward]
    widths = [3, 1] if shown else [1]
    axes, *others = figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]
    for name, curve in curves.items():
        steps, values = zip(*curve, strict=True) if curve else ((), ())
        (line,) = axes.plot(steps, values, alpha=0.3, linewidth=1)
        axes.plot(steps, smooth(values), color=line.get_color(), label=name)
    axes.set(xlabel="step", ylabel="mean over the step's completions", title="training")
    axes.legend(frameon=False)
    for bars in others:
        for offset, moment, color in (
            (-0.18, "before", "lightgray"),
            (0.18, "after", "tab:orange"),
        ):
            heights = [getattr(change, moment) for change in shown]
            places = [place + offset for place in range(len(shown))]
            container = bars.bar(places, heights, 0.34, color=color, label=moment)
            bars.bar_label(container, fmt="%.2f", fontsize=8)
        bars.set_xticks(range(len(shown)), [change.mode for change in shown])
        bars.set(title=f"{shown[0].rows} held-out rows", ylabel=short(shown[0].reward))
        bars.margins(y=0.25)
        bars.legend(frameon=False, loc="upper center", ncols=2, fontsize=8)
    for each in (axes, *others):
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def smooth(values: Any, window: int = 9) -> list[float]:
    """Return a centered moving mean, narrower at the ends."""
    half = window // 2
    parts = [values[max(i - half, 0) : i + half + 1] for i in range(len(values))]
    return [sum(part) / len(part) for part in parts]
