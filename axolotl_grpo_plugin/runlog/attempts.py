"""Which rows of a rollout log count, if a run was resumed or began anew in the same folder, and if files were merged.

The name of a file tells its attempt, its first step and its batches. A folder counts as the run that its last attempt
continues: of an attempt, only the steps before the first step of every later attempt count.
"""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from axolotl_grpo_plugin.runlog.reader import Row, rewards_in, why_unreadable
from axolotl_grpo_plugin.runlog.rewards import LoggedReward, Ranges
from axolotl_grpo_plugin.runlog.schema import BATCHES

if TYPE_CHECKING:
    import pyarrow as pa

# Below a run's output_dir.
_FOLDERS = ("train", "rollouts/train", "completions", ".")
_NAME = re.compile(r"(\d+)-(\d+)-(\d+)-(\d+)(?:-(\d+))?\.parquet")
_BATCH = 1000  # rows
_TRIES = 3


class LogName(NamedTuple):
    """The facts that the name of a file tells.

    Attributes:
        attempt: Of the run.
        step: The first step in the file.
        rank: The rank that wrote it.
        first: The number of the first batch.
        last: The number of the last batch. A file with several batches was merged (merging.py).
    """

    attempt: int = 0
    step: int = 0
    rank: int = 0
    first: int = 0
    last: int = 0

    @classmethod
    def of(cls, file: Path) -> Self | None:
        """Return the facts in the name of a file. None for a name that this package does not give."""
        match = _NAME.fullmatch(file.name)
        if not match:
            return None
        attempt, step, rank, first, last = match.groups()
        return cls(int(attempt), int(step), int(rank), int(first), int(last or first))

    @property
    def is_merged(self) -> bool:
        """Whether the file has several batches."""
        return self.last > self.first

    def covers(self, other: "LogName") -> bool:
        """Return whether this merged file has the batch of another file, which is not merged."""
        if not self.is_merged or other.is_merged:
            return False
        is_of_same_rank = (self.attempt, self.rank) == (other.attempt, other.rank)
        return is_of_same_rank and self.first <= other.first <= self.last


class RolloutFiles(NamedTuple):
    """The Parquet files of a run's training rollouts.

    Attributes:
        counted: The files with rows that count.
        left_out: The files whose steps a later attempt repeated.
        unreadable: Why each other file cannot be read, for example after a power cut.
        ends: Of a merged file, the step from which on a later attempt repeated its steps.
    """

    counted: list[Path]
    left_out: list[Path]
    unreadable: dict[Path, str]
    ends: dict[Path, int]

    def rows(self, columns: list[str] | None = None) -> Iterator[Row]:
        """Yield the rows that count, with chats as JSON.

        Args:
            columns: The columns to read if a file has them. None is all.
        """
        for file in self.counted:
            for batch in self.batches(file, columns):
                yield from batch.to_pylist()

    def batches(self, file: Path, columns: list[str] | None = None) -> Iterator["pa.RecordBatch"]:
        """Yield Arrow's batches with the rows of a file that count.

        Args:
            file: One of the files that count.
            columns: The columns to read if the file has them. None is all.

        Raises:
            pyarrow.ArrowException: The file is not Parquet.
            OSError: The file cannot be read.
        """
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        end = self.ends.get(file)
        if end is not None and columns is not None:
            columns = [*columns, "step"]
        try:
            opened = pq.ParquetFile(file)
        except FileNotFoundError:  # a live run has merged it
            merged = _merged_file(file)
            rows = pq.ParquetFile(merged.file).read(columns=columns)
            yield from rows[merged.start : merged.stop].to_batches(_BATCH)
            return
        for batch in opened.iter_batches(_BATCH, columns=columns):
            yield batch if end is None else batch.filter(pc.less(batch["step"], end))

    def rewards(self, known: Ranges | None = None) -> list[LoggedReward]:
        """Return the reward functions of the last file, because a resumed run may add ranges that an old log lacks.

        Args:
            known: The ranges for an old log, which declares none.
        """
        file = self.counted[-1]
        try:
            return rewards_in(file, known)
        except FileNotFoundError:  # a live run has merged it
            return rewards_in(_merged_file(file).file, known)

    def note(self) -> str:
        """Return sentences on the rollouts that are left out, "" if there are none."""
        sentences = [
            f"{file} is left out, because it cannot be read: {why}."
            for file, why in self.unreadable.items()
        ]
        rows = sum(map(_rows_from, self.left_out))
        rows += sum(_rows_from(file, end) for file, end in self.ends.items())
        if rows:
            sentences.append(
                f"{rows:,} rollouts of earlier attempts are left out, "
                "because a later attempt repeated their steps."
            )
        return " ".join(sentences)


