"""Read the lengths of a run's completions from its rollout log."""

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from axolotl_grpo_plugin.data.counts import Lengths
from axolotl_grpo_plugin.findings import first_line
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import Row, score_of
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import ERROR, REWARD
from axolotl_grpo_plugin.stats.budget import STEP

ENOUGH = 0.99


class NoRollouts(Exception):
    """The folder has no rollouts that can be counted."""


@dataclass
class CompletionLengths:
    """The completions of a run's training steps.

    finished: tokens of the completions that ended by themselves, with the end token. truncated: number
    of the other completions. limit: tokens of the longest completion. reward: the first of the run.
    judged, right: numbers of completions by whether they are truncated. Failed scores are not judged.
    note: on rollouts that are left out, or "".
    """

    folder: Path
    reward: LoggedReward
    note: str
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

    def add(self, row: Row) -> None:
        """Add a row of the log."""
        tokens = row["completion_tokens"]
        truncated = bool(row["truncated"])
        if truncated:
            self.truncated += 1
        else:
            self.finished.add([tokens])
        self.limit = max(self.limit, tokens)
        right = self.reward.right(score_of(row, self.reward.name))
        if right is not None:
            self.judged[truncated] += 1
            self.right[truncated] += right

    def enough(self) -> int | None:
        """Return a trl.max_completion_length that 99 % do not exceed, None if over 1 % were truncated."""
        if self.finished.rows < ENOUGH * self.rows:
            return None
        within = self.finished.at(min(ENOUGH * self.rows / self.finished.rows, 1.0))
        return STEP * ceil(within / STEP)

    def plain(self) -> dict[str, object]:
        """Return the counts for JSON. The number of right completions needs a declared maximum."""
        return {
            "rollouts": self.rows,
            "truncated": self.truncated,
            "right": self.right.total() if self.reward.range else None,
            "finished": dict(sorted(self.finished.counts.items())),
        }


def read_rollouts(folder: Path) -> CompletionLengths:
    """Read a run's training rollouts from its output_dir, or from the folder with the Parquet files.

    Raises: NoRollouts, also for TRL's own files, which have no numbers of tokens.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = rollout_files(folder)
    files = found.counted
    if not files:
        note = found.note() or "Name the output_dir of a run without `grpo_rollouts: false`."
        raise NoRollouts(f"{folder}: no rollouts there. {note}")
    file = files[-1]
    try:
        rewards = found.rewards() or [LoggedReward("a reward function")]
        lengths = CompletionLengths(file.parent, rewards[0], found.note())
        name = rewards[0].name
        wanted = ["completion_tokens", "truncated", REWARD + name, ERROR + name]
        for file in files:
            for batch in found.batches(file, wanted):
                if "completion_tokens" not in batch.schema.names:
                    columns = ", ".join(pq.read_schema(file).names)
                    raise NoRollouts(
                        f"{file}: no rollout log, because it lacks completion_tokens "
                        f"(it has: {columns}). Name another folder."
                    )
                for row in batch.to_pylist():
                    lengths.add(row)
    except (pa.ArrowException, KeyError, TypeError, OSError) as error:
        raise NoRollouts(f"{file}: cannot be read: {first_line(error)}") from error
    if not lengths.rows:
        raise NoRollouts(f"{files[0].parent}: no rollouts in its {len(files)} files")
    return lengths
