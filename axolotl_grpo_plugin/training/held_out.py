"""Compare the model's answers to held-out rows before and after training."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from axolotl_grpo_plugin.evaluation import statistics

FILE = "held_out.jsonl"


class Change(NamedTuple):
    """One reward function on the held-out rows, before and after training.

    rows: number of rows with both scores. before, after: means over the rows. low, high: the 95 %
    interval of after minus before, paired by row. right_before, right_after: shares of
    rows with the highest score, and right_low, right_high: the interval of right_after. None if that
    score is unknown.
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
    right_low: float | None = None
    right_high: float | None = None


def means(answers: list[dict[str, Any]], highest: dict[str, float]) -> dict[str, float]:
    """Return the metrics of held-out answers: mean and share of right answers per reward and mode."""
    scores: dict[str, list[float]] = {}
    for answer in answers:
        for name, score in answer["rewards"].items():
            if score is not None:
                place = f"held_out/{answer['mode']}/{name}"
                scores.setdefault(f"{place}/mean", []).append(score)
                if name in highest:
                    scores.setdefault(f"{place}/right", []).append(score >= highest[name])
    return {name: fmean(values) for name, values in scores.items()}


def read_answers(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers of a held_out.jsonl, without a line that a killed run left half written."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def read_changes(file: Path, highest: dict[str, float] | None = None) -> list[Change]:
    """Return the change of each reward function and mode, from a held_out.jsonl.

    highest: the score that counts as right, by reward function.
    """
    scores: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for answer in read_answers(file):
        for name, score in answer["rewards"].items():
            if score is not None:
                both = scores.setdefault((name, answer["mode"]), {"before": {}, "after": {}})
                both.setdefault(answer["when"], {})[answer["row"]] = score
    changes = []
    for (name, mode), both in scores.items():
        rows = sorted(both["before"].keys() & both["after"].keys())
        if not rows:
            continue
        before, after = ([both[when][row] for row in rows] for when in ("before", "after"))
        _, low, high = statistics.difference(np.array([before]).T, np.array([after]).T)
        right = (highest or {}).get(name)
        good = None if right is None else np.array([[score >= right] for score in after], float)
        share = None if good is None else statistics.share(good)
        change = Change(
            reward=name,
            mode=mode,
            rows=len(rows),
            before=fmean(before),
            after=fmean(after),
            low=low,
            high=high,
            right_before=None if right is None else fmean(score >= right for score in before),
            right_after=share and share.mean,
            right_low=share and share.low,
            right_high=share and share.high,
        )
        changes.append(change)
    return changes
