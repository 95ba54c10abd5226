"""Read a dataset's rows in batches, and apply its transform.

Local JSONL and Parquet files are streamed here. Axolotl's own loader, which is slow to import,
reads all other datasets.
"""

import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from io import TextIOWrapper
from itertools import batched, islice
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin import hub
from axolotl_grpo_plugin.config import dicts
from axolotl_grpo_plugin.findings import FindingError, at, first_line
from axolotl_grpo_plugin.inputs import check_file, check_transform, is_axolotls
from axolotl_grpo_plugin.load import load_transform

BATCH = 1000
# Keys of a dataset that is one local file. Axolotl's validation adds the last, which only chats use.
PLAIN = {"path", "type", "ds_type", "split", "name", "message_property_mappings"}
# The options of `datasets.Dataset.map` that `Transform` implements.
MAPPED = {"batched", "batch_size", "with_indices", "remove_columns", "fn_kwargs", "num_proc"}
SLICE = re.compile(r"train(?:\[(\d*):(\d*)\])?")  # `axolotl grpo init` writes such splits
DATE = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.]+(Z|[+-][\d:]+)?)?$")
# Memory grows with the file without pre_buffer=False, and with its row groups without buffer_size.
STREAMED: Any = {"pre_buffer": False, "buffer_size": 1 << 20}

Row = dict[str, Any]
Progress = Callable[[int, int], None]  # gets the amount read, and the total
Fail = Callable[[int, str], None]  # gets a row's number, and its fault


class Unreadable(FindingError):
    """The dataset cannot be read any further."""


class Source(NamedTuple):
    """One dataset of a config.

    key: `datasets` or `test_datasets`. path: as written in the YAML, before `pkg://` is resolved.
    """

    key: str
    number: int
    path: str
    entry: Any

    @property
    def label(self) -> str:
        return f"{self.key}[{self.number}]"

    @property
    def name(self) -> str:
        return f"{self.label} ({self.path})"

    def at(self, cfg: Any, key: str) -> str:
        return at(cfg, f"{self.label}.{key}")


def sources(cfg: Any) -> list[Source]:
    """Return the datasets and test datasets of a raw config."""
    return [
        Source(key, number, str(entry.get("path")), entry)
        for key in ("datasets", "test_datasets")
        for number, entry in enumerate(dicts(cfg.get(key)))
    ]


def read(
    source: Source, cfg: Any, progress: Progress, fail: Fail
) -> Iterator[list[tuple[int, Row]]]:
    """Yield batches of numbered rows before their transform. All rows of a batch have the same columns.

    Raises: Unreadable.
    """
    entry = source.entry
    path = entry.get("path")
    if not isinstance(path, str):
        raise Unreadable(
            source.at(cfg, "path"), f"not a path: {path!r}", "Name a file or a hub dataset"
        )
    for finding in check_file(path, source.at(cfg, "path")):
        raise Unreadable(*finding[:3])
    where = f"{source.at(cfg, 'path')} ({path})"
    part = SLICE.fullmatch(entry.get("split") or "train")
    plain = (
        {key for key, value in entry.items() if value} <= PLAIN
        and part
        and not isinstance(entry.get("name"), list)
        and os.path.isfile(path)
    )
    kind = entry.get("ds_type") or ("parquet" if ".parquet" in path else "json")
    rows: Iterable[tuple[int, Row]] | None = None
    columns: Row = {}
    if plain and kind == "parquet" and _is_as_read(path):
        rows = _parquet(Path(path), where, progress)
    elif plain and kind == "json" and path.endswith((".json", ".jsonl")):
        bad: list[int] = []
        lines = _json_lines(Path(path), where, lambda *_: None, lambda row, _: bad.append(row))
        names = _columns(lines)
        if names is not None and 0 not in bad:  # else the file may be one list of objects
            columns = names
            rows = _json_lines(Path(path), where, progress, fail)
    if rows and part:
        rows = islice(rows, *(int(end) if end else None for end in part.groups()))
    else:
        rows = _axolotls(entry, cfg, where, progress)
    batch: Sequence[tuple[int, Row]] = ()
    for batch in batched(rows, BATCH):
        yield [(number, {**columns, **row}) for number, row in batch]
    if not batch:
        raise Unreadable(where, "no rows", "Check the program that wrote it")


def _columns(rows: Iterable[tuple[int, Row]]) -> Row | None:
    """Return the columns of all rows, each with the value None that datasets gives to rows without it.

    Return None if datasets would change values: integers beside floats, or columns of dates.
    It reads the whole file, because a transform may read a column that only the last row has.
    """
    types: dict[str, set[type]] = {}
    dates: dict[str, bool] = {}
    for _, row in rows:
        for name, value in row.items():
            types.setdefault(name, set()).add(type(value))
            if isinstance(value, str) and dates.get(name, True):
                dates[name] = bool(DATE.match(value))
            elif isinstance(value, int) and abs(value) >= 1 << 63:
                return None
    if any(dates.values()) or any({int, float} <= kinds for kinds in types.values()):
        return None
    return dict.fromkeys(types)


