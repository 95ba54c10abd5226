"""Merge the files of a rollout log, so that a run of 10,000 steps on 8 ranks leaves a few thousand files, not 80,000.

A merged file has the name of its first batch with the number of its last one: 001-000001-000-000000-000099.parquet. It
gets this name when it is on the disk, and then the files of its batches are removed. Until all are removed, a reader leaves
them out (attempts.py), so that a kill neither loses nor doubles a row. A reader that has listed them finds their rows in the
merged file, whose metadata has the number of rows of each batch.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from axolotl_grpo_plugin.output.files import sync, written
from axolotl_grpo_plugin.runlog.attempts import LogName, without_merged
from axolotl_grpo_plugin.runlog.reader import why_unreadable
from axolotl_grpo_plugin.runlog.schema import BATCHES

MODES = ("train", "eval")
_ROW_GROUP = 32 << 20  # bytes in memory


def merge(folder: Path, rank: int) -> None:
    """Merge the batches that a rank has written, and remove the files that a killed merge has left.

    Args:
        folder: The folder of the rollout log.
        rank: The rank of this process. No other process writes files with its number.

    Raises:
        OSError: The disk is full.
    """
    for mode in MODES:
        names = {}
        for file in (folder / mode).glob("*.parquet"):
            name = LogName.of(file)
            if name and name.rank == rank:
                names[file] = name
        left = without_merged(names)
        _remove(names.keys() - left.keys())
        single = [file for file, name in left.items() if not name.is_merged]
        single.sort(key=lambda file: (names[file].attempt, names[file].first))
        for _, files in groupby(single, key=lambda file: names[file].attempt):
            for neighbors in _readable(files):
                if len(neighbors) > 1:
                    _write(neighbors, names)
                    _remove(neighbors)


def _remove(files: Iterable[Path]) -> None:
    """Remove files that a merged file has replaced."""
    for folder in {file.parent for file in files}:
        sync(folder)  # the name of the merged file
    for file in files:
        file.unlink()


def _readable(files: Iterable[Path]) -> Iterator[list[Path]]:
    """Yield neighbors that can be read. A file that cannot be read stays, and its batch is in no merged file."""
    for is_unreadable, neighbors in groupby(files, key=lambda file: bool(why_unreadable(file))):
        if not is_unreadable:
            yield list(neighbors)


def _write(files: Sequence[Path], names: dict[Path, LogName]) -> None:
    """Write one file with the rows of several. A column that a file lacks is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first, last = names[files[0]], names[files[-1]].first
    step = min(names[file].step for file in files)
    name = f"{first.attempt:03d}-{step:06d}-{first.rank:03d}-{first.first:06d}-{last:06d}.parquet"
    schemas = [pq.read_schema(file) for file in files]
    counts = {names[file].first: pq.read_metadata(file).num_rows for file in files}
    metadata = {**(schemas[-1].metadata or {}), BATCHES: json.dumps(counts)}
    schema = pa.unify_schemas(schemas).with_metadata(metadata)
    waiting = [schema.empty_table()]
    with (
        written(files[0].with_name(name)) as part,
        pq.ParquetWriter(part, schema, write_page_checksum=True) as writer,
    ):
        for file in files:
            waiting.append(pq.read_table(file))
            if file is files[-1] or sum(table.nbytes for table in waiting) > _ROW_GROUP:
                rows = pa.concat_tables(waiting, promote_options="default")
                writer.write_table(rows.replace_schema_metadata(schema.metadata))
                waiting = [schema.empty_table()]
