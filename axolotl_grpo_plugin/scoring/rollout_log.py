"""Log every completion of a run, with its rewards and reasons."""

import logging
from itertools import count
from math import ceil, isnan
from pathlib import Path
from typing import Any

import torch

from axolotl_grpo_plugin.config import Config, output_dir
from axolotl_grpo_plugin.reward import Completions, Rows
from axolotl_grpo_plugin.runlog.attempts import next_attempt
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
from axolotl_grpo_plugin.scoring.dead_groups import Trainer, group_size
from axolotl_grpo_plugin.scoring.worker import Outcome, OutcomesOf

LOG = logging.getLogger(__name__)

Tokens = list[list[int]]  # of each completion: ids, or marks
Columns = dict[str, list[Any]]  # of the rollout log
_NOT_LOGGED = {"prompt", "image", "images"}  # columns of the dataset


class RolloutLog:
    """Writes each batch to the rollout log (runlog/) when its advantages are known.

    A killed run loses its last step only. rewards: of the run, set by `begin`. held: batches that wait
    for `release`, None if none waits. tool_masks: of the next batch, per token 1 if the model wrote it
    and 0 if a tool did; None without tools.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.attempt = 1
        self.rewards: list[LoggedReward] = []
        self._numbers = count()
        self._groups = 0  # prompt groups of all ranks that were staged
        self.held: list[Columns] | None = None
        self.tool_masks: Tokens | None = None
        self._staged: Columns | None = None

    @classmethod
    def of(cls, cfg: Config) -> "RolloutLog | None":
        """Return the log of a config, None if the config switches it off."""
        folder = cfg.get("grpo_rollouts")
        if folder is False:
            return None
        if isinstance(folder, str):
            return cls(Path(folder))
        return cls(output_dir(cfg) / "rollouts")

    def begin(self, rewards: list[LoggedReward]) -> None:
        """Begin an attempt of a run with these rewards."""
        self.attempt = next_attempt(self.folder)
        self.rewards = rewards

    def stage(
        self,
        trainer: Trainer,
        scores: torch.Tensor,
        outcomes: OutcomesOf,
        inputs: Rows,
        prompts: Completions,
        completions: Completions,
        ids: Tokens,
    ) -> None:
        """Keep this rank's batch until its advantages are known. scores: (completions, functions).

        The answers to held-out rows are not logged here, but by training/callbacks.py.
        """
        training = trainer.model.training
        # As TRL does: repairs/end_tokens.py lets the first equal all end tokens.
        ends = [trainer._tokenizer.eos_token_id, trainer._tokenizer.pad_token_id]
        weights = trainer.reward_weights.to(scores.device)
        totals = (scores * weights).nansum(dim=1)
        count = len(prompts)
        rank = trainer.accelerator.process_index
        # A group may lie on two ranks. Each rank counts the groups of all.
        size = group_size(trainer)
        groups = []
        for place in range(rank * count, (rank + 1) * count):
            groups.append(self._groups + place // size)
        self._groups += ceil(trainer.accelerator.num_processes * count / size)
        columns: Columns = {
            "attempt": [self.attempt] * count,
            # A training batch belongs to the step that it begins.
            "step": [trainer.state.global_step + training] * count,
            "rank": [rank] * count,
            "mode": ["train" if training else "eval"] * count,
            "group": groups,
            "prompt": [*prompts],
            "completion": [*map(logged_text, completions)],
            "truncated": [not len(own) or int(own[-1]) not in ends for own in ids],
            # `nansum` gives 0 if no function has a score.
            "reward": totals.masked_fill(scores.isnan().all(dim=1), torch.nan).tolist(),
            "completion_tokens": [*map(len, ids)],
        }
        if self.tool_masks:
            columns["completion_tokens"] = [*map(sum, self.tool_masks)]
            columns["tool_tokens"] = [len(mask) - sum(mask) for mask in self.tool_masks]
        for name in sorted(set().union(*inputs) - _NOT_LOGGED):
            columns[COLUMN + name] = [row.get(name) for row in inputs]
        for name, values in zip(trainer.reward_func_names, scores.T.tolist(), strict=True):
            columns[REWARD + name] = values
            scored = outcomes.get(name)
            if scored:
                columns[REASON + name] = [outcome.status for outcome in scored]
                columns[READ + name] = [_short(outcome.read) for outcome in scored]
                columns[ERROR + name] = [*map(_error, scored, values)]
        self._staged = columns

    def write(self, advantages: torch.Tensor) -> None:
        """Write the staged batch. advantages: (completions,)."""
        staged, self._staged = self._staged, None
        if staged is None:
            return
        staged["advantage"] = advantages.tolist()
        if self.held is None:
            self._save(staged)
        else:
            self.held.append(staged)

    def release(self, discarded: list[list[bool]]) -> None:
        """Write the held batches. discarded: of each batch, which completions no step trains on."""
        held, self.held = self.held or [], None
        for batch, marks in zip(held, discarded, strict=True):
            self._save({**batch, "discarded": marks})

    def _save(self, batch: Columns) -> None:
        try:
            write(self.folder, next(self._numbers), batch, self.rewards)
        except OSError:  # for example a full disk; the other ranks would wait for this one
            LOG.exception("The rollouts of step %d could not be written.", batch["step"][0])


def _error(outcome: Outcome, score: float) -> str | None:
    """Return why a logged score is not the reward function's own, None if it is."""
    if outcome.error:
        return outcome.error
    if outcome.value is None and not isnan(score):
        return "no score; the mean of its prompt group stands here"
    return None


def _short(read: str) -> str | None:
    return read if 0 < len(read) <= LONGEST_READ else None
