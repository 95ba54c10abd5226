"""`axolotl-grpo reward score`: score the completions of a file with rewards, without a training."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from statistics import fmean

import click

from axolotl_grpo_plugin.commands.reward_list import full_path
from axolotl_grpo_plugin.completions import Names, Texts, text_of
from axolotl_grpo_plugin.data.exact import kept, loads, plain
from axolotl_grpo_plugin.findings import first_line, stop
from axolotl_grpo_plugin.report.console import console, in_one_line, print_json, table, told_if_slow
from axolotl_grpo_plugin.reward import Row, Rows
from axolotl_grpo_plugin.runlog.attempts import RolloutFiles, rollout_files
from axolotl_grpo_plugin.runlog.reader import with_chats
from axolotl_grpo_plugin.scoring.guard import is_failed
from axolotl_grpo_plugin.scoring.worker import Outcomes
from axolotl_grpo_plugin.trying.rescore import BATCH_SECONDS, named_rewards, rescored

SHOWN = 20  # rows of the table
SLOW = 10.0  # seconds until a line says that it still scores


def run(
    file: str, *, rewards: Names, arguments: Names, column: str, limit: int | None, as_json: bool
) -> int:
    """Score the rows and print the scores. Return the exit code: 1 if a reward failed, else 0."""
    references = named_rewards(list(map(full_path, rewards)), arguments)
    rows = kept(list(islice(_read(file), limit)))
    texts = _texts(file, rows, column)
    limit_of_batch = f"a batch may take {BATCH_SECONDS:g} s for each reward"
    with told_if_slow(f"still scoring {len(rows):,} completions ({limit_of_batch})", SLOW):
        scored = rescored(references, rows, column)
    if as_json:
        print_json([_plain(*pair, texts) for pair in scored.items()])
    else:
        for key, outcomes in scored.items():
            _show(key, outcomes, texts)
    return int(any(map(is_failed, chain.from_iterable(scored.values()))))


def _texts(file: str, rows: Rows, column: str) -> Texts:
    """Return the completions as text. Raises: FindingError if a row has none."""
    if not rows:
        stop("no-rows", file, "no rows", "Check the program that wrote it")
    columns = dict.fromkeys(chain.from_iterable(rows))
    if column not in columns:
        stop(
            "unknown-column",
            file,
            f"no column {column!r} (it has: {', '.join(columns) or 'none'})",
            "Name the column of the completions with --column",
        )
    texts = []
    for number, row in enumerate(rows):
        try:
            texts.append(text_of(row[column]))
        except (KeyError, TypeError) as error:
            stop(
                "no-completion",
                f"{file}, row {number}, column {column!r}",
                f"no completion: {first_line(error)}",
                "Correct the row",
            )
    return texts


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


def _read(file: str) -> Iterator[Row]:
    """Yield the rows of JSON lines ("-": standard input), of a Parquet file, or of a run's folder."""
    path = Path(file)
    if file == "-":
        yield from _lines(sys.stdin, "standard input")
    elif path.is_dir() or path.suffix == ".parquet":
        import pyarrow as pa

        files = counted_files(file)
        for parquet in files.counted:
            try:
                for batch in files.batches(parquet):
                    yield from map(with_chats, plain(batch).to_pylist())
            except (pa.ArrowException, OSError) as error:
                stop(
                    "broken",
                    str(parquet),
                    f"not Parquet: {first_line(error)}",
                    "Remove it, or write it again",
                )
    else:
        with path.open(encoding="utf-8-sig") as lines:
            yield from _lines(lines, file)


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


def _summary(key: str, outcomes: Outcomes) -> Row:
    """Return the summary of one reward.

    mean: of the scores, None if there are none. reasons: the share of the completions that has
    each reason, the most frequent first.
    """
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    counted = Counter(outcome.status for outcome in outcomes if outcome.status)
    count = len(outcomes)
    return {
        "reward": key,
        "mean": fmean(values) if values else None,
        "without_score": count - len(values),
        "reasons": {reason: times / count for reason, times in counted.most_common()},
    }


def _plain(key: str, outcomes: Outcomes, texts: Names) -> Row:
    """Return the summary and the scores as `--json` prints them."""
    scores = [
        {
            "row": row,
            "score": outcome.value,
            "reason": outcome.status,
            "read": outcome.read,
            "completion": texts[row],
            "error": outcome.error,
        }
        for row, outcome in enumerate(outcomes)
    ]
    return {**_summary(key, outcomes), "scores": scores}


def _show(key: str, outcomes: Outcomes, texts: Names) -> None:
    """Print the table of the first rows, the share of each reason, and the first error."""
    rows = table(
        "row", "score", "reason", "read, else completion", right=("row", "score"), no_wrap=True
    )
    for row, outcome in enumerate(outcomes[:SHOWN]):
        value = "none" if outcome.value is None else f"{outcome.value:g}"
        last = outcome.error.strip().rpartition("\n")[2]
        rows.add_row(
            str(row), value, outcome.status, in_one_line(last or outcome.read or texts[row])
        )
    summary = _summary(key, outcomes)
    line = f"{len(outcomes):,} completions, {summary['without_score']:,} without a score"
    if summary["mean"] is not None:
        line += f", mean {summary['mean']:.4g}"
    out = console()
    out.print(key, style="bold")
    out.print(rows)
    out.print(f"{line}. --json prints all rows.")
    for reason, share in summary["reasons"].items():
        out.print(f"  {share:6.1%}  {reason}")
    error = next((outcome.error for outcome in outcomes if outcome.error), "")
    if error:
        click.echo(f"\nThe first error:\n{error.rstrip()}", err=True)
