"""Pass rates: how often a model is right on each row of a dataset."""

import random
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from axolotl_grpo_plugin.evaluation.answers import ScoredAnswer
from axolotl_grpo_plugin.findings import Finding, stop_on
from axolotl_grpo_plugin.generation.rows import Question
from axolotl_grpo_plugin.runlog.reader import read, score_of
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import as_text

# Reasoning360's bands, each with the pass rate below which it ends.
_BANDS = [("very hard", 0.2), ("hard", 0.4), ("medium", 0.6), ("easy", 0.8), ("very easy", 1.0)]
BANDS = ("impossible", *(name for name, _ in _BANDS), "perfect")

Place = tuple[str, int]  # a row's dataset and number
Row = dict[str, Any]


class Rate(NamedTuple):
    """A row's pass rate, from 0 to 1. n: scored answers. mean_tokens: tokens per answer."""

    pass_rate: float
    n: int
    mean_tokens: float

    @property
    def band(self) -> str:
        return band_of(self.pass_rate)


def band_of(rate: float) -> str:
    """Return the band of a pass rate.

    >>> [band_of(rate) for rate in (0, 0.1, 0.2, 0.5, 0.8, 1)]
    ['impossible', 'very hard', 'hard', 'medium', 'very easy', 'perfect']
    """
    if rate == 0:
        return BANDS[0]
    return next((name for name, end in _BANDS if rate < end), BANDS[-1])


def rates_of(answers: Iterable[ScoredAnswer], reward: LoggedReward) -> dict[Place, Rate]:
    """Return the pass rate of each row. Answers without a score do not count."""
    scored = [((each.dataset, each.row), each.scores[reward.name], each.tokens) for each in answers]
    return _rates(scored, reward)


def rates_in(
    files: Sequence[Path], rows: Sequence[Question], reward: LoggedReward
) -> dict[Place, Rate]:
    """Return the pass rates in a run's rollout log. Rows are found by their prompt.

    Raises: ConfigError if TRL wrote the files.
    """
    places = {as_text(row.prompt): (row.dataset, row.row) for row in rows}
    scored = []
    for file in files:
        for row in read(file):
            if "completion_tokens" not in row:
                what = "TRL's completions have neither the dataset's prompts nor token counts"
                stop_on([Finding(str(file), what, "Name a run with `grpo_rollouts: true`")])
            if place := places.get(as_text(row["prompt"])):
                scored.append((place, score_of(row, reward.name), row["completion_tokens"]))
    return _rates(scored, reward)


def _rates(
    scored: Iterable[tuple[Place, float | None, int]], reward: LoggedReward
) -> dict[Place, Rate]:
    by_row: dict[Place, list[tuple[bool, int]]] = {}
    for place, score, tokens in scored:
        right = reward.right(score)
        if right is not None:
            by_row.setdefault(place, []).append((right, tokens))
    return {
        place: Rate(fmean(right for right, _ in each), len(each), fmean(n for _, n in each))
        for place, each in by_row.items()
    }


def endings(models: Sequence[str]) -> list[str]:
    """Return the ending of each model's columns: "" for the first, the others' names, made unique."""
    names = [Path(model).name for model in models[1:]]
    ends = [
        name if names.count(name) == 1 else f"{place}_{name}" for place, name in enumerate(names, 2)
    ]
    return ["", *(f"_{end}" for end in ends)]


def annotated(rows: Iterable[Question], rates: dict[str, dict[Place, Rate]]) -> list[Row]:
    """Return the datasets' own rows that have a rate from each model, with the columns of the rates.

    rates: by model. The first model's columns are `pass_rate`, `n`, `mean_tokens` and `band`. Those
    of the others end in the model's name: `pass_rate_NAME`. All rows have the same columns.
    """
    kept = [row for row in rows if all((row.dataset, row.row) in known for known in rates.values())]
    names = dict.fromkeys(name for row in kept for name in row.raw)
    found = []
    for row in kept:
        columns = {name: row.raw.get(name) for name in names}
        for end, known in zip(endings([*rates]), rates.values(), strict=True):
            rate = known[row.dataset, row.row]
            for name, value in {**rate._asdict(), "band": rate.band}.items():
                columns[name + end] = value
        found.append(columns)
    return found


def subset(rows: Sequence[Row], number: int, by: Sequence[str], seed: int) -> list[Row]:
    """Return `number` rows, drawn so that each stratum keeps its share, in the rows' order.

    by: columns whose values are the strata. "length" is the third of `mean_tokens` that a row is in.
    """
    lengths = sorted(row["mean_tokens"] for row in rows)
    thirds = [lengths[len(lengths) * part // 3] for part in (1, 2)]

    def stratum(row: Row) -> str:
        values = [
            sum(row["mean_tokens"] >= third for third in thirds) if name == "length" else row[name]
            for name in by
        ]
        return repr(values)

    draw = random.Random(seed)
    shuffled = draw.sample(range(len(rows)), len(rows))
    ordered = sorted(shuffled, key=lambda place: stratum(rows[place]))  # a stable sort
    ranked = []
    for _, members in groupby(ordered, key=lambda place: stratum(rows[place])):
        group, start = list(members), draw.random()
        ranked += [((start + count) / len(group), place) for count, place in enumerate(group)]
    return [rows[place] for place in sorted(place for _, place in sorted(ranked)[:number])]
