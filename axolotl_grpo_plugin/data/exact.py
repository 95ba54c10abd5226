"""Keep each value of a file as it is written.

Arrow guesses types: it reads a long whole number as a rounded float, and a text such as "2024-01-02" as a moment.
Python's readers of JSON and CSV keep the digits. A column becomes text if Arrow has no type that holds its values.
Training reads datasets through `kept_by_axolotl`, and the commands read the same values.
"""

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.runlog.schema import columns_of
from axolotl_grpo_plugin.transforms.rows import GOLD_COLUMNS, DatasetError, Row

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 1 << 24  # bytes
_EXACT = 2**53  # a float holds all whole numbers up to this one
_LARGEST = 2**63  # Arrow's integers are smaller
# A long number, an exponent of three digits, a date. Only files with one of them are read by Python.
_SUSPECT = re.compile(rb'[0-9.]{16}|[eE]\+?[0-9]{3}|"[0-9]{4}-[0-9]{2}-[0-9]{2}')
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T].*)?")
_JSON = (".json", ".jsonl")

Columns = dict[str, list[Any]]
KeyPath = tuple[str, ...]  # the keys that lead to a value in a row


class Digits(str):
    """A number that neither Arrow's integer nor its float holds, as it is written."""


def is_changed(path: str) -> bool:
    """Return whether Arrow would change a value of a JSON file."""
    if not any(map(_SUSPECT.search, blocks(path))):
        return False
    rows = _json_rows(Path(path).read_bytes())
    return rows is not None and (_has_moment(rows) or bool(unkept(rows)))


def blocks(path: str) -> Iterator[bytes]:
    """Yield the lines of a file in blocks of several megabytes, so that the memory does not grow with the file."""
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            yield block + file.readline()


def loads(text: str | bytes) -> Any:
    """Read JSON. A number that Arrow cannot hold becomes `Digits`."""
    return json.loads(text, parse_int=_whole, parse_float=_decimal)


def kept(rows: list[Row]) -> list[Row]:
    """Return rows that `loads` has read. A column with a value that Arrow cannot hold becomes text."""
    names = unkept(rows)
    return [with_text(row, names) for row in rows] if names else rows


def with_text(row: Row, names: Collection[str]) -> Row:
    """Return a row with the values of these columns as text."""
    return {name: _text(value) if name in names else value for name, value in row.items()}


def _json_rows(lines: bytes) -> list[Row] | None:
    """Return the objects of a JSON array or of JSON lines, None if the file has another form."""
    try:
        text = lines.decode("utf-8-sig")
        if text.lstrip().startswith("["):
            rows = loads(text)
        else:
            # JSON texts may hold the other ends of lines that `splitlines` knows, such as U+2028.
            rows = [loads(line) for line in text.split("\n") if line.strip()]
    except ValueError:  # `rows.read` names the line
        return None
    return rows if all(isinstance(row, dict) for row in rows) else None


def _whole(text: str) -> object:
    if len(text) <= 20 and -_LARGEST <= int(text) < _LARGEST:
        return int(text)
    return Digits(text)


def _decimal(text: str) -> object:
    value = float(text)
    if len(text) < 16 and math.isfinite(value):  # a float holds 15 digits
        return value
    exact = Decimal(text)
    return value if exact in (Decimal(repr(value)), Decimal(value)) else Digits(text)


