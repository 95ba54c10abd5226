"""Compare the model's answers to held-out rows before and after training."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from axolotl_grpo_plugin.evaluation import statistics
from axolotl_grpo_plugin.runlog.rewards import LoggedReward, rewards_of

FILE = "held_out.jsonl"
RANGES = "reward_ranges"  # of an answer: by reward function, in the order of the run


class Change(NamedTuple):
    """One reward function on the held-out rows, before and after training.

    rows: number of rows with both scores. before, after: means over the rows. low, high: the 95 %
    interval of after minus before, paired by row. right_before, right_after: shares of
    rows with the declared maximum, and right_low, right_high: the interval of right_after. None if no
    maximum is declared.
    """

    reward: str
    mode: str
    rows: int
    before: float
    after: float
    low: float
    high: float
    right_before: float | None = None
    right_after: float | None = None
    right_low: float | None = None
    right_high: float | None = None


def rewards_of_answers(answers: Iterable[dict[str, Any]]) -> list[LoggedReward]:
    """Return the reward functions of held-out answers, with their ranges if an answer has them."""
    ranges: dict[str, Any] = {}
    for answer in answers:
        ranges = {**dict.fromkeys(answer["rewards"]), **ranges, **answer.get(RANGES, {})}
    return rewards_of(ranges)


def means(answers: list[dict[str, Any]]) -> dict[str, float]:
    """Return the metrics of held-out answers: mean and share of right answers per reward and mode."""
    scores: dict[str, list[float]] = {}
    for reward in rewards_of_answers(answers):
        for answer in answers:
            score = answer["rewards"][reward.name]
            place = f"held_out/{answer['mode']}/{reward.name}"
            for what, value in (("mean", score), ("right", reward.right(score))):
                if value is not None:
                    scores.setdefault(f"{place}/{what}", []).append(value)
    return {name: fmean(values) for name, values in scores.items()}


def read_answers(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the answers of a held_out.jsonl, without a line that a killed run left half written."""
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            with suppress(json.JSONDecodeError):
                yield json.loads(line)


def read_changes(file: Path) -> list[Change]:
    """Return the change of each reward function and mode, from a held_out.jsonl."""
    answers = [*read_answers(file)]
    rewards = {reward.name: reward for reward in rewards_of_answers(answers)}
    scores: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for answer in answers:
        for name, score in answer["rewards"].items():
            if score is not None:
                both = scores.setdefault((name, answer["mode"]), {"before": {}, "after": {}})
                both.setdefault(answer["when"], {})[answer["row"]] = score
    changes = []
    for (name, mode), both in scores.items():
        rows = sorted(both["before"].keys() & both["after"].keys())
        if rows:
            before, after = ([both[when][row] for row in rows] for when in ("before", "after"))
            changes.append(_change(rewards[name], mode, before, after))
    return changes


def _change(reward: LoggedReward, mode: str, before: list[float], after: list[float]) -> Change:
    """Return the change of a reward function's scores. Equal places are equal rows."""
    pair = np.array([before]).T, np.array([after]).T
    # Without a declared range, only the scores that were seen are known to be possible.
    _, low, high = statistics.difference(*pair, *(reward.range or [*before, *after]))
    means = fmean(before), fmean(after)
    rights: tuple[float, ...] = ()
    if reward.range:
        first, last = (
            np.array([[*map(reward.right, scores)]], float).T for scores in (before, after)
        )
        rights = float(first.mean()), *statistics.share(last)
    return Change(reward.name, mode, len(before), *means, low, high, *rights)
