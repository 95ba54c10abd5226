"""Read a dataset's rows in batches, and apply its transform.

Arrow reads local JSONL and Parquet files, and streams the latter. Axolotl's own loader, which is slow to import,
reads all other datasets.
"""

import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from itertools import batched, chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data import hub
from axolotl_grpo_plugin.data.exact import (
    BLOCK,
    blocks,
    csv_frame,
    is_changed,
    kept_by_axolotl,
    plain,
)
from axolotl_grpo_plugin.data.inputs import check_file, check_format, check_transform, is_axolotls
from axolotl_grpo_plugin.findings import Finding, FindingError, error_line
from axolotl_grpo_plugin.load import load_transform
from axolotl_grpo_plugin.transforms.rows import Columns, DatasetError, rows_of, source_of
from axolotl_grpo_plugin.transforms.rows import Row as Row

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1000
# Keys of a dataset that is one local file. Axolotl's validation adds the last, which only chats use.
PLAIN = {"path", "type", "ds_type", "split", "name", "message_property_mappings"}
# The options of `datasets.Dataset.map` that `Transform` implements.
MAPPED = {"batched", "batch_size", "with_indices", "remove_columns", "fn_kwargs", "num_proc"}
# The types of columns whose values datasets would change: images, JSON text.
CHANGED = re.compile(rb'"_type": *"(?!Value|List|LargeList|Sequence|ClassLabel)')
SLICE = re.compile(r"train(?:\[(\d*):(\d*)\])?")  # `axolotl-grpo init` writes such splits
# Memory grows with the file without pre_buffer=False, and with its row groups without buffer_size.
STREAMED = {"pre_buffer": False, "buffer_size": 1 << 20}

Rows = list[Row]
Numbered = tuple[int, Row]  # a row with its number in the dataset


class Unreadable(FindingError):
    """The dataset cannot be read any further."""


class Source(NamedTuple):
    """One dataset of a config.

    key: `datasets` or `test_datasets`. path: as written in the YAML, before `pkg://` is resolved.
    """

    key: str
    number: int
    path: str
    entry: dict[str, Any]

    @property
    def label(self) -> str:
        return f"{self.key}[{self.number}]"

    @property
    def name(self) -> str:
        return f"{self.label} ({self.path})"

    @property
    def split(self) -> str:
        return str(self.entry.get("split") or "train")

    @property
    def transform(self) -> str:
        return str(self.entry.get("type") or "no transform")

    def at(self, cfg: Config, key: str) -> str:
        return cfg.at(f"{self.label}.{key}")


def sources(cfg: Config) -> list[Source]:
    """Return the datasets and test datasets of a raw config."""
    found = []
    for key, entries in (("datasets", cfg.datasets), ("test_datasets", cfg.test_datasets)):
        for number, entry in enumerate(entries):
            found.append(Source(key, number, str(entry.get("path")), entry))
    return found


def read(source: Source, cfg: Config) -> Iterator[list[Numbered]]:
    """Yield batches of numbered rows before their transform. All rows of a batch have the same columns.

    Raises: Unreadable.
    """
    entry = source.entry
    path = entry.get("path")
    where = source.at(cfg, "path")
    if not isinstance(path, str):
        raise Unreadable(Finding(where, f"not a path: {path!r}", "Name a file or a hub dataset"))
    for finding in check_format(entry, source.at(cfg, "ds_type")):
        raise Unreadable(finding)
    for finding in check_file(path, where, entry.get("ds_type")):
        raise Unreadable(finding._replace(detail=""))  # `check` shows the traceback
    where = f"{where} ({path})"
    part = SLICE.fullmatch(source.split)
    batches = _opened(path, entry, where) if part else None
    if part is None or batches is None:
        rows = _axolotls(entry, cfg, where)
        start = stop = None
    else:
        rows = _rows_in(batches, where)
        start, stop = part.groups()
    numbers = count()
    chosen = islice(zip(numbers, rows, strict=False), int(start or 0), int(stop) if stop else None)
    batch: Sequence[Numbered] = ()
    for batch in batched(chosen, BATCH):
        yield list(batch)
    if not batch and (start or stop):
        # The end of a range is read no further, so the file may have more rows.
        of = "" if stop else f", of {next(numbers) - 1:,} in the file"
        where = f"{source.at(cfg, 'split')} ({source.split})"
        raise Unreadable(Finding(where, f"no rows{of}", "Set another range"))
    if not batch:
        raise Unreadable(Finding(where, "no rows", "Check the program that wrote it"))


