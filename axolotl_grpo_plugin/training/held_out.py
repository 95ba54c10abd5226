"""Compare the model's answers to held-out rows before and after training."""

import json
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

FILE = "held_out.jsonl"


class Change(NamedTuple):
    """One reward function on the held-out rows, before and after training.

    rows: number of rows with both scores. before, after: means over the rows. low, high: the 95 %
    interval of after minus before, from the differences per row. right_before, right_after: shares of
    rows with the highest score, None if that score is unknown.
    """

    reward: str
    mode: str
    rows: int
    before: float
    after: float
    low: float
    high: float
    right_before: float | None
    right_after: float | None


def read_changes(file: Path, highest: dict[str, float] | None = None) -> list[Change]:
    """Return the change of each reward function and mode, from a held_out.jsonl.

    highest: the score that counts as right, by reward function.
    """
    scores: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    with file.open(encoding="utf-8") as lines:
        for answer in map(json.loads, lines):
            for name, score in answer["rewards"].items():
                if score is not None:
                    moments = scores.setdefault((name, answer["mode"]), {"before": {}, "after": {}})
                    moments[answer["when"]][answer["row"]] = score
    return [
        _change(name, mode, moments["before"], moments["after"], (highest or {}).get(name))
        for (name, mode), moments in scores.items()
        if moments["before"].keys() & moments["after"].keys()
    ]


def _change(
    name: str,
    mode: str,
    before: dict[int, float],
    after: dict[int, float],
    highest: float | None,
) -> Change:
    rows = sorted(before.keys() & after.keys())
    earlier, later = [before[row] for row in rows], [after[row] for row in rows]
    differences = [b - a for a, b in zip(earlier, later, strict=True)]
    mean = fmean(differences)
    margin = 1.96 * stdev(differences) / sqrt(len(rows)) if len(rows) > 1 else float("inf")
    return Change(
        reward=name,
        mode=mode,
        rows=len(rows),
        before=fmean(earlier),
        after=fmean(later),
        low=mean - margin,
        high=mean + margin,
        right_before=None if highest is None else fmean(each >= highest for each in earlier),
        right_after=None if highest is None else fmean(each >= highest for each in later),
    )
