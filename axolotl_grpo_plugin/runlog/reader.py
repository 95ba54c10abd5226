"""Read a rollout log, or TRL's completions: rows, reward functions, prompt groups and chats."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.runlog.rewards import LoggedReward, Ranges, rewards_of
from axolotl_grpo_plugin.runlog.schema import ERROR, METADATA, REASON, REWARD, as_text

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def rewards_in(file: Path, known: Ranges | None = None) -> list[LoggedReward]:
    """Return the reward functions of a file in their order.

    known: ranges for an old log or TRL's completions, which declare none.
    """
    import pyarrow.parquet as pq

    schema = pq.read_schema(file)
    ranges = json.loads((schema.metadata or {}).get(METADATA.encode(), "{}"))
    columns = [name for name in schema.names if name.startswith(REWARD)]
    names = [name.removeprefix(REWARD) for name in columns] or _scored_by_trl(schema)
    return rewards_of(ranges or {name: (known or {}).get(name) for name in names})


def _scored_by_trl(schema: Any) -> list[str]:
    """Return the reward functions in the schema of TRL's completions, [] for another file."""
    if "advantage" not in schema.names or "attempt" in schema.names:
        return []
    numbers = [field.name for field in schema if str(field.type) in ("double", "null")]
    return [name for name in numbers if name != "advantage" and "/" not in name]


def read(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file, with chats as lists. TRL's completions get the log's names of scores.

    Raises: pyarrow.ArrowException or OSError if the file is not Parquet.
    """
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file)
    names = _scored_by_trl(parquet.schema_arrow)
    for batch in parquet.iter_batches(1000):
        for row in batch.to_pylist():
            for name in names:
                row[REWARD + name] = row[name]
                row[REASON + name] = row.get(f"{name}/reason")
            if names:  # TRL's files lack the weights
                row["reward"] = sum(row[name] or 0.0 for name in names)
            chats = {name: chat(row[name]) for name in ("prompt", "completion") if name in row}
            yield {**row, **chats}


def group_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return a key that the rollouts of a prompt group share.

    An old log and TRL's completions do not tell two groups of a prompt in a step apart.
    """
    if "group" in row and "attempt" in row:
        return row["attempt"], row["group"]
    return row.get("attempt"), row.get("step"), as_text(row.get("prompt"))


def score_of(row: dict[str, Any], name: str) -> float | None:
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
