"""What a run changed, read from the answers that it gave to held-out rows at both its ends."""

import json
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

FILE = "held_out.jsonl"


class Change(NamedTuple):
    """One reward on the held-out rows, before and after.

    before, after: means over the rows. right_before, right_after: shares of rows that scored the
    reward's highest value, None where it does not say what that is. low, high: the 95 % interval of
    after minus before, from the rows' differences. rows: how many rows have both scores.
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
    """Before and after of each reward and mode, from a held_out.jsonl.

    highest: for the rewards that say so, the score that means "right".
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
    shares = (
        (None, None)
        if highest is None
        else tuple(sum(score >= highest for score in each) / len(rows) for each in (earlier, later))
    )
    return Change(
        name, mode, len(rows), fmean(earlier), fmean(later), mean - margin, mean + margin, *shares
    )
