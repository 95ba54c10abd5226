"""Check that the rewards can score the rows: `rewards.dispatch` has a route, a gold answer can be read."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from axolotl_grpo_plugin.findings import Finding, Level, at
from axolotl_grpo_plugin.load import is_model, load_reward, not_ready, reward_refs
from axolotl_grpo_plugin.reward import BaseReward
from axolotl_grpo_plugin.stats.measure import each_of
from axolotl_grpo_plugin.stats.rows import Row, Source, Transform, Unreadable, read
from axolotl_grpo_plugin.stats.tokenizer import LazyTokenizer

SHOWN = 5  # rows of a dataset that are named, at most


def check_sources(cfg: Any, source: Source) -> Iterator[Finding]:
    """Check the first row of each value of the columns that decide it.

    source: a dataset whose first rows can be read. `check_prompts` reports faults of later rows.
    """
    functions = [load_reward(each) for each in reward_refs(cfg) if not is_model(each.key)]
    routing = [each for each in functions if each.spec.unroutable]
    checked = [each for each in functions if each.spec.row_problem]
    if not routing and not checked:
        return
    transform = Transform(source, cfg, LazyTokenizer(cfg))
    sources: list[_First] = [{} for _ in routing]
    golds: list[_First] = [{} for _ in checked]
    for number, row in _rows(source, cfg, transform):
        for function, first in zip(routing, sources, strict=True):
            _keep(first, [function.spec.group_by], number, row)
        for function, first in zip(checked, golds, strict=True):
            _keep(first, function.spec.row_columns or function.spec.reads, number, row)
    where = at(cfg, source.name)
    for function, first in zip(routing, sources, strict=True):
        yield from _check_routes(where, function, first)
    for function, first in zip(checked, golds, strict=True):
        yield from _check_golds(where, function, first)


_First = dict[tuple[str, ...], tuple[int, Row]]  # the first row of each value, with its number


def _keep(first: _First, columns: Sequence[str], number: int, row: Row) -> None:
    if row.get(columns[0]) is not None:
        first.setdefault(tuple(str(row.get(name)) for name in columns), (number, row))


def _check_routes(where: str, function: BaseReward, first: _First) -> Iterator[Finding]:
    assert function.spec.unroutable
    for number, row in first.values():
        if reason := function.spec.unroutable(row):
            what, _, fix = reason.partition(". ")
            waits = filter(None, map(not_ready, function.spec.inner))
            # The run's machine may have the sandbox or the server that this one lacks.
            level: Level = "skipped" if any(map(reason.endswith, waits)) else "error"
            yield Finding(
                f"{where}, row {number}", f"{function.__name__}: {what}", fix, level=level
            )


def _check_golds(where: str, function: BaseReward, first: _First) -> Iterator[Finding]:
    columns, shown = function.spec.row_columns or function.spec.reads, 0
    for number, row in first.values():
        own = {name: row[name] for name in columns if row.get(name) is not None}
        problem = function.spec.row_problem(**own) if function.spec.row_problem else ""
        if problem and shown < SHOWN:
            shown += 1
            what = f"{function.__name__} scores no completion of this row, because {problem}"
            fix = "Correct the gold answer, or remove the row"
            yield Finding(f"{where}, row {number}", what, fix, level="warning")


def _rows(source: Source, cfg: Any, transform: Transform) -> Iterator[tuple[int, Row]]:
    """Yield the transformed rows, each with the number of its original row."""
    with suppress(Unreadable):
        for batch in read(source, cfg, lambda *_: None, lambda *_: None):
            made = each_of(transform, batch, lambda *_: None)
            for (number, _), rows in zip(batch, made, strict=True):
                yield from ((number, row) for row in rows or [])
