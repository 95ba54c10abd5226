"""`axolotl-grpo reward score`: score the completions of a file with rewards, without a training."""

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from statistics import fmean

import click

from axolotl_grpo_plugin.commands.reward_list import full_path
from axolotl_grpo_plugin.completions import Names, text_of
from axolotl_grpo_plugin.data.exact import loads, plain, unkept, with_text
from axolotl_grpo_plugin.findings import first_line, stop
from axolotl_grpo_plugin.report.console import console, in_one_line, print_json, table, told_if_slow
from axolotl_grpo_plugin.reward import Row
from axolotl_grpo_plugin.runlog.attempts import RolloutFiles, rollout_files
from axolotl_grpo_plugin.runlog.reader import with_chats
from axolotl_grpo_plugin.scoring.guard import is_failed
from axolotl_grpo_plugin.scoring.worker import Outcome
from axolotl_grpo_plugin.trying.rescore import BATCH_SECONDS, named_rewards, rescored

SHOWN = 20  # rows of the table
SLOW = 10.0  # seconds until a line says that it still scores


class ScoredFile:
    """The rows of a file, which are read again for each reward, so that they need not fit the memory.

    Attributes:
        columns: The columns of all rows.
    """

    def __init__(self, file: str, column: str, limit: int | None):
        """Read all rows once, and check that each has a completion.

        Args:
            file: JSON lines ("-": standard input), a Parquet file, or a run's folder.
            column: The column of the completions.
            limit: The most rows, None for all.

        Raises:
            FindingError: The file has no rows, or a row has no completion.
        """
        self._file = file
        self._limit = limit
        self._log: RolloutFiles | None = None
        self._lines: list[str] = []
        if file == "-":
            self._lines = sys.stdin.readlines()
        elif Path(file).is_dir() or file.endswith(".parquet"):
            self._log = counted_files(file)
        self._as_text: set[str] = set()
        self.columns: dict[str, None] = {}
        self._as_text = unkept(self._checked(column))

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows. A column with a value that Arrow cannot hold is text."""
        for row in islice(self._read(), self._limit):
            yield with_text(row, self._as_text) if self._as_text else row

    def _read(self) -> Iterator[Row]:
        if self._log:
            yield from _logged(self._log)
        elif self._file == "-":
            yield from _lines(self._lines, "standard input")
        else:
            with open(self._file, encoding="utf-8-sig") as lines:
                yield from _lines(lines, self._file)

    def _checked(self, column: str) -> Iterator[Row]:
        """Yield the rows, and collect their columns."""
        wrong: tuple[int, Exception] | None = None
        for number, row in enumerate(self):
            self.columns |= dict.fromkeys(row)
            if not wrong:
                try:
                    text_of(row[column])
                except (KeyError, TypeError) as error:
                    wrong = number, error
            yield row
        if not self.columns:
            stop("no-rows", self._file, "no rows", "Check the program that wrote it")
        if column not in self.columns:
            stop(
                "unknown-column",
                self._file,
                f"no column {column!r} (it has: {', '.join(self.columns) or 'none'})",
                "Name the column of the completions with --column",
            )
        if wrong:
            number, reason = wrong
            stop(
                "no-completion",
                f"{self._file}, row {number}, column {column!r}",
                f"no completion: {first_line(reason)}",
                "Correct the row",
            )


class Scores:
    """The scores of one reward: their summary, and the rows that are printed.

    Attributes:
        key: The reward.
        rows: The first rows, or all for --json.
        failed: Whether the scoring of a completion failed.
        error: The first error, "" without one.
    """

    def __init__(self, key: str):
        self.key = key
        self.rows: list[Row] = []
        self.failed = False
        self.error = ""
        self.count = 0
        self._values = array("d")
        self._reasons: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Count a score."""
        self.count += 1
        if outcome.value is not None:
            self._values.append(outcome.value)
        if outcome.status:
            self._reasons[outcome.status] += 1
        self.failed = self.failed or is_failed(outcome)
        self.error = self.error or outcome.error

    def summary(self) -> Row:
        """Return the summary.

        mean: of the scores, None if there are none. reasons: the share of the completions that has
        each reason, the most frequent first.
        """
        reasons = self._reasons.most_common()
        return {
            "reward": self.key,
            "mean": fmean(self._values) if self._values else None,
            "without_score": self.count - len(self._values),
            "reasons": {reason: times / self.count for reason, times in reasons},
        }


