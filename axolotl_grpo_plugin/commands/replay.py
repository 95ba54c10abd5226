"""`axolotl grpo score --against`: how other rewards or weights would have changed a run's advantages."""

from collections import Counter
from collections.abc import Sequence
from statistics import StatisticsError, correlation, fmean, stdev
from typing import Any, NamedTuple

import click
from rich import box
from rich.table import Table
from rich.text import Text

from axolotl_grpo_plugin.commands.rewards import both_ends, console, in_one_line
from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.runlog.reader import group_of
from axolotl_grpo_plugin.runlog.schema import REASON, REWARD

LOG = "log"  # the weighted sum that the run trained on
EXAMPLES = 8  # kinds of flips to show
_EPSILON = 1e-4  # TRL adds it to the standard deviation of a group

Row = dict[str, Any]


class Scores(NamedTuple):
    """A score and a reason for each completion. A score is None if no reward scored it."""

    values: list[float | None]
    reasons: list[str]


class Change(NamedTuple):
    """The result of new scores in the place of old ones.

    gained, lost: completions that are paid only now, or only before. correlation: of the advantages,
    None if one side has none. signs: the share of completions whose advantage has the other sign.
    dead, woken: prompt groups that have equal scores only now, or only before, of `groups`.
    """

    label: str
    mean: float
    gained: int
    lost: int
    correlation: float | None
    signs: float
    dead: int
    woken: int
    groups: int


def logged_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of the reward functions in a rollout log."""
    columns = dict.fromkeys(name for row in rows for name in row)
    return [name.removeprefix(REWARD) for name in columns if name.startswith(REWARD)]


def logged(rows: Sequence[Row], name: str) -> Scores:
    """Return the scores of a reward function in the log, or for LOG their weighted sum."""
    column = "reward" if name == LOG else REWARD + name
    return Scores([row.get(column) for row in rows], [row.get(REASON + name) or "" for row in rows])


def weighted(scores: Sequence[Scores], text: str) -> Scores:
    """Return the weighted sum. text: "1,0.5", or "" for weights of 1. Raises: ClickException."""
    try:
        weights = [float(each) for each in text.split(",")] if text else [1.0] * len(scores)
    except ValueError:
        weights = []
    if len(weights) != len(scores):
        what = f"{len(scores)} numbers are needed, one per reward, with commas between them"
        raise click.ClickException(f"--weights {text}: {what}")
    values: list[float | None] = []
    for row in zip(*(each.values for each in scores), strict=True):
        known = [w * value for w, value in zip(weights, row, strict=True) if value is not None]
        values.append(sum(known) if known else None)
    reasons = zip(*(each.reasons for each in scores), strict=True)
    return Scores(values, [", ".join(filter(None, each)) for each in reasons])


def groups_of(rows: Sequence[Row]) -> list[list[int]]:
    """Return the numbers of the rows of each prompt group."""
    groups: dict[Any, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(group_of(row), []).append(number)
    return [*groups.values()]


def advantages(values: Sequence[float | None], groups: Sequence[list[int]]) -> list[float]:
    """Return the advantages as TRL's default computes them, 0 for a row without a score."""
    found = [0.0] * len(values)
    for group in groups:
        known = {place: value for place in group if (value := values[place]) is not None}
        if len(known) > 1:
            mean, spread = fmean(known.values()), stdev(known.values())
            for place, value in known.items():
                found[place] = (value - mean) / (spread + _EPSILON)
    return found


def change(label: str, old: Scores, new: Scores, groups: Sequence[list[int]]) -> Change:
    """Compare two scores of the same completions."""
    before, after = advantages(old.values, groups), advantages(new.values, groups)
    paid = [*zip(map(_is_paid, old.values), map(_is_paid, new.values), strict=True)]
    lives = [
        [any(abs(side[at]) > 1e-6 for at in each) for side in (before, after)] for each in groups
    ]
    try:
        related = correlation(before, after)
    except StatisticsError:  # all advantages of one side are 0
        related = None
    scored = [value for value in new.values if value is not None]
    return Change(
        label,
        fmean(scored) if scored else 0.0,
        paid.count((False, True)),
        paid.count((True, False)),
        related,
        sum(a * b < 0 for a, b in zip(before, after, strict=True)) / len(before),
        lives.count([True, False]),
        lives.count([False, True]),
        len(groups),
    )


def _is_paid(value: float | None) -> bool:
    return (value or 0.0) > 0


def show(against: str, changes: Sequence[Change]) -> None:
    """Print a line per change."""
    out, table = console(), Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    names = "scores,mean,now paid,no longer,correlation,other sign,groups die,wake"
    for name in names.split(","):
        table.add_column(name, justify="left" if name == "scores" else "right", overflow="fold")
    for each in changes:
        related = "none" if each.correlation is None else f"{each.correlation:.3f}"
        numbers = [f"{each.mean:.4g}", each.gained, each.lost, related, f"{each.signs:.1%}"]
        table.add_row(Text(each.label), *map(str, [*numbers, each.dead, each.woken]))
    out.print(Text(f"against {against}, {changes[0].groups:,} prompt groups", style="bold"))
    out.print(table)


def show_flips(old: Scores, new: Scores, completions: Sequence[Any]) -> None:
    """Print the kinds of flips, by old and new reason, each with one completion."""
    kinds: Counter[tuple[str, str, str]] = Counter()
    examples: dict[tuple[str, str, str], int] = {}
    for row, (before, after) in enumerate(zip(old.values, new.values, strict=True)):
        if _is_paid(before) != _is_paid(after):
            verb = "now paid" if _is_paid(after) else "no longer paid"
            kind = verb, old.reasons[row] or "no reason", new.reasons[row] or "no reason"
            kinds[kind] += 1
            examples.setdefault(kind, row)
    out = console()
    for kind, times in kinds.most_common(EXAMPLES):
        verb, reason, other = kind
        out.print(Text(f"{times:7,}  {verb}: {reason} -> {other}"))
        text = in_one_line(both_ends(text_of(completions[examples[kind]]), 20, 33))
        out.print(Text(f"         row {examples[kind]}: {text}"))
    if len(kinds) > EXAMPLES:
        out.print(f"         {len(kinds) - EXAMPLES} more kinds", highlight=False)
