"""The rollout log of a run: its schema, its writer and its reader. Also reads TRL's completions.

FOLDER/train/ATTEMPT-STEP-RANK-NUMBER.parquet holds a batch of one rank, and FOLDER/eval those of
evaluations. Columns: attempt (1, and one more each time that a run starts in the folder), step (that
trains on it; for an evaluation, the last one before), rank, mode, prompt and completion (text, chats
as JSON), completion_tokens, truncated, `column/<name>` of the dataset (text, else JSON),
`reward/<name>`, `reason/<name>` and `error/<name>` of each reward function, reward (their weighted
sum), advantage.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COLUMN, REWARD, REASON, ERROR = "column/", "reward/", "reason/", "error/"  # before a name
_FOLDERS = ("train", "rollouts/train", "completions", ".")  # of a run's output_dir
_NAME = re.compile(r"(\d+)-\d+-\d+-\d+\.parquet")
_INTEGERS = {"attempt": "int32", "step": "int64", "rank": "int32", "completion_tokens": "int32"}


def files_of(folder: Path) -> list[Path]:
    """Return the Parquet files of a run's training rollouts, from its output_dir or a folder within it."""
    found = (sorted((folder / name).glob("*.parquet")) for name in _FOLDERS)
    return next(filter(None, found), [])


def attempt_of(file: Path) -> int | None:
    """Return the attempt of a file of the rollout log, None for TRL's files."""
    match = _NAME.fullmatch(file.name)
    return int(match[1]) if match else None


def next_attempt(folder: Path) -> int:
    """Return the number of the attempt that starts now. folder: that of the log."""
    return max((attempt_of(file) or 0 for file in folder.glob("*/*.parquet")), default=0) + 1


def write(folder: Path, number: int, columns: dict[str, list[Any]]) -> None:
    """Write a batch as one file, whole or not at all. number: of the batch, in this process.

    Raises: OSError if the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(values, _type(name)) for name, values in columns.items()})
    mode, step, rank, attempt = (columns[name][0] for name in ("mode", "step", "rank", "attempt"))
    file = folder / mode / f"{attempt:03d}-{step:06d}-{rank:03d}-{number:06d}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    pq.write_table(table, part)
    os.replace(part, file)


def _type(name: str) -> str:
    if name in _INTEGERS:
        return _INTEGERS[name]
    if name == "truncated":
        return "bool"
    return "double" if name in ("reward", "advantage") or name.startswith(REWARD) else "string"


def as_text(value: Any) -> str | None:
    """Return a value as the log holds it: text as it is, anything else as JSON."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


def read(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file: the dataset's columns by their own names too, and chats as chats.

    Raises: pyarrow.ArrowException or OSError if it is no Parquet.
    """
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(1000):
        for row in batch.to_pylist():
            own = {
                name.removeprefix(COLUMN): value
                for name, value in row.items()
                if name.startswith(COLUMN)
            }
            chats = {name: _chat(row[name]) for name in ("prompt", "completion") if name in row}
            yield {**row, **own, **chats}


def _chat(value: Any) -> Any:
    if isinstance(value, str) and value.startswith('[{"role": '):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
