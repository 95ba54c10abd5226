"""Draw the curves of a run as a PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pandas import DataFrame, Series


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


def plot(curves: Mapping[str, Series], file: Path) -> None:
    """Write a PNG of training curves.

    Args:
        curves: The values of metrics by their step, by the label of the curve.
        file: The PNG.
    """
    from matplotlib.figure import Figure  # without the global state of pyplot

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        (line,) = axes.plot(values.index, values, alpha=0.3, linewidth=1)
        axes.plot(values.index, smooth(values), color=line.get_color(), label=name)
    axes.set(xlabel="step", ylabel="mean over the step's completions", title="training")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)
