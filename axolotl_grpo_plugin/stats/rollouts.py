"""Read the lengths of a run's completions from its rollout log, or from TRL's logged completions."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.findings import first_line
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import rewards_in, score_of
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import ERROR, REWARD
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
    of the other completions. limit: tokens of the longest completion. reward: the first of the run.
    judged, right: numbers of completions by whether they are truncated. Failed scores are not judged.
    estimated: tokens are counted from the text, because the log has no counts. note: on rollouts that
    are left out, or "".
    """

    folder: Path
    reward: LoggedReward
    note: str
    estimated: bool = False
    finished: Lengths = field(default_factory=Lengths)
    truncated: int = 0
    limit: int = 0
    right: Counter[bool] = field(default_factory=Counter)
    judged: Counter[bool] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return self.finished.rows + self.truncated

    @property
    def share(self) -> float:
        """The share of truncated completions, 0 to 1."""
        return self.truncated / self.rows

    def add(self, tokens: int, truncated: bool | None, score: float | None) -> None:
        if truncated:
            self.truncated += 1
        else:
            self.finished.add([tokens])
        self.limit = max(self.limit, tokens)
        right = self.reward.right(score)
        if right is not None:
            self.judged[bool(truncated)] += 1
            self.right[bool(truncated)] += right

    def enough(self) -> int | None:
        """Return a trl.max_completion_length that 99 % do not exceed, None if over 1 % were truncated."""
        if self.finished.rows < ENOUGH * self.rows:
            return None
        within = self.finished.at(min(ENOUGH * self.rows / self.finished.rows, 1.0))
        return STEP * ceil(within / STEP)

    def plain(self) -> dict[str, Any]:
        """Return the counts for JSON. The numbers of right completions need a declared maximum."""
        known = self.reward.range is not None
        return {
            "folder": str(self.folder),
            "tokens_estimated": self.estimated,
            "rollouts": self.rows,
            "truncated": self.truncated,
            "right_reward": self.reward.name,
            "right": self.right.total() if known else None,
            "right_truncated": self.right[True] if known else None,
            "finished": dict(sorted(self.finished.counts.items())),
        }


def read_rollouts(
    folder: Path, tokenizer: Tokenizer | None, limit: int | None
) -> CompletionLengths:
    """Read a run's training rollouts from its output_dir, or from the folder with the Parquet files.

    TRL's files hold text only: they also need the tokenizer and the limit (the run's
    trl.max_completion_length). Raises: NoRollouts.
    """
    import pyarrow as pa

    found = rollout_files(folder)
    files = found.counted
    if not files:
        fix = "Name a run's output_dir (with `grpo_rollouts: true`, or `log_completions: true`)"
        raise NoRollouts(f"{folder}: no rollouts there. {fix}.")
    file = files[-1]
    try:
        first = next(iter(rewards_in(file)), LoggedReward("a reward function"))
        lengths = CompletionLengths(file.parent, first, found.note())
        for file in files:
            _read(file, lengths, tokenizer, limit)
    except (pa.ArrowException, KeyError, TypeError, OSError) as error:
        raise NoRollouts(f"{file}: cannot be read: {first_line(error)}") from error
    if not lengths.rows:
        raise NoRollouts(f"{files[0].parent}: no rollouts in its {len(files)} files")
    return lengths


def _read(
    file: Path, lengths: CompletionLengths, tokenizer: Tokenizer | None, limit: int | None
) -> None:
    """Add the rollouts of one file."""
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file, **STREAMED)
    columns = {*parquet.schema_arrow.names}
    logged = "completion_tokens" in columns
    wanted = ["completion_tokens", "truncated"] if logged else ["completion"]
    if wanted[-1] not in columns:
        what = f"neither a rollout log nor TRL's completions (it has: {', '.join(parquet.schema_arrow.names)})"
        raise NoRollouts(f"{file}: {what}. Name another folder.")
    if not logged and (tokenizer is None or limit is None):
        fix = "Name the run's YAML too, with trl.max_completion_length"
        raise NoRollouts(f"{file}: no token counts. {fix}.")
    lengths.estimated = not logged
    name = lengths.reward.name
    wanted += columns & {REWARD + name, ERROR + name}
    for batch in parquet.iter_batches(1000, columns=wanted):
        rows = batch.to_pylist()
        if not logged:
            _estimate(rows, tokenizer, limit)
        for row in rows:
            lengths.add(row["completion_tokens"], row["truncated"], score_of(row, name))


def _estimate(rows: list[dict[str, Any]], tokenizer: Any, limit: Any) -> None:
    """Count decoded text. It lacks the end token, so a finished completion is below the limit."""
    texts = [row["completion"] if isinstance(row["completion"], str) else "" for row in rows]
    for row, count in zip(rows, tokenizer.counts(texts), strict=True):
        row["completion_tokens"] = min(count + 1, limit)
        row["truncated"] = count >= limit