def _opened(path: str, entry: dict[str, Any], where: str) -> "Iterable[pa.RecordBatch] | None":
    """Return Arrow's batches of a local file that datasets would not change, else None."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    used = {key for key, value in entry.items() if value}
    if used - PLAIN or isinstance(entry.get("name"), list) or not os.path.isfile(path):
        return None
    kind = entry.get("ds_type") or ("parquet" if ".parquet" in path else "json")
    if path.endswith(".csv") and entry.get("ds_type") in (None, "csv"):
        return _csv(path)
    try:
        if kind == "parquet":
            file = ParquetFile(path, **STREAMED)
            features = (file.schema_arrow.metadata or {}).get(b"huggingface", b"")
            if CHANGED.search(features):
                return None
            return map(plain, file.iter_batches(BATCH))
        if kind != "json" or not path.endswith((".json", ".jsonl")) or is_changed(path):
            return None
        if streamed := _streamed(path):
            return streamed
        lines = Path(path).read_bytes()
        if lines.startswith(b"["):  # a line for each of its values, as datasets makes
            lines = "\n".join(map(json.dumps, json.loads(lines))).encode()
        table = _table(lines)
    except (pa.ArrowException, OSError, ValueError) as error:
        if kind == "parquet":
            raise Unreadable(Finding(where, f"not Parquet: {error}", "Fix the file")) from error
        _check_lines(path, where)
        return (
            None  # datasets may read it: columns of several types, or one object over several lines
        )
    batches: list[pa.RecordBatch] = table.to_batches(max_chunksize=BATCH)
    if "struct<" in str(table.schema) and not _has_equal_objects(lines, batches):
        return None
    return batches


def _table(lines: bytes, schema: "pa.Schema | None" = None) -> "pa.Table":
    """Return Arrow's table of JSON lines."""
    import pyarrow as pa
    from pyarrow.json import ParseOptions, ReadOptions, read_json

    # In smaller blocks, a row could be longer than a block.
    reading = ReadOptions(block_size=min(len(lines), 1 << 30))
    return read_json(pa.BufferReader(lines), reading, ParseOptions(explicit_schema=schema))


def _streamed(path: str) -> "Iterator[pa.RecordBatch] | None":
    """Return Arrow's batches of a large file of JSON lines, which is read twice, block by block.

    None for a small file, or if the types of the whole file do not follow from those of its blocks.
    """
    import pyarrow as pa

    if os.path.getsize(path) <= BLOCK:
        return None
    schema = pa.schema([])
    try:
        for lines in blocks(path):
            table = _table(lines)
            if not _agree(schema, table.schema):
                return None
            has_objects = "struct<" in str(table.schema)
            if has_objects and not _has_equal_objects(lines, table.to_batches()):
                return None
            schema = pa.unify_schemas([schema, table.schema], promote_options="permissive")
    except (pa.ArrowException, ValueError):  # an array, or objects over several lines
        return None
    tables = (_table(lines, schema) for lines in blocks(path))
    return chain.from_iterable(table.to_batches(max_chunksize=BATCH) for table in tables)