def _json_lines(
    path: Path, where: str, progress: Progress, fail: Fail
) -> Iterator[tuple[int, Row]]:
    size, number = path.stat().st_size, 0
    with path.open("rb") as file:
        text = TextIOWrapper(file, encoding="utf-8-sig")
        try:
            lines = ((place, line) for place, line in enumerate(text, 1) if line.strip())
            for number, (place, line) in enumerate(lines):
                if number % BATCH == 0:
                    progress(file.tell(), size)
                try:
                    row = json.loads(line)
                except json.JSONDecodeError as error:
                    fail(number, f"line {place}, column {error.colno}: not JSON: {error.msg}")
                    continue
                if isinstance(row, dict):
                    yield number, row
                else:
                    fail(number, f"not a JSON object: {str(row)[:60]!r}")
        except UnicodeDecodeError as error:
            what = f"not UTF-8 after row {number}: {error}"
            raise Unreadable(where, what, "Fix the file") from error


def _is_as_read(path: str) -> bool:
    """Return whether datasets would leave a Parquet file's values unchanged: no images, no JSON text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        features = (pq.read_schema(path).metadata or {}).get(b"huggingface", b"")
    except (pa.ArrowException, OSError):
        return True  # `_parquet` reports the error
    return not re.search(rb'"_type": *"(?!Value|List|LargeList|Sequence|ClassLabel)', features)


def _parquet(path: Path, where: str, progress: Progress) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(path, **STREAMED)
        for batch in file.iter_batches(BATCH):
            progress(number, file.metadata.num_rows)
            for row in batch.to_pylist():
                yield number, row
                number += 1
    except (pa.ArrowException, OSError) as error:
        what = f"not Parquet after row {number}: {error}"
        raise Unreadable(where, what, "Fix the file") from error


def _axolotls(entry: Any, cfg: Any, where: str, progress: Progress) -> Iterator[tuple[int, Row]]:
    from axolotl.utils.data.shared import datasets_with_name_generator, load_dataset_with_config
    from axolotl.utils.dict import DictDefault

    number = 0
    for each in datasets_with_name_generator([DictDefault(entry)]):
        try:
            loaded: Any = load_dataset_with_config(each, cfg.get("hf_use_auth_token"))
            # Axolotl's default split.
            dataset = loaded["train"] if isinstance(loaded, dict) else loaded
        except Exception as error:  # the hub's client, the network or the file's reader
            raise Unreadable(where, *_why_unloadable(entry["path"], error)) from error
        for batch in dataset.iter(BATCH):
            progress(number, len(dataset))
            for values in zip(*batch.values(), strict=True):
                yield number, dict(zip(batch, values, strict=True))
                number += 1


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
    what = f"cannot be loaded: {type(error).__name__}: {first_line(error)}"
    return what, "Check path, name, split and network"


class Transform:
    """A dataset's `type`, called as Axolotl and `datasets.Dataset.map` call it."""

    def __init__(self, source: Source, cfg: Any, tokenizer: Any):
        """tokenizer: passed to a transform that takes one. Raises: Unreadable."""
        self.path = source.entry.get("type")
        self._function: Callable[..., Any] = lambda row: row
        self._options: dict[str, Any] = {}
        if not self.path:
            return
        where = source.at(cfg, "type")
        for finding in check_transform(self.path, where):
            raise Unreadable(*finding[:3])
        unlimited = type(cfg)({**cfg, "grpo_max_prompt_length": None})  # else it would drop rows
        try:
            result = factory(self.path)(unlimited, dataset_idx=source.number)
        except Exception as error:  # a user's transform
            what = f"the transform cannot be built: {type(error).__name__}: {first_line(error)}"
            raise Unreadable(where, what, "Fix the transform") from error
        if result is None:
            raise Unreadable(where, "there is no such transform", "See the warning above")
        function, self._options = result if isinstance(result, tuple) else (result, {})
        if not callable(function):
            what = f"the factory returned {function!r:.60}, not a function of one row"
            raise Unreadable(where, what, "Return the function that makes the prompt")
        if unsupported := set(self._options) - MAPPED:
            what = f"it maps with {', '.join(sorted(unsupported))}, which stats does not support"
            raise Unreadable(where, what, "Count it without the option")
        more = dict(self._options.get("fn_kwargs") or {})
        if "tokenizer" in inspect.signature(function).parameters:
            more["tokenizer"] = tokenizer
        self._function = partial(function, **more)

    def __call__(self, rows: Sequence[tuple[int, Row]]) -> list[list[Row]]:
        """Return the transformed rows of each row: one, none or several."""
        indexed = self._options.get("with_indices")
        if not self._options.get("batched"):
            return [
                # A copy, because the function may change the row in place.
                [self._merged(row, self._function(dict(row), *([number] if indexed else [])))]
                for number, row in rows
            ]
        numbers, values = zip(*rows, strict=True)
        columns = {name: [row[name] for row in values] for name in values[0]}
        result = self._function(dict(columns), *([list(numbers)] if indexed else []))
        merged = self._merged(columns, result)
        changed = [
            dict(zip(merged, row, strict=True)) for row in zip(*merged.values(), strict=True)
        ]
        if len(rows) == 1:
            return [changed]
        if len(changed) != len(rows):
            # One row at a time, to know which row each result belongs to.
            return [each for row in rows for each in self([row])]
        return [[row] for row in changed]

    def _merged(self, row: Row, result: Any) -> Row:
        removed = self._options.get("remove_columns") or []
        kept = {} if removed == "__all__" else {k: v for k, v in row.items() if k not in removed}
        return {**kept, **(row if result is None else result)}


def factory(path: Any) -> Callable[..., Any]:
    """Return the factory of a dataset's `type`, also if it is one of Axolotl's."""
    if isinstance(path, str) and not is_axolotls(path):
        return load_transform(path)
    from axolotl.prompt_strategies.dpo import load

    return partial(load, path if isinstance(path, str) else "user_defined.default")
