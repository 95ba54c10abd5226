"""Check that a reward that routes rows by a column (`rewards.dispatch`) has a route for each."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from axolotl_grpo_plugin.checks import Finding, Level
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.load import build, is_model, made_of, named, not_ready
from axolotl_grpo_plugin.stats.measure import each_of
from axolotl_grpo_plugin.stats.rows import Row, Source, Transform, Unreadable, read
from axolotl_grpo_plugin.stats.tokenizer import LazyTokenizer


def check_sources(cfg: Any, source: Source) -> Iterator[Finding]:
    """Check that the first row of each value in that column can be scored.

    source: a dataset whose first rows can be read. `check_prompts` reports faults of later rows.
    """
    functions = [build(each) for each in named(cfg) if not is_model(each.key)]
    routing: list[Any] = [each for each in functions if hasattr(each, "refuses")]
    if not routing:
        return
    transform = Transform(source, cfg, LazyTokenizer(cfg))
    first: list[dict[str, tuple[int, Row]]] = [{} for _ in routing]
    for number, row in _rows(source, cfg, transform):
        for function, found in zip(routing, first, strict=True):
            value = row.get(function.series)
            if value is not None:
                found.setdefault(str(value), (number, row))
    for function, found in zip(routing, first, strict=True):
        for number, row in found.values():
            if reason := function.refuses(row):
                what, _, fix = reason.partition(". ")
                where = f"{at(cfg, source.name)}, row {number}"
                waits = filter(None, map(not_ready, made_of(function)))
                # The run's machine may have what is missing here.
                level: Level = "skipped" if any(map(reason.endswith, waits)) else "error"
                yield Finding(where, f"{function.__name__}: {what}", fix, level=level)


def _rows(source: Source, cfg: Any, transform: Transform) -> Iterator[tuple[int, Row]]:
    """Yield the transformed rows, each with the number of its original row."""
    with suppress(Unreadable):
        for batch in read(source, cfg, lambda *_: None, lambda *_: None):
            made = each_of(transform, batch, lambda *_: None)
            for (number, _), rows in zip(batch, made, strict=True):
                yield from ((number, row) for row in rows or [])
