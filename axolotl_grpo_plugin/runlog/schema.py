"""The columns of a rollout log, and how a file of it is written.

FOLDER/train/ATTEMPT-STEP-RANK-NUMBER.parquet holds one batch of one rank. FOLDER/eval has the batches
of evaluations. The columns:
- attempt: 1 for the first run in the folder, 2 for the second
- step: the first step that trains on the rollout, or the last step before an evaluation. With
  steps_per_generation or num_iterations above 1, the next steps train on it too.
- group: the number of the prompt group in its attempt, the same on all ranks
- rank, mode ("train" or "eval"), truncated, advantage
- completion_tokens: that the model wrote; tool_tokens: that its tools wrote, which no step trains on
- prompt, completion: text, or a chat as JSON
- column/<name>: of the dataset, as text or JSON
- reward/<name>, reason/<name>, error/<name>: of each reward function. With an error, the score is
  the mean of the prompt group.
- read/<name>: the part of the completion that it scored, if that has at most 300 characters
- reward: the weighted sum of the reward functions
- discarded: with dynamic sampling, whether no step trains on the rollout

The file's metadata has the entry "rewards": the reward functions in their order as JSON, each with its
declared range [low, high] or null.

Answers of an evaluation (`generation/answers.py`) are in the same schema, with columns of their own.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.runlog.rewards import LoggedReward

METADATA = "rewards"
COLUMN, REWARD, REASON, ERROR, READ = "column/", "reward/", "reason/", "error/", "read/"  # prefixes
LONGEST_READ = 300  # characters
_INTEGERS = {
    **dict.fromkeys(("attempt", "rank", "completion_tokens", "tool_tokens", "sample"), "int32"),
    **dict.fromkeys(("step", "row", "group"), "int64"),
}


def write(
    folder: Path, number: int, columns: dict[str, list[Any]], rewards: Iterable[LoggedReward] = ()
) -> None:
    """Write a batch as one file in one step. number: counts the batches of this process.

    Raises: OSError if the disk is full.
    """
    mode, step, rank, attempt = (columns[name][0] for name in ("mode", "step", "rank", "attempt"))
    file = folder / mode / f"{attempt:03d}-{step:06d}-{rank:03d}-{number:06d}.parquet"
    save(file, columns, rewards)


def save(file: Path, columns: dict[str, list[Any]], rewards: Iterable[LoggedReward] = ()) -> None:
    """Write columns of the log's schema as one file in one step. Raises: OSError if the disk is full."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {name: pa.array(values, _type(name)) for name, values in columns.items()}
    table = pa.table(arrays, metadata={METADATA: json.dumps(dict(rewards))})
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
