"""Write and read the rollout log of a run. Also read TRL's completions.

FOLDER/train/ATTEMPT-STEP-RANK-NUMBER.parquet holds one batch of one rank. FOLDER/eval has the batches
of evaluations. The columns:
- attempt: 1 for the first run in the folder, 2 for the second
- step: the step that trains on the rollout, or the last step before an evaluation
- rank, mode ("train" or "eval"), truncated, advantage
- completion_tokens: that the model wrote; tool_tokens: that its tools wrote, which no step trains on
- prompt, completion: text, or a chat as JSON
- column/<name>: of the dataset, as text or JSON
- reward/<name>, reason/<name>, error/<name>: of each reward function
- read/<name>: the part of the completion that it scored, if that has at most 300 characters
- reward: the weighted sum of the reward functions
- discarded: with dynamic sampling, whether no step trains on the rollout

Answers of an evaluation (`generation/answers.py`) are in the same schema, with columns of their own.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

COLUMN, REWARD, REASON, ERROR, READ = "column/", "reward/", "reason/", "error/", "read/"  # prefixes
LONGEST_READ = 300  # characters
_FOLDERS = ("train", "rollouts/train", "completions", ".")  # below a run's output_dir
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_NAME = re.compile(r"(\d+)-\d+-\d+-\d+\.parquet")
_INTEGERS = {
    **dict.fromkeys(("attempt", "rank", "completion_tokens", "tool_tokens", "sample"), "int32"),
    **dict.fromkeys(("step", "row"), "int64"),
}


def files_of(folder: Path) -> list[Path]:
    """Return the Parquet files of a run's training rollouts. folder: its output_dir, or one within it."""
    files = (sorted((folder / name).glob("*.parquet")) for name in _FOLDERS)
    return next(filter(None, files), [])


def attempt_of(file: Path) -> int | None:
    """Return the attempt in the name of a rollout file, None for TRL's files."""
    match = _NAME.fullmatch(file.name)
    return int(match[1]) if match else None


def next_attempt(folder: Path) -> int:
    """Return the number of the attempt that starts now in a log's folder."""
    return max((attempt_of(file) or 0 for file in folder.glob("*/*.parquet")), default=0) + 1


def write(folder: Path, number: int, columns: dict[str, list[Any]]) -> None:
    """Write a batch as one file in one step. number: counts the batches of this process.

    Raises: OSError if the disk is full.
    """
    mode, step, rank, attempt = (columns[name][0] for name in ("mode", "step", "rank", "attempt"))
    save(folder / mode / f"{attempt:03d}-{step:06d}-{rank:03d}-{number:06d}.parquet", columns)


def save(file: Path, columns: dict[str, list[Any]]) -> None:
    """Write columns of the log's schema as one file in one step. Raises: OSError if the disk is full."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: pa.array(values, _type(name)) for name, values in columns.items()})
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    pq.write_table(table, part)
    os.replace(part, file)


def _type(name: str) -> Any:
    if name == "completion_ids":
        import pyarrow as pa

        return pa.list_(pa.int32())
    if name in _INTEGERS:
        return _INTEGERS[name]
    if name in ("truncated", "discarded"):
        return "bool"
    return "double" if name in ("reward", "advantage") or name.startswith(REWARD) else "string"


def as_text(value: Any) -> Any:
    """Return text and None unchanged, and anything else as JSON text, so that a column has one type.

    >>> as_text("18"), as_text(18), as_text({"words": ["a", None]})
    ('18', '18', '{"words": ["a", null]}')
    """
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)  # NumPy's; dates


def read(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, with chats as lists and dataset columns also under their own names.

    Raises: pyarrow.ArrowException or OSError if the file is not Parquet.
    """
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(1000):
        for row in batch.to_pylist():
            columns = {
                name.removeprefix(COLUMN): value
                for name, value in row.items()
                if name.startswith(COLUMN)
            }
            chats = {name: chat(row[name]) for name in ("prompt", "completion") if name in row}
            yield {**row, **columns, **chats}


def chat(value: Any) -> Any:
    """Return a logged chat as a list, and any other value unchanged."""
    if isinstance(value, str) and value.startswith('[{"role": '):
        with suppress(ValueError, RecursionError):
            messages = json.loads(value)
            if all(map(_is_message, messages)):  # a model may write a text that looks like a chat
                return messages
    return value


def readable(value: Any, longest: int) -> str:
    """Return the text of a logged text or chat, without characters that a terminal would obey.

    longest: in characters. A longer text is cut at its end.
    """
    if isinstance(messages := chat(value), list):
        value = "\n".join(f"{each['role']}: {_said(each)}" for each in messages)
    text = value if len(value) <= longest else f"{value[:longest]} [...]"
    return _CONTROL.sub("\ufffd", text.encode(errors="replace").decode())


def _said(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    return f"{message.get('content') or ''}{f' calls {as_text(calls)}' if calls else ''}"


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        return False
    content, calls = value.get("content"), value.get("tool_calls") or []
    parts = content if isinstance(content, list) else []
    return (
        isinstance(content, str | list | None)
        and isinstance(calls, list)
        and all(isinstance(each, dict) for each in [*parts, *calls])
    )
