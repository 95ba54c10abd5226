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
                    both = scores.setdefault((name, answer["mode"]), {"before": {}, "after": {}})
                    both[answer["when"]][answer["row"]] = score
    changes = []
    for (name, mode), both in scores.items():
        rows = sorted(both["before"].keys() & both["after"].keys())
        if not rows:
            continue
        before, after = ([both[when][row] for row in rows] for when in ("before", "after"))
        differences = [new - old for old, new in zip(before, after, strict=True)]
        mean = fmean(differences)
        margin = 1.96 * stdev(differences) / sqrt(len(rows)) if len(rows) > 1 else float("inf")
        right = (highest or {}).get(name)
        change = Change(
            reward=name,
            mode=mode,
            rows=len(rows),
            before=fmean(before),
            after=fmean(after),
            low=mean - margin,
            high=mean + margin,
            right_before=None if right is None else fmean(score >= right for score in before),
            right_after=None if right is None else fmean(score >= right for score in after),
        )
        changes.append(change)
    return changes
