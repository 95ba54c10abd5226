"""Read the lengths of a run's completions from its rollout log, or from TRL's logged completions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.findings import first_line
from axolotl_grpo_plugin.rollouts import REWARD, attempt_of, files_of
from axolotl_grpo_plugin.stats.budget import STEP
from axolotl_grpo_plugin.stats.counts import Lengths
from axolotl_grpo_plugin.stats.rows import STREAMED
from axolotl_grpo_plugin.stats.tokenizer import Tokenizer

ENOUGH = 0.99


class NoRollouts(Exception):
    """The folder has no rollouts that can be counted."""


@dataclass
class CompletionLengths:
    """The completions of a run's training steps.

    finished: tokens of the completions that ended by themselves, with the end token. truncated: number
    of the other completions. limit: tokens of the longest completion. right: number of completions
    with `best`, the highest score of the reward named `reward`. right_truncated: number of truncated
    ones among these. estimated: tokens are counted from the text, because the log has no counts.
    """

    folder: Path
    estimated: bool
    reward: str
    finished: Lengths = field(default_factory=Lengths)
    truncated: int = 0
    limit: int = 0
    best: float = 0.0
    right: int = 0
    right_truncated: int = 0

    @property
    def rows(self) -> int:
        return self.finished.rows + self.truncated

    @property
    def share(self) -> float:
        """The share of truncated completions, 0 to 1."""
        return self.truncated / self.rows

    def add(self, tokens: int, truncated: bool | None, reward: float | None) -> None:
        if truncated:
            self.truncated += 1
        else:
            self.finished.add([tokens])
        self.limit = max(self.limit, tokens)
        if reward is None:
            return
        if reward > self.best:
            self.best, self.right, self.right_truncated = reward, 0, 0
        if reward == self.best and reward > 0:
            self.right += 1
            self.right_truncated += bool(truncated)

    def enough(self) -> int | None:
        """Return a trl.max_completion_length that 99 % do not exceed, None if over 1 % were truncated."""
        if self.finished.rows < ENOUGH * self.rows:
            return None
        within = self.finished.at(min(ENOUGH * self.rows / self.finished.rows, 1.0))
        return STEP * ceil(within / STEP)

    def plain(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            "folder": str(self.folder),
            "tokens_estimated": self.estimated,
            "rollouts": self.rows,
            "truncated": self.truncated,
            "right_reward": self.reward,
            "right": self.right,
            "right_truncated": self.right_truncated,
            "finished": dict(sorted(self.finished.counts.items())),
        }


def read_rollouts(
    folder: Path, tokenizer: Tokenizer | None, limit: int | None
) -> CompletionLengths:
    """Read a run's training rollouts from its output_dir, or from the folder with the Parquet files.

    If the run was resumed, only the last attempt counts. TRL's files hold text only: they also need
    the tokenizer and the limit (the run's trl.max_completion_length). Raises: NoRollouts.
    """
    import pyarrow as pa

    files = files_of(folder)
    if not files:
        fix = "Name a run's output_dir (with `grpo_rollouts: true`, or `log_completions: true`)"
        raise NoRollouts(f"{folder}: no rollouts there. {fix}.")
    last = attempt_of(files[-1])
    files = [file for file in files if attempt_of(file) == last]
    lengths: CompletionLengths | None = None
    for file in files:
        try:
            lengths = _read(file, lengths, tokenizer, limit)
        except (pa.ArrowException, KeyError, TypeError, OSError) as error:
            raise NoRollouts(f"{file}: cannot be read: {first_line(error)}") from error
    if lengths is None or not lengths.rows:
        raise NoRollouts(f"{files[0].parent}: no rollouts in its {len(files)} files")
    return lengths


def _read(
    file: Path,
    lengths: CompletionLengths | None,
    tokenizer: Tokenizer | None,
    limit: int | None,
) -> CompletionLengths:
    """Add the rollouts of one file. The first file creates the object."""
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file, **STREAMED)
    columns = parquet.schema_arrow.names
    logged = "completion_tokens" in columns
    wanted = ["completion_tokens", "truncated"] if logged else ["completion"]
    if wanted[-1] not in columns:
        what = f"neither a rollout log nor TRL's completions (it has: {', '.join(columns)})"
        raise NoRollouts(f"{file}: {what}. Name another folder.")
    if not logged and (tokenizer is None or limit is None):
        fix = "Name the run's YAML too, with trl.max_completion_length"
        raise NoRollouts(f"{file}: no token counts. {fix}.")
    lengths = lengths or CompletionLengths(file.parent, not logged, correctness(columns, logged))
    reward = REWARD + lengths.reward if logged else lengths.reward
    wanted += [reward] if reward in columns else []
    for batch in parquet.iter_batches(1000, columns=wanted):
        rows = batch.to_pydict()
        if not logged:
            rows |= _estimated(rows["completion"], tokenizer, limit)
        rewards = rows.get(reward) or [None] * batch.num_rows
        for row in zip(rows["completion_tokens"], rows["truncated"], rewards, strict=True):
            lengths.add(*row)
    return lengths


def correctness(columns: Sequence[str], logged: bool) -> str:
    """Return the name of the reward for correctness, or else of the first reward."""
    if logged:
        names = [name.removeprefix(REWARD) for name in columns if name.startswith(REWARD)]
    else:
        after = columns[columns.index("completion") + 1 :]
        names = [name for name in after if "/" not in name and name != "advantage"]
    telling = [name for name in names if re.search("correct|accura|equation", name)]
    return next(iter([*telling, *names]), "")


def _estimated(completions: Sequence[Any], tokenizer: Any, limit: Any) -> dict[str, list[Any]]:
    """Count decoded text. It lacks the end token, so a finished completion is below the limit."""
    counts = tokenizer.counts([each if isinstance(each, str) else "" for each in completions])
    return {
        "completion_tokens": [min(count + 1, limit) for count in counts],
        "truncated": [count >= limit for count in counts],
    }
