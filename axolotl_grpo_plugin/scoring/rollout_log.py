"""Log every completion of a run, with its rewards and reasons."""

import logging
from itertools import count
from math import isnan
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object

from axolotl_grpo_plugin.config import Config, output_dir
from axolotl_grpo_plugin.output.files import full_disk
from axolotl_grpo_plugin.reward import OPENS, Rows
from axolotl_grpo_plugin.runlog.attempts import next_attempt
from axolotl_grpo_plugin.runlog.merging import merge
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import (
    COLUMN,
    ERROR,
    LONGEST_READ,
    READ,
    REASON,
    REWARD,
    logged_text,
    write,
)
from axolotl_grpo_plugin.scoring.batch import ScoredBatch
from axolotl_grpo_plugin.scoring.guarded_scores import GuardedScores
from axolotl_grpo_plugin.scoring.worker import Outcome

LOG = logging.getLogger(__name__)

_MERGED = 100  # batches of a rank in a file
_NOT_LOGGED = {"prompt", "image", "images", OPENS}  # columns of the dataset


class RolloutLog:
    """Writes the batches of a run to the rollout log (runlog/). A killed run loses its last step only.

    Attributes:
        folder: Has the files.
        rewards: Of the run, set by `begin`.
        written: The number of batches of this rank that are in the log.
        lost: The number of batches of all ranks that could not be written.
        why_lost: The error of this rank's last lost batch, "" if it lost none.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.rewards: list[LoggedReward] = []
        self.written = 0
        self.lost = 0
        self.why_lost = ""
        self._attempt = 1
        self._numbers = count()
        self._groups = 0  # prompt groups of all ranks in the batches so far

    @classmethod
    def of(cls, cfg: Config) -> "RolloutLog | None":
        """Return the log of a config. None if the config switches it off."""
        folder = cfg.grpo_rollouts
        if folder is False:
            return None
        if isinstance(folder, str):
            return cls(Path(folder))
        return cls(output_dir(cfg) / "rollouts")

    def begin(self, rewards: list[LoggedReward]) -> None:
        """Begin an attempt of a run with these rewards."""
        self._attempt = next_attempt(self.folder)
        self.rewards = rewards

    def write(self, batch: ScoredBatch) -> bool:
        """Write a batch whose advantages are known. Return whether that worked."""
        columns = {"attempt": [self._attempt] * len(batch.completions)} | rollout_columns(batch)
        columns["group"] = [self._groups + group for group in columns["group"]]
        self._groups += batch.groups
        try:
            write(self.folder, next(self._numbers), columns, self.rewards)
        except OSError as error:  # the other ranks would wait for this one
            full = full_disk(error, self.folder)
            self.why_lost = str(full) if full else f"{error}."
            LOG.warning("The rollouts of step %d are lost: %s", batch.step, self.why_lost)
            return False
        # The first batch of an attempt merges the files that an earlier attempt has left.
        if self.written % _MERGED == 0:
            self._merge(batch.rank)
        self.written += 1
        return True

    def _merge(self, rank: int) -> None:
        """Merge the files of this rank. On a full disk, they stay as they are."""
        try:
            merge(self.folder, rank)
        except OSError as error:
            LOG.warning("The files of the rollout log are not merged: %s", error)

    def loss(self) -> str:
        """Return how many batches are lost, and why; "" if none is."""
        if not self.lost:
            return ""
        why = self.why_lost or "see the output of the other ranks."
        return f"{self.lost:,} batches could not be written: {why}"


def rollout_columns(batch: ScoredBatch) -> dict[str, list[Any]]:
    """Return the columns of a batch in the rollout log, without its attempt. Groups count from 0."""
    count = len(batch.completions)
    scores = batch.scores[batch.indices.start : batch.indices.stop]
    # `nansum` gives 0 if no function has a score.
    rewards = (scores * batch.weights).nansum(dim=1)
    rewards = rewards.masked_fill(scores.isnan().all(dim=1), torch.nan)
    columns: dict[str, list[Any]] = {
        "step": [batch.step] * count,
        "rank": [batch.rank] * count,
        "mode": ["train" if batch.training else "eval"] * count,
        "group": [index // batch.group for index in batch.indices],
        "prompt": list(batch.prompts),
        "completion": [logged_text(completion) for completion in batch.completions],
        "truncated": batch.truncated,
        "reward": rewards.tolist(),
        "completion_tokens": [len(ids) for ids in batch.ids],
    }
    if any(batch.opens or ()):
        columns[OPENS] = batch.opens or []
    if batch.tool_masks:
        columns["completion_tokens"] = [sum(mask) for mask in batch.tool_masks]
        columns["tool_tokens"] = [len(mask) - sum(mask) for mask in batch.tool_masks]
    for name in sorted(set().union(*batch.rows) - _NOT_LOGGED):
        columns[COLUMN + name] = [row.get(name) for row in batch.rows]
    for name, values in zip(batch.names, scores.T.tolist(), strict=True):
        columns[REWARD + name] = values
        outcomes = batch.outcomes.get(name)
        if outcomes:
            columns[REASON + name] = [outcome.status for outcome in outcomes]
            columns[READ + name] = [_short(outcome.read) for outcome in outcomes]
            columns[ERROR + name] = [_error(*pair) for pair in zip(outcomes, values, strict=True)]
    columns["advantage"] = batch.advantages or [None] * count
    if batch.discarded is not None:
        columns["discarded"] = batch.discarded
    return columns


class LoggedRollouts(GuardedScores):
    """TRL's trainer that logs the batches of each generation.

    Attributes:
        rollout_log: The log of the run. None logs nothing.
    """

    rollout_log: RolloutLog | None = None

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        if self.rollout_log:
            self.rollout_log.begin(self.reward_runner.rewards(self.reward_func_names))

    def _generate_and_score_completions(self, inputs: Rows) -> dict[str, Any]:
        """Generate and score a batch."""
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        self._log_rollouts()
        return output

    def _compute_deferred_scores(self, rollout: dict[str, Any]) -> Any:
        """Score a batch that Axolotl's data producer has generated before."""
        output = super()._compute_deferred_scores(rollout)
        self._log_rollouts()
        return output

    def _score_streaming(self, rollout: dict[str, Any]) -> Any:
        """Score a batch that Axolotl's data producer has generated before, in chunks."""
        output = super()._score_streaming(rollout)
        self._log_rollouts()
        return output

    def _log_rollouts(self) -> None:
        batches = self.take_scored()
        if self.rollout_log:
            lost = sum(not self.rollout_log.write(batch) for batch in batches)
            self.rollout_log.lost += sum(gather_object([lost]))


def _error(outcome: Outcome, score: float) -> str | None:
    """Return why a logged score is not the reward function's own, None if it is."""
    if outcome.error:
        return outcome.error
    if outcome.value is None and not isnan(score):
        return "no score; the mean of its prompt group stands here"
    return None


def _short(read: str) -> str | None:
    return read if 0 < len(read) <= LONGEST_READ else None
