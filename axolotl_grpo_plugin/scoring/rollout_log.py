"""Log every completion of a run, with its rewards and reasons."""

import logging
from collections.abc import Callable
from itertools import count
from math import isnan
from pathlib import Path
from typing import Any

import torch

from axolotl_grpo_plugin.runlog.attempts import next_attempt
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import (
    COLUMN,
    ERROR,
    LONGEST_READ,
    READ,
    REASON,
    REWARD,
    as_text,
    write,
)
from axolotl_grpo_plugin.scoring.worker import Outcome

LOG = logging.getLogger(__name__)


class RolloutLog:
    """Writes each batch to the rollout log (runlog/) when its advantages are known.

    A killed run loses its last step only. rewards: of the run, set by `attach`. held: batches that wait
    for `release`, None if none waits. tool_masks: of the next batch, per token 1 if the model wrote it
    and 0 if a tool did; None without tools.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.attempt = 1
        self.rewards: list[LoggedReward] = []
        self._numbers = count()
        self._groups = 0  # prompt groups of all ranks that were staged
        self.held: list[dict[str, list[Any]]] | None = None
        self.tool_masks: list[list[int]] | None = None
        self._staged: dict[str, list[Any]] | None = None

    @classmethod
    def of(cls, cfg: Any) -> "RolloutLog | None":
        """Return the log that a config asks for, or None."""
        folder = cfg.get("grpo_rollouts")
        if not folder:
            return None
        output = cfg.get("output_dir") or "model-out"  # Axolotl's default
        return cls(Path(output, "rollouts") if folder is True else Path(folder))

    def attach(self, trainer: Any, rewards: list[LoggedReward]) -> None:
        """Write a staged batch when the trainer knows its advantages."""
        self.attempt, self.rewards = next_attempt(self.folder), rewards
        generate = trainer._generate_and_score_completions

        def generate_and_score(inputs: Any) -> Any:
            output = generate(inputs)
            self.write(output["advantages"])
            return output

        trainer._generate_and_score_completions = generate_and_score
        # Axolotl's async trainer scores separately, and then calls this hook.
        if hasattr(trainer, "_post_advantage_hook"):
            hook: Callable[..., Any] = trainer._post_advantage_hook

            def post_advantage(
                data: Any, rewards: Any, advantages: Any, *rest: Any, **keywords: Any
            ) -> Any:
                self.write(advantages)
                return hook(data, rewards, advantages, *rest, **keywords)

            trainer._post_advantage_hook = post_advantage

    def stage(
        self,
        trainer: Any,
        scores: torch.Tensor,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        ids: list[list[int]],
        outcomes: dict[str, list[Outcome]],
    ) -> None:
        """Keep this rank's batch until its advantages are known. scores: (completions, functions).

        Held-out rows are not logged here: held_out.jsonl has them.
        """
        training, rows = trainer.model.training, len(prompts)
        masks = self.tool_masks or [[1] * len(each) for each in ids]
        # As TRL does: training/end_tokens.py lets the first equal all end tokens.
        ends = [trainer._tokenizer.eos_token_id, trainer._tokenizer.pad_token_id]
        weights = trainer.reward_weights.to(scores.device)
        totals = (scores * weights).nansum(dim=1).masked_fill(scores.isnan().all(dim=1), torch.nan)
        columns: dict[str, list[Any]] = {
            "attempt": [self.attempt] * rows,
            "step": [trainer.state.global_step + training] * rows,
            "group": self._number_groups(trainer, rows),
            "rank": [trainer.accelerator.process_index] * rows,
            "mode": ["train" if training else "eval"] * rows,
            "prompt": [as_text(prompt) for prompt in prompts],
            "completion": [_text(completion) for completion in completions],
            "completion_tokens": [*map(sum, masks)],
            "truncated": [not len(each) or int(each[-1]) not in ends for each in ids],
        }
        if self.tool_masks:
            columns["tool_tokens"] = [len(mask) - sum(mask) for mask in masks]
        for name in sorted({key for row in inputs for key in row} - {"prompt", "image", "images"}):
            columns[COLUMN + name] = [as_text(row.get(name)) for row in inputs]
        for name, values in zip(trainer.reward_func_names, scores.T, strict=True):
            columns[REWARD + name] = _numbers(values)
            if scored := outcomes.get(name):
                columns[REASON + name] = [each.status for each in scored]
                columns[ERROR + name] = [*map(_error, scored, columns[REWARD + name])]
                columns[READ + name] = [_short(each.read) for each in scored]
        columns["reward"] = _numbers(totals)
        self._staged = columns

    def _number_groups(self, trainer: Any, rows: int) -> list[int]:
        """Return the prompt group of each row of this rank. All ranks count the groups of all ranks.

        A group may lie on two ranks. rows: of this rank, as many as on each other rank.
        """
        accelerator, training = trainer.accelerator, trainer.model.training
        size = trainer.num_generations if training else trainer.num_generations_eval
        first, start = self._groups, accelerator.process_index * rows
        self._groups += -(-accelerator.num_processes * rows // size)
        return [first + place // size for place in range(start, start + rows)]

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

    def _save(self, batch: dict[str, list[Any]]) -> None:
        try:
            write(self.folder, next(self._numbers), batch, self.rewards)
        except OSError:  # for example a full disk; the other ranks would wait for this one
            LOG.exception("The rollouts of step %d could not be written.", batch["step"][0])


def _text(completion: Any) -> Any:
    """Return the text of a completion; of a chat with several messages, all of it."""
    if not isinstance(completion, str) and len(completion) == 1:
        return as_text(completion[0].get("content"))
    return as_text(completion)


def _error(outcome: Outcome, score: float | None) -> str | None:
    """Return why a logged score is not the reward function's own, None if it is."""
    if outcome.value is None and score is not None:
        return outcome.error or "no score; the mean of its prompt group stands here"
    return outcome.error or None


def _short(read: str) -> str | None:
    return read if 0 < len(read) <= LONGEST_READ else None


def _numbers(values: torch.Tensor) -> list[float | None]:
    return [None if isnan(value) else value for value in values.tolist()]
