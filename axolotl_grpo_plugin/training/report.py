"""Draw a run's curve as a PNG beside its held-out answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame, Series

from axolotl_grpo_plugin.report.plots import picture
from axolotl_grpo_plugin.report.tables import Plain, draw_bars


def mean_of(reward: str) -> str:
    """Return TRL's name for the mean of a reward function in its logs."""
    return f"rewards/{reward}/mean"


def right_of(reward: str) -> str:
    """Return the plugin's name for the share of a reward function's highest scores."""
    return f"reward_right/{reward}"


def curve(history: Sequence[Mapping[str, Any]], key: str) -> Series:
    """Return the values of a metric by their step, without steps that did not log it."""
    table = DataFrame(history, columns=["step", key])
    return table.dropna().set_index("step")[key]


def smooth(values: Series) -> Series:
    """Return a centered moving mean over nine values, fewer at the ends."""
    return values.rolling(9, center=True, min_periods=1).mean()


def plot(curves: Mapping[str, Series], held_out: Sequence[Plain], file: Path) -> None:
    """Write a PNG of the training curves and of the first reward on the held-out rows.

    curves: of `curve`, by their label. held_out: of `held_out.compared`.
    """
    widths = [3, 1] if held_out else [1]
    with picture(file, (9, 3.6), columns=len(widths), width_ratios=widths) as grid:
        axes = grid[0, 0]
        for name, values in curves.items():
            (line,) = axes.plot(values.index, values, alpha=0.3, linewidth=1)
            axes.plot(values.index, smooth(values), color=line.get_color(), label=name)
        axes.set(xlabel="step", ylabel="mean over the step's completions", title="training")
        axes.legend(frameon=False)
        if held_out:
            draw_bars(grid[0, 1], held_out, "held-out rows")
