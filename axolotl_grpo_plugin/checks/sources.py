"""Check that the rewards can score the rows: `rewards.dispatch` has a route, a gold answer can be read."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.findings import Finding, Level, at
from axolotl_grpo_plugin.load import not_ready
from axolotl_grpo_plugin.reward import BaseReward
from axolotl_grpo_plugin.stats.measure import each_of
from axolotl_grpo_plugin.stats.rows import Row, Source, Transform, Unreadable, read
from axolotl_grpo_plugin.stats.tokenizer import LazyTokenizer

SHOWN = 5  # rows of a dataset that are named, at most

Firsts = dict[tuple[str, ...], tuple[int, Row]]  # the first row of each value, with its number
Check = Callable[[str, Any, Firsts], Iterator[Finding]]


def check_sources(cfg: Any, source: Source) -> Iterator[Finding]:
    """Check the first row of each value of the columns that a reward routes by or takes its gold from.

    source: a dataset whose first rows can be read. `check_prompts` reports faults of later rows.
    """
    checks: list[tuple[Check, BaseReward, Sequence[str], Firsts]] = []
    for _, _, function in functions_in(cfg):
        spec = function.spec
        if spec.unroutable:
            checks.append((_check_routes, function, [spec.group_by], {}))
        if spec.row_problem:
            checks.append((_check_golds, function, spec.row_columns or spec.reads, {}))
    for number, row in _rows(source, cfg) if checks else ():
        for _, _, columns, firsts in checks:
            if row.get(columns[0]) is not None:
                firsts.setdefault(tuple(str(row.get(name)) for name in columns), (number, row))
    for check, function, _, firsts in checks:
        yield from check(at(cfg, source.name), function, firsts)


def _check_routes(where: str, function: Any, firsts: Firsts) -> Iterator[Finding]:
    for number, row in firsts.values():
        if reason := function.spec.unroutable(row):
            what, _, fix = reason.partition(". ")
            waits = filter(None, map(not_ready, function.spec.inner))
            # The run's machine may have the sandbox or the server that this one lacks.
            level: Level = "skipped" if any(map(reason.endswith, waits)) else "error"
            place = f"{where}, row {number}"
            yield Finding(place, f"{function.__name__}: {what}", fix, level=level)


def _check_golds(where: str, function: Any, firsts: Firsts) -> Iterator[Finding]:
    columns, shown = function.spec.row_columns or function.spec.reads, 0
    for number, row in firsts.values():
        own = {name: row[name] for name in columns if row.get(name) is not None}
        problem = function.spec.row_problem(**own)
        if problem and shown < SHOWN:
            shown += 1
            what = f"{function.__name__} cannot score this row, because {problem}"
            fix = "Correct the gold answer, or remove the row"
            yield Finding(f"{where}, row {number}", what, fix, level="warning")


def _rows(source: Source, cfg: Any) -> Iterator[tuple[int, Row]]:
    """Yield the transformed rows, each with the number of its original row."""
    transform = Transform(source, cfg, LazyTokenizer(cfg))
    with suppress(Unreadable):
        for batch in read(source, cfg, lambda *_: None, lambda *_: None):
            transformed = each_of(transform, batch, lambda *_: None)
            for (number, _), rows in zip(batch, transformed, strict=True):
                yield from ((number, row) for row in rows or [])
