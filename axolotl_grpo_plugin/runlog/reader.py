"""Read scored completions: rows, reward functions, prompt groups and chats."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.findings import first_line
from axolotl_grpo_plugin.runlog.rewards import LoggedReward, Ranges, rewards_of
from axolotl_grpo_plugin.runlog.schema import ERROR, METADATA, REWARD, as_text
from axolotl_grpo_plugin.thinking import text_of_message

Row = dict[str, Any]
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def rewards_in(file: Path, known: Ranges | None = None) -> list[LoggedReward]:
    """Return the reward functions of a file in their order.

    Args:
        file: The Parquet file.
        known: The ranges for an old log, which declares none.
    """
    import pyarrow.parquet as pq

    schema = pq.read_schema(file)
    ranges = json.loads((schema.metadata or {}).get(METADATA.encode(), "{}"))
    if not ranges:
        known = known or {}
        for name in named(dict.fromkeys(schema.names), REWARD):
            ranges[name] = known.get(name)
    return rewards_of(ranges)


def why_unreadable(file: Path) -> str:
    """Return why a Parquet file cannot be read as a whole, "" if it can.

    A power cut may leave an empty file, one without its end, or one with wrong bytes between.
    """
    status = file.stat()
    return _why_unreadable(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=100_000)  # `view --serve` asks for all files of a run again and again
def _why_unreadable(file: Path, modified: int, size: int) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(file, page_checksum_verification=True).iter_batches(1000):
            batch.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        return first_line(error)
    return ""


def raw_rows(file: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """Yield the rows of a file, with chats as JSON.

    Args:
        file: The Parquet file.
        columns: The columns to read if the file has them. None is all.

    Raises:
        pyarrow.ArrowException: The file is not Parquet.
        OSError: The file cannot be read.
    """
    import pyarrow.parquet as pq

    for batch in pq.ParquetFile(file).iter_batches(1000, columns=columns):
        yield from batch.to_pylist()


def read(file: Path) -> Iterator[Row]:
    """Yield the rows of a file, with chats as lists. It raises the errors of `raw_rows`."""
    yield from map(with_chats, raw_rows(file))


def with_chats(row: Row) -> Row:
    """Return a row of a file, with chats as lists."""
    for name in ("prompt", "completion"):
        if name in row:
            row[name] = chat(row[name])
    return row


def group_of(row: Row) -> tuple[Any, ...]:
    """Return a key that the rollouts of a prompt group share.

    An old log does not tell two groups of a prompt in a step apart, nor do TRL's completions (`score`).
    """
    if "group" in row and "attempt" in row:
        return row["attempt"], row["group"]
    return row.get("attempt"), row.get("step"), as_text(row.get("prompt"))


def named(row: Row, prefix: str) -> Row:
    """Return the values of the columns that begin with a prefix, by the rest of their names."""
    return {
        column.removeprefix(prefix): value
        for column, value in row.items()
        if column.startswith(prefix)
    }


def score_of(row: Row, name: str) -> float | None:
    """Return the score that a reward function gave to a row. None if it gave none, or if it failed."""
    return None if row.get(ERROR + name) else row.get(REWARD + name)


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

    Args:
        value: The text or chat.
        longest: The number of characters at which a text is cut.
    """
    messages = chat(value)
    if isinstance(messages, list):
        value = "\n".join(map(_said, messages))

    text = value if len(value) <= longest else f"{value[:longest]} [...]"
    return _CONTROL.sub("\ufffd", text.encode(errors="replace").decode())


def _said(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        content = text_of_message(message, content)
    text = f"{message['role']}: {content}"
    calls = message.get("tool_calls")
    return f"{text} calls {as_text(calls)}" if calls else text


def _is_message(value: Any) -> bool:
    """Return whether a value of JSON has what readers of a chat rely on."""
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        return False
    parts = value.get("content") or []
    if isinstance(parts, str):
        parts = []
    calls = value.get("tool_calls") or []
    if not isinstance(parts, list) or not isinstance(calls, list):
        return False
    return all(isinstance(part, dict) for part in parts + calls)