class MergedBatch(NamedTuple):
    """The rows of a batch in a merged file: rows[start:stop]."""

    file: Path
    start: int
    stop: int


def batches_in(file: Path) -> dict[int, MergedBatch]:
    """Return the batches of a merged file by their numbers."""
    import pyarrow.parquet as pq

    found = {}
    start = 0
    for number, rows in json.loads(pq.read_schema(file).metadata[BATCHES.encode()]).items():
        found[int(number)] = MergedBatch(file, start, start + rows)
        start += rows
    return found


def _merged_file(file: Path) -> MergedBatch:
    """Return the place of the rows of a file that a live run has merged. Raises: FileNotFoundError without one."""
    name = LogName.of(file)
    for other in file.parent.glob("*.parquet"):
        merged = LogName.of(other)
        if name and merged and merged.covers(name):
            return batches_in(other)[name.first]
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))


@lru_cache(maxsize=100_000)  # `view --serve` asks again and again
def _rows_from(file: Path, step: int = 0) -> int:
    """Return the number of rows of a file from a step on."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not step:
        return int(pq.read_metadata(file).num_rows)
    steps = pq.read_table(file, columns=["step"])["step"]
    return int(pc.sum(pc.greater_equal(steps, step)).as_py() or 0)


def rollout_files(path: Path) -> RolloutFiles:
    """Return the files of a run.

    Args:
        path: The output_dir of the run, a folder within it, or one Parquet file, which counts in any case.
    """
    if path.is_file():
        return RolloutFiles([path], [], {}, {})
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # a live run has merged files after we listed them
            return _files_of(path)
    return _files_of(path)


def _files_of(folder: Path) -> RolloutFiles:
    files = RolloutFiles([], [], {}, {})
    # TRL's files count as one attempt and one step.
    names = {file: LogName.of(file) or LogName() for file in _files_in(folder)}
    names = without_merged(names)
    starts: dict[int, int] = {}  # the first step of each attempt
    for name in names.values():
        starts.setdefault(name.attempt, name.step)
    for file, name in names.items():
        later = [start for attempt, start in starts.items() if attempt > name.attempt]
        end = min(later, default=None)
        if why := why_unreadable(file):
            files.unreadable[file] = why
        elif end is not None and end <= name.step:
            files.left_out.append(file)
        else:
            files.counted.append(file)
            if end is not None and name.is_merged:
                files.ends[file] = end
    return files


def without_merged(names: dict[Path, LogName]) -> dict[Path, LogName]:
    """Return the files without those whose batch is in a merged file, too. A merge was killed."""
    merged = [name for file, name in names.items() if name.is_merged and not why_unreadable(file)]
    return {
        file: name
        for file, name in names.items()
        if not any(other.covers(name) for other in merged)
    }


def _files_in(folder: Path) -> list[Path]:
    for name in _FOLDERS:
        files = sorted((folder / name).glob("*.parquet"))
        if files:
            return files
    return []


def next_attempt(folder: Path) -> int:
    """Return the number of the attempt that starts now in a log's folder."""
    names = map(LogName.of, folder.glob("*/*.parquet"))
    return max((name.attempt for name in names if name), default=0) + 1
