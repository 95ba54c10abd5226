"""A dataset's rows, and the prompts that its transform makes of them, a thousand at a time.

A local JSON, JSONL or Parquet file is read here; what else a YAML can name, by Axolotl's own loader.
"""

import inspect
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from io import TextIOWrapper
from itertools import batched
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks import Finding, first_line
from axolotl_grpo_plugin.checks.config import check_file, check_transform, is_axolotls
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.paths import dicts

BATCH = 1000
PLAIN = {"path", "type", "ds_type", "split", "name"}  # keys of a dataset that is one local file
# Options of a transform that are known to change nothing else.
MAPPED = {"batched", "batch_size", "with_indices", "remove_columns", "fn_kwargs", "num_proc"}
CHUNK = 1 << 16
DATE = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.]+(Z|[+-][\d:]+)?)?$")
# Of Parquet: without the first, memory grows with the file; without the second, with its row groups.
STREAMED: Any = {"pre_buffer": False, "buffer_size": 1 << 20}

Row = dict[str, Any]
Said = Callable[[int, int], None]  # is told how much was read, and of how much
Fail = Callable[[int, str], None]  # is told what is wrong with a row


class Unreadable(Exception):
    """A dataset of which nothing more can be counted."""

    def __init__(self, where: str, what: str, mend: str):
        self.finding = Finding(where, what, mend)
        super().__init__(str(self.finding))


class Source(NamedTuple):
    """One dataset of a config.

    key: `datasets` or `test_datasets`. path: as the YAML has it, `pkg://` and all.
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
    """The datasets of a raw config: all that a run's prompts can come from."""
    return [
        Source(key, number, str(entry.get("path")), entry)
        for key in ("datasets", "test_datasets")
        for number, entry in enumerate(dicts(cfg.get(key)))
    ]


def read(source: Source, cfg: Any, said: Said, fail: Fail) -> Iterator[list[tuple[int, Row]]]:
    """The dataset's rows as it holds them, each with its number, all of a batch with the same columns.

    Raises Unreadable.
    """
    entry = source.entry
    path = entry.get("path")
    if not isinstance(path, str):
        raise Unreadable(
            source.at(cfg, "path"), f"no path: {path!r}", "Name a file or a hub dataset"
        )
    for finding in check_file(path, source.at(cfg, "path")):
        raise Unreadable(*finding[:3])
    where = f"{source.at(cfg, 'path')} ({path})"
    plain = (
        set(entry) <= PLAIN
        and entry.get("split") in (None, "train")
        and not isinstance(entry.get("name"), list)
        and os.path.isfile(path)
    )
    kind = entry.get("ds_type") or ("parquet" if ".parquet" in path else "json")
    rows: Iterable[tuple[int, Row]] | None = None
    columns: Row = {}
    if plain and kind == "parquet" and _is_as_read(path):
        rows = _parquet(Path(path), where, said)
    elif plain and kind == "json" and path.endswith((".json", ".jsonl")):
        bad: list[int] = []
        found = _columns(_json(Path(path), where, lambda *_: None, lambda row, _: bad.append(row)))
        if found is not None and 0 not in bad:  # else it is no JSON lines, and datasets may know it
            columns = found
            rows = _json(Path(path), where, said, fail)
    if rows is None:
        rows = _axolotls(entry, cfg, where, said)
    empty = True
    for batch in batched(rows, BATCH):
        empty = False
        yield [(number, {**columns, **row}) for number, row in batch]
    if empty:
        raise Unreadable(where, "no rows", "Look at what wrote it")


def _columns(rows: Iterable[tuple[int, Row]]) -> Row | None:
    """The columns of all rows, each None: datasets has None where a row lacks one.

    None where it would change values: whole numbers beside fractions, texts that are all dates.
    A pass of its own: a transform may read a column that only the last row has.
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
    if any(dates.values()) or any({int, float} <= found for found in types.values()):
        return None
    return dict.fromkeys(types)


def _json(path: Path, where: str, said: Said, fail: Fail) -> Iterator[tuple[int, Row]]:
    """JSON lines, or one list of objects."""
    size = path.stat().st_size
    with path.open("rb") as file:
        text = TextIOWrapper(file, encoding="utf-8-sig")
        try:
            listed = text.read(CHUNK).lstrip().startswith("[")
            text.seek(0)
            objects = _listed(text, where) if listed else enumerate(filter(str.strip, text))
            for number, row in objects:
                if number % BATCH == 0:
                    said(file.tell(), size)
                if isinstance(row, str):
                    try:
                        row = json.loads(row)
                    except ValueError as error:
                        fail(number, f"no JSON: {error}")
                        continue
                if isinstance(row, dict):
                    yield number, row
                else:
                    fail(number, f"no JSON object: {str(row)[:60]!r}")
        except UnicodeDecodeError as error:
            raise Unreadable(where, f"no UTF-8: {error}", "Mend the file") from error


def _listed(text: TextIOWrapper, where: str) -> Iterator[tuple[int, Any]]:
    """The objects of one list, each cut off the front as it is read: never the whole file."""
    decode = json.JSONDecoder().raw_decode
    number, held = 0, text.read(CHUNK).lstrip()[1:]
    while not (held := held.lstrip(" \t\r\n,")).startswith("]"):
        try:
            row, end = decode(held)
        except ValueError as error:
            more = text.read(max(CHUNK, len(held)))
            if not more:
                what = f"no JSON after row {number}: {error}"
                raise Unreadable(where, what, "Mend the file") from error
            held += more
            continue
        yield number, row
        number, held = number + 1, held[end:]


def _is_as_read(path: str) -> bool:
    """Whether datasets would leave a Parquet file's values as they are: no images, no JSON in text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        features = (pq.read_schema(path).metadata or {}).get(b"huggingface", b"")
    except (pa.ArrowException, OSError):
        return True  # whoever reads it says so
    return not re.search(rb'"_type": *"(?!Value|List|LargeList|Sequence|ClassLabel)', features)


