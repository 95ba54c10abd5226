"""A reward that routes rows by a column (`rewards.dispatch`) knows what to do with each."""

from collections.abc import Iterator
from typing import Any

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.lengths.rows import Row, Source, Transform, read
from axolotl_grpo_plugin.lengths.tokenizer import Axolotls, Lazy, open_tokenizer
from axolotl_grpo_plugin.load import build, is_model, named


def check_sources(cfg: Any, source: Source) -> Iterator[Finding]:
    """Of each value of that column, the dataset's first row can be scored. source: one that can be read."""
    functions = [build(each) for each in named(cfg) if not is_model(each.key)]
    routing: list[Any] = [each for each in functions if hasattr(each, "refuses")]
    if not routing:
        return
    tokenizer = Lazy(lambda: Axolotls(cfg, open_tokenizer(cfg).folder).real)
    transform = Transform(source, cfg, tokenizer)
    first: list[dict[Any, tuple[int, Row]]] = [{} for _ in routing]
    for batch in read(source, cfg, lambda *_: None, lambda *_: None):
        for (number, _), made in zip(batch, transform(batch), strict=True):
            for row in made:
                for function, found in zip(routing, first, strict=True):
                    found.setdefault(row.get(function.series), (number, row))
    for function, found in zip(routing, first, strict=True):
        for value, (number, row) in found.items():
            reason = "" if value is None else function.refuses(row)
            if reason:
                what, _, mend = reason.partition(". ")
                where = f"{at(cfg, source.name)}, row {number}"
                yield Finding(where, f"{function.__name__}: {what}", mend)
