"""Check that the rewards can score all rows: a gold answer can be read, and a column has one type."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from operator import attrgetter

from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import Row
from axolotl_grpo_plugin.findings import Finding, Findings, Level, fault, warning
from axolotl_grpo_plugin.load import not_ready
from axolotl_grpo_plugin.reward import BaseReward

MAX_VALUES = 20_000  # different gold answers that are read before a training
# JSON and Arrow have one type of number.
KINDS = {"str": "text", "int": "a number", "float": "a number"}


@dataclass
class EqualRows:
    """Rows with the same values in some columns. row: the first of them. place: ", the first is row N", or ""."""

    row: Row
    place: str
    count: int = 0


@dataclass
class RowCheck(ABC):
    """The transformed rows that a reward must be able to score, by their values in some columns.

    total: the rows with these columns.
    """

    function: BaseReward
    columns: Sequence[str]
    total: int = 0
    rows: dict[tuple[str, ...], EqualRows] = field(default_factory=dict)

    def add(self, number: int | None, row: Row) -> None:
        """Add a row. number: in its file, None if the file's order is not known."""
        first = self.columns[0]
        if first in row:
            self.total += 1
        if row.get(first) is None:
            return
        values = tuple(str(row.get(name)) for name in self.columns)
        place = f", the first is row {number}" if number is not None else ""
        self.rows.setdefault(values, EqualRows(row, place)).count += 1

    @abstractmethod
    def findings(self, where: str) -> Findings:
        """Check all rows that were added. where: the dataset's place."""


def row_checks(cfg: Config, mixed: bool = True) -> list[RowCheck]:
    """Return the checks of a config's rewards. Give them all rows by `add`, then ask for `findings`.

    mixed: whether a column may have several types.
    """
    checks: list[RowCheck] = []
    for _, _, function in functions_in(cfg):
        spec = function.spec
        if mixed:
            checks.append(_Types(function, spec.reads))
        if spec.unroutable:
            checks.append(_Routes(function, [spec.group_by]))
        if spec.row_problem:
            checks.append(_Golds(function, spec.row_columns or spec.reads))
    return checks


class _Types(RowCheck):
    """A column has one type in all rows, because rewards are tried on the first rows only."""

    def add(self, number: int | None, row: Row) -> None:
        for name in self.columns:
            kind = type(row.get(name)).__name__
            if (name, kind) in self.rows:
                continue
            place = f"row {number}"
            if number is None:
                place = f"the row whose prompt is {str(row['prompt'])[-60:]!r}"
            self.rows[name, kind] = EqualRows(row, place)

    def findings(self, where: str) -> Findings:
        first: dict[str, str] = {}
        for (name, kind), rows in self.rows.items():
            kind = KINDS.get(kind, kind)
            if kind != "NoneType" and kind != first.setdefault(name, kind):
                yield warning(
                    "mixed-types",
                    where,
                    f"the column {name!r} is {first[name]} in the first rows, and {rows.row[name]!r:.40} in {rows.place}",
                    "Give it one type in all rows, for example text, in the file or in the transform",
                )


class _Routes(RowCheck):
    """A routing reward can score a row of each value in its column."""

    def findings(self, where: str) -> Findings:
        spec, name = self.function.spec, self.function.__name__
        if self.total and not self.rows:
            yield fault(
                "empty-column",
                where,
                f"{name} cannot score any row, because every {spec.group_by} is empty",
                "Let the transform write that column",
            )
        most_first = sorted(self.rows.values(), key=attrgetter("count"), reverse=True)
        for rows in most_first:
            reason = spec.unroutable and spec.unroutable(rows.row)
            if not reason:
                continue
            level: Level = "error"
            # The run's machine may have the sandbox or the server that this one lacks.
            for lack in filter(None, map(not_ready, spec.inner)):
                if reason.endswith(lack):
                    level = "skipped"
            yield Finding(
                where,
                f"{name}, in {rows.count:,} of {self.total:,} rows{rows.place}: {reason}",
                "",
                level=level,
                code="no-route",
            )


class _Golds(RowCheck):
    """The reward can read the gold answer of each row."""

    def findings(self, where: str) -> Findings:
        unreadable = []
        for rows in islice(self.rows.values(), MAX_VALUES):
            if problem := self._problem(rows.row):
                unreadable.append((problem, rows))
        if not unreadable:
            return
        problem, first = unreadable[0]
        count = sum(rows.count for _, rows in unreadable)
        yield Finding(
            where,
            f"{self.function.__name__} cannot score {count:,} of {self.total:,} rows{first.place}, "
            f"for example because {problem}",
            "Remove these rows, or correct their gold answers",
            level="error" if count == self.total else "warning",
            code="unreadable-gold",
        )

    def _problem(self, row: Row) -> str | None:
        spec = self.function.spec
        own = {name: row[name] for name in self.columns if row.get(name) is not None}
        if spec.row_problem is None or not own.keys() >= {*spec.reads}:
            return None
        return spec.row_problem(**own)