def run(
    file: str, *, rewards: Names, arguments: Names, column: str, limit: int | None, as_json: bool
) -> int:
    """Score the rows and print the scores. Return the exit code: 1 if a reward failed, else 0."""
    references = named_rewards(list(map(full_path, rewards)), arguments)
    rows = ScoredFile(file, column, limit)
    results = []
    slow = f"still scoring (a batch may take {BATCH_SECONDS:g} s for each reward)"
    with (
        told_if_slow(slow, SLOW),
        closing(rescored(references, rows, rows.columns, column)) as rewards_and_scores,
    ):
        for key, scored in rewards_and_scores:
            scores = Scores(key)
            for row, outcome in scored:
                if as_json or scores.count < SHOWN:
                    scores.rows.append(_plain(scores.count, outcome, text_of(row[column])))
                scores.add(outcome)
            results.append(scores)
    if as_json:
        print_json([{**scores.summary(), "scores": scores.rows} for scores in results])
    else:
        for scores in results:
            _show(scores)
    return int(any(scores.failed for scores in results))


def counted_files(path: str) -> RolloutFiles:
    """Return the files that count of a run's rollouts, and say how many rollouts are left out.

    Raises: FindingError if there are none.
    """
    files = rollout_files(Path(path))
    if not files.counted:
        stop(
            "no-files",
            path,
            "no Parquet files there",
            files.note()
            or "Name the output_dir of a run without `grpo_rollouts: false`, or a file",
        )
    if note := files.note():
        click.echo(note, err=True)
    return files


def _logged(files: RolloutFiles) -> Iterator[Row]:
    """Yield the rows of Parquet files, with chats as lists."""
    import pyarrow as pa

    for file in files.counted:
        try:
            for batch in files.batches(file):
                yield from map(with_chats, plain(batch).to_pylist())
        except (pa.ArrowException, OSError) as error:
            stop(
                "broken",
                str(file),
                f"not Parquet: {first_line(error)}",
                "Remove it, or write it again",
            )


def _lines(lines: Iterable[str], where: str) -> Iterator[Row]:
    number = 0
    try:
        for line in lines:
            number += 1
            row = loads(line) if line.strip() else None
            if isinstance(row, dict):
                yield row
            elif row is not None:
                raise ValueError(f"no object: {line[:60]!r}")
    except ValueError as error:  # also of a file that is not UTF-8
        stop(
            "not-json",
            f"{where}, line {number}",
            f"not JSON: {error}",
            "Write one JSON object per line",
        )


def _plain(number: int, outcome: Outcome, text: str) -> Row:
    """Return a score as `--json` prints it."""
    return {
        "row": number,
        "score": outcome.value,
        "reason": outcome.status,
        "read": outcome.read,
        "completion": text,
        "error": outcome.error,
    }


def _show(scores: Scores) -> None:
    """Print the table of the first rows, the share of each reason, and the first error."""
    rows = table(
        "row", "score", "reason", "read, else completion", right=("row", "score"), no_wrap=True
    )
    for row in scores.rows:
        value = "none" if row["score"] is None else f"{row['score']:g}"
        last = row["error"].strip().rpartition("\n")[2]
        text = in_one_line(last or row["read"] or row["completion"])
        rows.add_row(str(row["row"]), value, row["reason"], text)
    summary = scores.summary()
    line = f"{scores.count:,} completions, {summary['without_score']:,} without a score"
    if summary["mean"] is not None:
        line += f", mean {summary['mean']:.4g}"
    out = console()
    out.print(scores.key, style="bold")
    out.print(rows)
    out.print(f"{line}. --json prints all rows.")
    for reason, share in summary["reasons"].items():
        out.print(f"  {share:6.1%}  {reason}")
    if scores.error:
        click.echo(f"\nThe first error:\n{scores.error.rstrip()}", err=True)
