"""The record of a scored completion: its columns, and the one way to write them.

FOLDER/train/ATTEMPT-STEP-RANK-NUMBER.parquet of a rollout log holds one batch of one rank. Batches are merged later: a file
ATTEMPT-STEP-RANK-NUMBER-LAST.parquet holds all from NUMBER to LAST (merging.py). FOLDER/eval has the batches of evaluations. held_out/scores.parquet has the answers to held-out rows, and
eval/**/scores.parquet those of `axolotl-grpo eval`. The columns of all:
- prompt, completion: text, or a chat as JSON
- column/<name>: of the dataset, as text or JSON
- reward/<name>, reason/<name>, error/<name>: of each reward function. With an error, the score is
  the mean of the prompt group.
- read/<name>: the part of the completion that it scored, if that has at most 300 characters
- completion_tokens: that the model wrote; tool_tokens: that its tools wrote, which no step trains on
- prompt_opens: the mark of thinking in which the rendered prompts end, such as <think>. Only if a prompt does
- truncated: whether the completion reached the token limit
- step: the first step that trains on the rollout, or the last step before an answer. With
  steps_per_generation or num_iterations above 1, the next steps train on a rollout too.

Of rollouts:
- attempt: 1 for the first run in the folder, 2 for the second
- group: the number of the prompt group in its attempt, the same on all ranks
- rank, mode ("train" or "eval"), advantage
- reward: the weighted sum of the reward functions
- discarded: with dynamic sampling, whether no step trains on the rollout

Of answers:
- model: "base", "checkpoint-40", or of held-out rows the moment: "before", "step 40", "after"
- mode: "greedy" or "sampled"
- lenient/<name>: whether the last number or box of the answer is right, wherever it is
- dataset, row, sample: the row's number in its dataset, and the answer's number in its row

The file's metadata has the entry "rewards": the reward functions in their order as JSON, each with its
declared range [low, high] or null. That of a merged file has the entry "batches": the rows of each batch by its number.

The store of answers without scores (`evaluate/answers.py`) has the same columns, and some of its own.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axolotl_grpo_plugin.output.files import written
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.thinking import text_of_message

if TYPE_CHECKING:
    import pyarrow as pa

METADATA = "rewards"
BATCHES = "batches"
SCORES = "scores.parquet"  # answers with their scores
# Prefixes.
COLUMN = "column/"
REWARD = "reward/"
REASON = "reason/"
ERROR = "error/"
READ = "read/"
LENIENT = "lenient/"
LONGEST_READ = 300  # characters
# By the name of a column, or the part of it before a slash.
_TYPES = {
    **dict.fromkeys(("attempt", "rank", "completion_tokens", "tool_tokens", "sample"), "int32"),
    **dict.fromkeys(("step", "row", "group"), "int64"),
    **dict.fromkeys(("truncated", "discarded", "lenient"), "bool"),
    **dict.fromkeys(("reward", "advantage"), "double"),
}


def write(
    folder: Path,
    number: int,
    columns: Mapping[str, Sequence[Any]],
    rewards: Iterable[LoggedReward] = (),
) -> None:
    """Write a batch of rollouts as one file in one step.

    Args:
        folder: The folder of the rollout log.
        number: Counts the batches of this process.
        columns: Of this schema.
        rewards: Of the run.

    Raises:
        OSError: The disk is full.
    """
    mode, step, rank, attempt = (columns[name][0] for name in ("mode", "step", "rank", "attempt"))
    save(
        folder / mode / f"{attempt:03d}-{step:06d}-{rank:03d}-{number:06d}.parquet",
        columns,
        rewards,
    )


def save(
    file: Path,
    columns: Mapping[str, Sequence[Any]],
    rewards: Iterable[LoggedReward] = (),
    earlier: "pa.Table | None" = None,
) -> None:
    """Write columns of the schema as one file in one step. Text columns take any value, as `as_text`.

    Args:
        file: The file to write.
        columns: Of this schema.
        rewards: Of the run.
        earlier: Rows to put before them.

    Raises:
        OSError: The disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {name: _array(name, values) for name, values in columns.items()},
        metadata={METADATA: json.dumps(dict(rewards))},
    )
    if earlier is not None:
        table = pa.concat_tables([earlier, table], promote_options="default")
    file.parent.mkdir(parents=True, exist_ok=True)
    with written(file) as part:
        pq.write_table(table, part, write_page_checksum=True)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return rows as columns. A value that a row lacks is None."""
    columns: dict[str, list[Any]] = {}
    for name in chain.from_iterable(rows):
        if name not in columns:
            columns[name] = [row.get(name) for row in rows]
    return columns


def _array(name: str, values: Sequence[Any]) -> Any:
    import pyarrow as pa

    kind = _TYPES.get(name) or _TYPES.get(name.partition("/")[0])
    if name == "completion_ids":
        kind = pa.list_(pa.int32())
    if kind:
        # A NaN is no score.
        return pa.array(values, kind, from_pandas=True)
    return pa.array(map(as_text, values), "string")


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


def logged_text(completion: Any) -> Any:
    """Return a completion's text. Of a chat with several messages, return all of it.

    Thinking that TRL has moved out of the content stands before it.
    """
    if isinstance(completion, str) or len(completion) != 1:
        return completion
    (message,) = completion
    content = message.get("content")
    if isinstance(content, str) or content is None:
        return text_of_message(message, content or "")
    return content
