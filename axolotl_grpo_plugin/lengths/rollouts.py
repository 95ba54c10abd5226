"""How long a run's completions are: from its rollout log, or from TRL's own Parquet of completions."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.lengths.budget import STEP
from axolotl_grpo_plugin.lengths.counts import Lengths
from axolotl_grpo_plugin.lengths.rows import STREAMED
from axolotl_grpo_plugin.lengths.tokenizer import Tokenizer

FOLDERS = ("train", "rollouts/train", "completions", ".")
ENOUGH = 0.99


class NoRollouts(Exception):
    """A folder without countable rollouts; the message says why."""


@dataclass
class Rollouts:
    """The completions of a run's training steps.

    finished: tokens of those that ended by themselves, the end token included. truncated: how many
    did not. limit: the longest completion. right, right_truncated: how many earned the most that was
    seen of the reward named reward. steps: {step: (completions, truncated, tokens)}.
    estimated: counted from the text, because the log has no token counts.
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
    steps: dict[int, tuple[int, int, int]] = field(
        default_factory=lambda: defaultdict(lambda: (0, 0, 0))
    )

    @property
    def rows(self) -> int:
        return self.finished.rows + self.truncated

    @property
    def share(self) -> float:
        """Of the completions, those that were truncated."""
        return self.truncated / self.rows

    def add(self, step: int, tokens: int, truncated: bool, reward: float | None) -> None:
        if truncated:
            self.truncated += 1
        else:
            self.finished.add([tokens])
        self.limit = max(self.limit, tokens)
        rows, cut, total = self.steps[step]
        self.steps[step] = (rows + 1, cut + truncated, total + tokens)
        if reward is None:
            return
        if reward > self.best:
            self.best, self.right, self.right_truncated = reward, 0, 0
        if reward == self.best and reward > 0:
            self.right += 1
            self.right_truncated += truncated

    def enough(self) -> int | None:
        """A trl.max_completion_length within which 99 % of all these end, None where more were cut off."""
        if self.finished.rows < ENOUGH * self.rows:
            return None
        within = self.finished.at(min(ENOUGH * self.rows / self.finished.rows, 1.0))
        return STEP * ceil(within / STEP)

    def plain(self) -> dict[str, Any]:
        """For JSON."""
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

    def parts(self, number: int = 4) -> Iterator[tuple[int, int, int, float, float]]:
        """The run in equal parts: first and last step, completions, share truncated, mean tokens."""
        steps = sorted(self.steps)
        number = min(number, len(steps))
        for part in range(number):
            chosen = steps[part * len(steps) // number : (part + 1) * len(steps) // number]
            rows, cut, tokens = map(sum, zip(*(self.steps[each] for each in chosen), strict=True))
            yield chosen[0], chosen[-1], rows, cut / rows, tokens / rows


def read_rollouts(folder: Path, tokenizer: Tokenizer | None, limit: int | None) -> Rollouts:
    """A run's training rollouts, from its output_dir, or the folder with the Parquet files.

    tokenizer, limit (trl.max_completion_length): needed for TRL's files, which hold text alone.
    Raises NoRollouts.
    """
    import pyarrow.parquet as pq

    files = next(
        (found for name in FOLDERS if (found := sorted((folder / name).glob("*.parquet")))), None
    )
    if not files:
        raise NoRollouts(
            f"{folder}: no rollouts there: name a run's output_dir (with `grpo_rollouts: true`, or `log_completions: true`)"
        )
    columns = pq.read_schema(files[0]).names
    logged = "completion_tokens" in columns
    if not logged and not {"step", "completion"} <= set(columns):
        raise NoRollouts(
            f"{files[0]}: neither a rollout log nor TRL's completions: it has {', '.join(columns)}"
        )
    if not logged and (tokenizer is None or limit is None):
        raise NoRollouts(
            f"{files[0]} has no token counts: name the run's YAML too, with trl.max_completion_length"
        )
    reward = (
        next(name for name in columns if name.startswith("reward/"))
        if logged
        else columns[columns.index("completion") + 1]
    )
    made = Rollouts(files[0].parent, not logged, reward.removeprefix("reward/"))
    for file in files:
        parquet = pq.ParquetFile(file, **STREAMED)
        wanted = (
            ["step", "completion_tokens", "truncated", reward]
            if logged
            else ["step", "completion", reward]
        )
        for batch in parquet.iter_batches(1000, columns=wanted):
            rows = batch.to_pydict()
            if not logged:
                rows |= _estimated(rows["completion"], tokenizer, limit)
            for row in zip(
                rows["step"],
                rows["completion_tokens"],
                rows["truncated"],
                rows[reward],
                strict=True,
            ):
                made.add(*row)
    return made


def _estimated(completions: Sequence[str], tokenizer: Any, limit: Any) -> dict[str, list[Any]]:
    """Token counts of decoded text: without its end token, a finished completion is below the limit."""
    counts = tokenizer.counts(completions)
    cut = [count >= limit for count in counts]
    return {
        "completion_tokens": [min(count + 1, limit) for count in counts],
        "truncated": cut,
    }