def _parquet(path: Path, where: str, said: Said) -> Iterator[tuple[int, Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(path, **STREAMED)
        for batch in file.iter_batches(BATCH):
            said(number, file.metadata.num_rows)
            for row in batch.to_pylist():
                yield number, row
                number += 1
    except (pa.ArrowException, OSError) as error:
        what = f"no Parquet after row {number}: {error}"
        raise Unreadable(where, what, "Mend the file") from error


def _axolotls(entry: Any, cfg: Any, where: str, said: Said) -> Iterator[tuple[int, Row]]:
    from axolotl.utils.data.shared import datasets_with_name_generator, load_dataset_with_config
    from axolotl.utils.dict import DictDefault

    number = 0
    for each in datasets_with_name_generator([DictDefault(entry)]):
        try:
            loaded: Any = load_dataset_with_config(each, cfg.get("hf_use_auth_token"))
            # Where no split is named, Axolotl trains on this one.
            dataset = loaded["train"] if isinstance(loaded, dict) else loaded
        except Exception as error:  # of the hub's client, the network, or the file's reader
            what = f"cannot be loaded: {type(error).__name__}: {first_line(error)}"
            raise Unreadable(where, what, "Check path, name, split and network") from error
        for batch in dataset.iter(BATCH):
            said(number, len(dataset))
            for values in zip(*batch.values(), strict=True):
                yield number, dict(zip(batch, values, strict=True))
                number += 1


class Transform:
    """What a dataset's `type` makes of rows: called as Axolotl and `datasets.Dataset.map` call it."""

    def __init__(self, source: Source, cfg: Any, tokenizer: Any):
        """tokenizer: for a transform that takes one. Raises Unreadable."""
        self.path = source.entry.get("type")
        self._function: Callable[..., Any] = lambda row: row
        self._options: dict[str, Any] = {}
        if not self.path:
            return
        where = source.at(cfg, "type")
        for finding in check_transform(self.path, where):
            raise Unreadable(*finding[:3])
        unlimited = type(cfg)({**cfg, "grpo_max_prompt_length": None})  # or it would drop rows
        try:
            made = _factory(self.path)(unlimited, dataset_idx=source.number)
        except Exception as error:  # of a transform of one's own
            what = f"the transform cannot be made: {type(error).__name__}: {first_line(error)}"
            raise Unreadable(where, what, "Mend it") from error
        if made is None:
            raise Unreadable(where, "there is no such transform", "Look at the warning above")
        function, self._options = made if isinstance(made, tuple) else (made, {})
        if strange := set(self._options) - MAPPED:
            what = f"it maps with {', '.join(sorted(strange))}, which is not known here"
            raise Unreadable(where, what, "Count it without the option")
        more = dict(self._options.get("fn_kwargs") or {})
        if "tokenizer" in inspect.signature(function).parameters:
            more["tokenizer"] = tokenizer
        self._function = partial(function, **more)

    def __call__(self, rows: Sequence[tuple[int, Row]]) -> list[list[Row]]:
        """What became of each row: one, none, or several."""
        indexed = self._options.get("with_indices")
        if not self._options.get("batched"):
            return [
                # A copy, for it may change the row in place.
                [self._merged(row, self._function(dict(row), *([number] if indexed else [])))]
                for number, row in rows
            ]
        numbers, values = zip(*rows, strict=True)
        columns = {name: [row[name] for row in values] for name in values[0]}
        made = self._function(dict(columns), *([list(numbers)] if indexed else []))
        merged = self._merged(columns, made)
        changed = [
            dict(zip(merged, row, strict=True)) for row in zip(*merged.values(), strict=True)
        ]
        if len(rows) == 1:
            return [changed]
        if len(changed) != len(rows):
            # Which row became what is only known of one at a time.
            return [made for row in rows for made in self([row])]
        return [[row] for row in changed]

    def _merged(self, row: Row, made: Any) -> Row:
        removed = self._options.get("remove_columns") or []
        kept = {} if removed == "__all__" else {k: v for k, v in row.items() if k not in removed}
        return {**kept, **(row if made is None else made)}


def _factory(path: Any) -> Callable[..., Any]:
    if isinstance(path, str) and not is_axolotls(path):
        module_name, _, name = path.rpartition(".")
        module = import_module(module_name or name)
        factory: Callable[..., Any] = getattr(module, name if module_name else "default")
        return factory
    from axolotl.prompt_strategies.dpo import load

    return partial(load, path if isinstance(path, str) else "user_defined.default")
