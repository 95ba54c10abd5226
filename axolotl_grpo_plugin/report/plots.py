"""Draw a picture with matplotlib, without pyplot's global state."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def picture(
    file: Path, size: tuple[float, float], rows: int = 1, columns: int = 1, **more: Any
) -> Iterator[Any]:
    """Yield a grid of axes (rows, columns) to draw on, then write it as a PNG.

    size: in inches. more: arguments of `Figure.subplots`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    yield figure.subplots(rows, columns, squeeze=False, **more)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=150)


def bars(
    axes: Any,
    labels: Sequence[str],
    heights: Mapping[str, Sequence[float]],
    errors: Mapping[str, object],
) -> None:
    """Draw a group of bars for each label, with a bar for each series.

    heights: by series, one per label. errors: by series, shape (2, labels), below and above.
    """
    width = 0.8 / len(heights)
    for number, (name, values) in enumerate(heights.items()):
        places = np.arange(len(labels)) + (number - (len(heights) - 1) / 2) * width
        drawn = axes.bar(
            places, values, 0.9 * width, yerr=errors[name], capsize=3, alpha=0.8, label=name
        )
        axes.bar_label(drawn, fmt="{:.3f}", fontsize=8)
    axes.set_xticks(range(len(labels)), labels)
    axes.margins(y=0.2)
    axes.legend(frameon=False, loc="upper left", ncols=2, fontsize=8)
