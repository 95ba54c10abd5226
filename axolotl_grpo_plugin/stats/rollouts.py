"""Read the lengths of a run's completions from its rollout log, or from TRL's Parquet of completions."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
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

    finished: tokens of the completions that were not truncated, the end token included. truncated:
    number of the others. limit: the longest completion. right, right_truncated: number of completions
    that earned `best`, the highest score seen of the reward named `reward`.
    steps: {step: (completions, truncated, tokens)}. estimated: counted from the text, because the log
    has no token counts.
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
        """The share of truncated completions, 0 to 1."""
        return self.truncated / self.rows

    def add(self, step: int, tokens: int, cut: bool | None, reward: float | None) -> None:
        truncated = bool(cut)
        if truncated:
            self.truncated += 1
        else:
            self.finished.add([tokens])
        self.limit = max(self.limit, tokens)
        rows, others, total = self.steps[step]
        self.steps[step] = (rows + 1, others + truncated, total + tokens)
        if reward is None:
            return
        if reward > self.best:
            self.best, self.right, self.right_truncated = reward, 0, 0
        if reward == self.best and reward > 0:
            self.right += 1
            self.right_truncated += truncated

    def enough(self) -> int | None:
        """Return a trl.max_completion_length that 99 % do not exceed, None if more were truncated."""
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

    def parts(self, number: int = 4) -> Iterator[tuple[int, int, int, float, float]]:
        """Yield equal parts of the run: first and last step, completions, share truncated, mean tokens."""
        steps = sorted(self.steps)
        number = min(number, len(steps))
        for part in range(number):
            chosen = steps[part * len(steps) // number : (part + 1) * len(steps) // number]
            rows, cut, tokens = map(sum, zip(*(self.steps[each] for each in chosen), strict=True))
            yield chosen[0], chosen[-1], rows, cut / rows, tokens / rows


def read_rollouts(
    folder: Path, tokenizer: Tokenizer | None, limit: int | None
) -> CompletionLengths:
    """Read a run's training rollouts from its output_dir, or from the folder with the Parquet files.

    If the run was resumed, only the last attempt counts. tokenizer and limit (the run's
    trl.max_completion_length) are needed for TRL's files, which hold text only. Raises NoRollouts.
    """
    import pyarrow as pa

    files = files_of(folder)
    if not files:
        fix = "Name a run's output_dir (with `grpo_rollouts: true`, or `log_completions: true`)"
        raise NoRollouts(f"{folder}: no rollouts there. {fix}.")
    last = attempt_of(files[-1])
    files = [file for file in files if attempt_of(file) == last]
    made: CompletionLengths | None = None
    for file in files:
        try:
            made = _read(file, made, tokenizer, limit)
        except (pa.ArrowException, KeyError, TypeError, OSError) as error:
            raise NoRollouts(f"{file}: cannot be read: {first_line(error)}") from error
    if made is None or not made.rows:
        raise NoRollouts(f"{files[0].parent}: no rollouts in its {len(files)} files")
    return made


def _read(
    file: Path, made: CompletionLengths | None, tokenizer: Tokenizer | None, limit: int | None
) -> CompletionLengths:
    """Add the rollouts of one file."""
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file, **STREAMED)
    columns = parquet.schema_arrow.names
    logged = "completion_tokens" in columns
    if not {"step", "truncated" if logged else "completion"} <= set(columns):
        what = f"neither a rollout log nor TRL's completions (it has: {', '.join(columns)})"
        raise NoRollouts(f"{file}: {what}. Name another folder.")
    if not logged and (tokenizer is None or limit is None):
        fix = "Name the run's YAML too, with trl.max_completion_length"
        raise NoRollouts(f"{file}: no token counts. {fix}.")
    made = made or CompletionLengths(file.parent, not logged, _right(columns, logged))
    wanted = ["step", *(["completion_tokens", "truncated"] if logged else ["completion"])]
    reward = REWARD + made.reward if logged else made.reward
    wanted += [reward] if reward in columns else []
    for batch in parquet.iter_batches(1000, columns=wanted):
        rows = batch.to_pydict()
        if not logged:
            rows |= _estimated(rows["completion"], tokenizer, limit)
        rewards = rows.get(reward) or [None] * batch.num_rows
        for row in zip(
            rows["step"], rows["completion_tokens"], rows["truncated"], rewards, strict=True
        ):
            made.add(*row)
    return made


def _right(columns: Sequence[str], logged: bool) -> str:
    """Return the reward for correctness: by its name, else the first."""
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