def _leaves(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    """Yield each value that is no list and no object. The items of a list have the same path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, path)
    else:
        yield path, value


def _has_moment(rows: list[Row]) -> bool:
    for _, value in _leaves(rows, ()):
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return True
    return False


def unkept(rows: Iterable[Row]) -> set[str]:
    """Return the columns with a value that Arrow cannot hold."""
    names = set()
    long: set[KeyPath] = set()
    floats: set[KeyPath] = set()
    for path, value in chain.from_iterable(_leaves(row, ()) for row in rows):
        if isinstance(value, Digits):
            names.add(path[0])
        elif isinstance(value, float):
            floats.add(path)
        elif isinstance(value, int) and abs(value) > _EXACT:
            long.add(path)
    # Beside a float, Arrow makes floats of whole numbers.
    return names | {path[0] for path in long & floats}


def _text(value: object) -> object:
    """Return a value as `runlog.schema.as_text` does, with numbers as they are written."""
    if isinstance(value, Digits):
        return str(value)
    if value is None or isinstance(value, str):
        return value
    return _dumped(value)


def _dumped(value: object) -> str:
    if isinstance(value, Digits):
        return str(value)
    if isinstance(value, dict):
        items = [
            f"{json.dumps(key, ensure_ascii=False)}: {_dumped(item)}" for key, item in value.items()
        ]
        return f"{{{', '.join(items)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_dumped, value))}]"
    return json.dumps(value, ensure_ascii=False)


def csv_frame(path: str) -> Any:
    """Return the pandas frame of a CSV file. A column keeps its type only if its text can be written again.

    Raises: ValueError if the file is not CSV in UTF-8.
    """
    import pandas as pd

    frame = pd.read_csv(path, low_memory=False)
    written = pd.read_csv(path, dtype="str")
    for name, texts in written.items():
        if frame[name].dtype == texts.dtype:
            continue
        present = texts.notna()
        # Numbers that are too long for pandas are Python's, in a column of objects.
        if (
            frame[name].dtype == object
            or (frame[name][present].astype("str") != texts[present]).any()
        ):
            frame[name] = texts
    return frame


def plain(table: "pa.Table") -> "pa.Table":
    """Return a table whose decimals, times and dates are text, and whose short floats have their own digits."""
    import pyarrow as pa

    for index, field in enumerate(table.schema):
        change = _change_of(field.type)
        if change:
            values = [
                None if value is None else change(value) for value in table[field.name].to_pylist()
            ]
            column = pa.array(values, plain_type(field.type))
            table = table.set_column(index, pa.field(field.name, column.type), column)
    return table


def _change_of(kind: "pa.DataType") -> Callable[[Any], Any] | None:
    """Return the function that makes a plain value of a value of an Arrow type, None if it is plain."""
    import numpy as np
    from pyarrow import types

    if types.is_decimal(kind):
        return lambda value: format(value, "f")
    if types.is_temporal(kind) and not types.is_duration(kind):
        return _as_moment
    if types.is_float32(kind) or types.is_float16(kind):
        short = np.float32 if types.is_float32(kind) else np.float16
        return lambda value: float(str(short(value)))
    if types.is_dictionary(kind):
        return _change_of(kind.value_type)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        change = _change_of(kind.value_type)
        return change and (lambda values: [_changed(change, value) for value in values])
    if types.is_struct(kind):
        changes = {field.name: _change_of(field.type) for field in kind.fields}
        if any(changes.values()):
            return lambda values: {
                name: _changed(changes[name], value) for name, value in values.items()
            }
    return None


def _changed(change: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if change is None or value is None else change(value)


def plain_type(kind: "pa.DataType") -> "pa.DataType":
    """Return the Arrow type of the values that `plain` makes."""
    import pyarrow as pa
    from pyarrow import types

    if _change_of(kind) is None:
        return kind
    if types.is_floating(kind):
        return pa.float64()
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain_type(field.type)) for field in kind.fields])
    if types.is_nested(kind):
        return pa.list_(plain_type(kind.value_type))
    return pa.string()


def _as_moment(value: date | time) -> str:
    """Return a date, a time or both as ISO text, without a time of 0 and without seconds of 0."""
    if isinstance(value, datetime):
        value = value.replace(microsecond=value.microsecond)  # pandas' class has nanoseconds
        if value.tzinfo is None and value.time() == time():
            return value.date().isoformat()
    if not isinstance(value, datetime | time):
        return value.isoformat()
    precision = "auto" if value.second or value.microsecond else "minutes"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec=precision)
    return value.isoformat(timespec=precision)


@contextmanager
def kept_by_axolotl() -> Iterator[None]:
    """Within, Axolotl's loader keeps the values of files as they are written."""
    from axolotl.utils.data import shared

    load, from_disk = shared.load_dataset, shared.load_from_disk

    def load_kept(kind: str, *arguments: Any, **options: Any) -> Any:
        path = options.get("data_files")
        if isinstance(path, str) and Path(path).is_file() and not options.get("streaming"):
            dataset = _read_by_python(kind, path)
            if dataset is not None:
                return _part_of(dataset, options.get("split"))
        return _with_plain_columns(load(kind, *arguments, **options), str(path or kind))

    with (
        patch.object(shared, "load_dataset", load_kept),
        patch.object(
            shared, "load_from_disk", lambda path: _with_plain_columns(from_disk(path), path)
        ),
    ):
        yield


def _read_by_python(kind: str, path: str) -> Any:
    """Return the dataset of a file of which the loader of datasets would change a value, else None."""
    from datasets import Dataset

    if kind == "json" and path.endswith(_JSON):
        lines = Path(path).read_bytes()
        # datasets rounds the floats of an array.
        rows = _json_rows(lines) if lines.lstrip().startswith(b"[") or is_changed(path) else None
        if rows:
            return Dataset.from_dict(columns_of(kept(rows)), on_mixed_types="use_json")
    if kind == "csv":
        return Dataset.from_pandas(csv_frame(path), preserve_index=False)
    return None


def _part_of(dataset: Any, split: str | None) -> Any:
    """Return the rows of a split such as "train[:100]", as datasets reads it."""
    from datasets import DatasetDict, ReadInstruction, concatenate_datasets

    if not split:
        return DatasetDict({"train": dataset})
    parts = []
    for part in ReadInstruction.from_spec(split).to_absolute({"train": len(dataset)}):
        parts.append(
            dataset.select(range(part.from_ or 0, len(dataset) if part.to is None else part.to))
        )
    return concatenate_datasets(parts)


def _with_plain_columns(dataset: Any, path: str) -> Any:
    """Return a loaded dataset with plain columns.

    Raises: DatasetError if a number of a gold column was rounded.
    """
    from datasets import Dataset, DatasetDict, Features

    if isinstance(dataset, DatasetDict):
        return DatasetDict(
            {name: _with_plain_columns(part, path) for name, part in dataset.items()}
        )
    if not isinstance(dataset, Dataset):  # a stream
        return dataset
    if dataset.info.builder_name == "json" and not Path(path).is_file():
        _check_rounded(dataset, path)
    schema = dataset.features.arrow_schema
    changed = [field for field in schema if _change_of(field.type)]
    if not changed:
        return dataset
    import pyarrow as pa

    fields = pa.schema([pa.field(field.name, plain_type(field.type)) for field in changed])
    features = Features({**dataset.features, **Features.from_arrow_schema(fields)})
    arrow = dataset.with_format("arrow")
    return arrow.map(plain, batched=True, features=features, desc="Plain columns").with_format(None)


def _check_rounded(dataset: Any, path: str) -> None:
    """Raise DatasetError at the first gold answer that the JSON reader of datasets may have rounded.

    Only a single local file is read by Python, and not the files of a folder or of the hub.
    """
    for name, feature in dataset.features.items():
        if name.lower() not in GOLD_COLUMNS or getattr(feature, "dtype", "") != "float64":
            continue
        for number, value in enumerate(dataset[name]):
            if value is not None and math.isfinite(value) and abs(value) > _EXACT:
                where = f'{path}, row {number}, column "{name}"'
                what = f"a long number, which the reader of JSON may have rounded: {value!r}"
                fix = "Write it as text, in quotes, or name the file itself as path"
                raise DatasetError(Finding(where, what, fix, code="rounded"))