def _agree(one: "pa.Schema", two: "pa.Schema") -> bool:
    """Return whether Arrow would give the columns of two blocks the types of one of them, if it read both at once."""
    import pyarrow as pa

    for field in two:
        if field.name in one.names:
            kinds = {one.field(field.name).type, field.type} - {pa.null()}
            if len(kinds) > 1 and kinds != {pa.int64(), pa.float64()}:
                return False
    return True


def _csv(path: str) -> "list[pa.RecordBatch] | None":
    """Return the rows of a CSV file, None if it cannot be read."""
    import pyarrow as pa

    try:
        frame = csv_frame(path)
    except ValueError:  # datasets says why
        return None
    return [pa.RecordBatch.from_pandas(frame, preserve_index=False)]


def _has_equal_objects(lines: bytes, batches: "list[pa.RecordBatch]") -> bool:
    """Return whether Arrow has added no key to an object in a row. datasets adds none."""
    rows = chain.from_iterable(batch.to_pylist() for batch in batches)
    try:
        for line, row in zip(BytesIO(lines), rows, strict=False):
            if not json.loads(line).items() <= row.items():
                return False
    except (ValueError, TypeError):  # an object over several lines
        return False
    return True


def _check_lines(path: str, where: str) -> None:
    """Raise Unreadable at the first line that is no JSON object, if the file has one object per line."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for place, line in enumerate(file, 1):
            try:
                row = json.loads(line.rstrip() or "null")
            except json.JSONDecodeError as error:
                if place == 1 and "," in line and line.lstrip()[:1] not in ("{", "["):
                    raise Unreadable(
                        Finding(
                            where,
                            "line 1: not JSON. It looks like CSV",
                            "Set ds_type: csv, and name the file .csv",
                        )
                    ) from error
                # One JSON value over several lines, which datasets may read.
                if place == 1 or not line.strip():
                    return
                raise Unreadable(
                    Finding(
                        where,
                        f"line {place}, column {error.colno}: not JSON: {error.msg}",
                        "Correct the file",
                    )
                ) from error
            if not isinstance(row, dict | list | None):
                raise Unreadable(
                    Finding(
                        where,
                        f"line {place}: not an object: {row!r:.40}",
                        "Write each row as {column: value}",
                    )
                )


def _rows_in(batches: "Iterable[pa.RecordBatch]", where: str) -> Iterator[Row]:
    import pyarrow as pa

    number = 0
    try:
        for batch in batches:
            yield from batch.to_pylist()
            number += len(batch)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Unreadable(
            Finding(where, f"cannot be read after row {number}: {error}", "Fix the file")
        ) from error


def _axolotls(entry: dict[str, Any], cfg: Config, where: str) -> Iterator[Row]:
    from axolotl.utils.data.shared import datasets_with_name_generator, load_dataset_with_config
    from axolotl.utils.dict import DictDefault

    for named in datasets_with_name_generator([DictDefault(entry)]):
        try:
            with kept_by_axolotl():
                dataset = load_dataset_with_config(named, cfg.hf_use_auth_token)
            if isinstance(dataset, dict):
                dataset = dataset["train"]  # Axolotl's default split
        except DatasetError as error:
            raise Unreadable(*error.findings) from error
        except Exception as error:  # the hub's client, the network or the file's reader
            raise Unreadable(Finding(where, *_why_unloadable(entry["path"], error))) from error
        for batch in dataset.iter(BATCH):
            yield from rows_of(batch)


def _why_unloadable(path: str, error: Exception) -> tuple[str, str]:
    """Return why a dataset cannot be loaded, and the fix."""
    if hub.is_on_hub(path):
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            what = "not in the cache in this form, and HF_HUB_OFFLINE forbids a download"
            return what, "Unset HF_HUB_OFFLINE, or name a local file"
        if not hub.answers():
            what = "the Hugging Face hub cannot be reached"
            return what, "Check the network, or name a local file"
    # datasets says only that generating the dataset failed.
    what = f"cannot be loaded: {error_line(error.__cause__ or error)}"
    return what, "Check path, name, split and network"


class Transform:
    """A dataset's `type`, called as Axolotl and `datasets.Dataset.map` call it."""

    def __init__(self, source: Source, cfg: Config, tokenizer: object):
        """tokenizer: passed to a transform that takes one. Raises: Unreadable."""
        self._function: Callable[..., Any] = lambda row: row
        self._options: Row = {}
        self._names = source_of(cfg.raw, source.number), source.name
        if not source.entry.get("type"):
            return
        where = source.at(cfg, "type")
        function, self._options = _built(source, cfg, where)
        if not callable(function):
            raise Unreadable(
                Finding(
                    where,
                    f"the factory returned {function!r:.60}, not a function of one row",
                    "Return the function that makes the prompt",
                )
            )
        if unsupported := set(self._options) - MAPPED:
            raise Unreadable(
                Finding(
                    where,
                    f"it maps with {', '.join(sorted(unsupported))}, which stats does not support",
                    "Count it without the option",
                )
            )
        arguments = dict(self._options.get("fn_kwargs") or {})
        if "tokenizer" in inspect.signature(function).parameters:
            arguments["tokenizer"] = tokenizer
        self._function = partial(function, **arguments)

    def __call__(self, rows: Sequence[Numbered]) -> list[Rows]:
        """Return the transformed rows of each row: one, none or several."""
        if not self._options.get("batched"):
            return [[self._changed(row, number)] for number, row in rows]
        made = self._batch(rows)
        if len(rows) == 1:
            return [made]
        if len(made) == len(rows):
            return [[row] for row in made]
        # One row at a time, to know which row each result belongs to.
        return [self._batch([numbered]) for numbered in rows]

    def _batch(self, rows: Sequence[Numbered]) -> Rows:
        columns: Columns = {name: [] for name in rows[0][1]}
        for _, row in rows:
            for name, values in columns.items():
                values.append(row[name])
        return rows_of(self._changed(columns, [number for number, _ in rows]))

    def _changed(self, row: Row, number: int | list[int]) -> Row:
        """Return a row, or a batch's columns, after the function."""
        arguments: list[object] = [dict(row)]  # the function may change the row in place
        if self._options.get("with_indices"):
            arguments.append(number)
        try:
            result = self._function(*arguments)
        except DatasetError as error:  # it may name both datasets of this number
            finding = error.finding
            where = finding.where.replace(*self._names)
            raise DatasetError(finding._replace(where=where)) from error
        if result is None:
            result = row
        removed = self._options.get("remove_columns") or []
        if removed == "__all__":
            return dict(result)
        kept = {name: value for name, value in row.items() if name not in removed}
        return {**kept, **result}


def _built(source: Source, cfg: Config, where: str) -> tuple[Any, Row]:
    """Return the function of a dataset's `type`, and its options for `Dataset.map`. Raises: Unreadable."""
    from axolotl.utils.dict import DictDefault

    path = source.entry["type"]
    for finding in check_transform(path, where):
        raise Unreadable(finding._replace(detail=""))
    unlimited = DictDefault({**cfg.raw, "grpo_max_prompt_length": None})  # else it would drop rows
    try:
        result = factory(path)(unlimited, dataset_idx=source.number)
    except Exception as error:  # a user's transform
        raise Unreadable(
            Finding(
                where, f"the transform cannot be built: {error_line(error)}", "Fix the transform"
            )
        ) from error
    if result is None:
        raise Unreadable(Finding(where, "there is no such transform", "See the warning above"))
    return result if isinstance(result, tuple) else (result, {})


def factory(path: object) -> Callable[..., Any]:
    """Return the factory of a dataset's `type`, also if it is one of Axolotl's."""
    if isinstance(path, str) and not is_axolotls(path):
        return load_transform(path)
    from axolotl.prompt_strategies.dpo import load

    return partial(load, path if isinstance(path, str) else "user_defined.default")
