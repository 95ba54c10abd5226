"""Guarded reward functions, which TRL calls in place of the rewards that a config names."""

import asyncio
import logging
import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from axolotl_grpo_plugin.limits import PATIENCE, TooSlow
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.reward import Reward
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.scoring.worker import (
    Outcome,
    ScoredBatch,
    score_batch,
    score_one,
    to_outcome,
    to_outcomes,
)

LOG = logging.getLogger(__name__)

TOO_SLOW = "too_slow"  # the reason of a completion that took more than `timeout`
_UNPICKLABLE = {"trainer_state", "log_extra", "log_metric", "environments"}  # columns from TRL


class GuardedReward:
    """Calls one reward function so that it cannot hang or crash the training, or return invalid scores.

    Args:
        name: the reward's name in logs.
        pool: the scoring processes; None to run the reward in this process.
        timeout: seconds of CPU time per completion. A completion that takes longer gets the lowest
            score, with the reason "too_slow".
        limit: seconds of wall time per batch.
        isolation: "inline" or "process" to override the reward's own choice.

    Attributes:
        outcomes: the outcomes of the last batch, one per completion.
        series: the value of the `group_by` column of each, "" if there is none.
        timed_by: the YAML key that limits a call.
    """

    def __init__(
        self,
        reward: RewardRef,
        name: str,
        pool: Pool | None,
        timeout: float,
        limit: float,
        isolation: str | None = None,
    ):
        self.reward, self.name, self.pool = reward, name, pool
        self.function = load_reward(reward)
        self.timeout, self.limit, self.isolation = timeout, limit, isolation
        self.outcomes: list[Outcome] = []
        self.series: list[str] = []
        spec = self.function.spec
        slow = (TOO_SLOW,) if spec.reasons and pool else ()
        self.reasons = tuple(dict.fromkeys((*spec.reasons, *slow)))
        scores_each = isinstance(self.function, Reward)
        self.timed_by = "grpo_reward_timeout" if scores_each else "grpo_reward_batch_timeout"
        self._warned = False

    def for_trl(self) -> Callable[..., Any]:
        """Return the function for TRL. It is async if the reward is."""
        if self.function.is_async:

            async def guarded(prompts: Any, completions: Any, **columns: Any) -> list[float | None]:
                return self._keep(await self._await(prompts, completions, columns), columns)
        else:

            def guarded(prompts: Any, completions: Any, **columns: Any) -> list[float | None]:  # type: ignore[misc]
                if isinstance(self.function, Reward):
                    outcomes = self._score_each(self.function, prompts, completions, columns)
                else:
                    outcomes = self._score_batch(prompts, completions, columns)
                return self._keep(outcomes, columns)

        guarded.__name__ = guarded.__qualname__ = self.name
        guarded.__doc__ = self.function.__doc__
        return guarded

    def outcomes_of(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        ids: Sequence[list[int]],
        columns: dict[str, Any],
        max_steps: int = 1,
        state: Any = None,
    ) -> list[Outcome]:
        """Score a batch as TRL does in the first step, but without a training.

        ids: the completions' token ids. state: the trainer's, or None for a new one.
        """
        if state is None:
            from transformers import TrainerState  # it imports torch

            state = TrainerState(max_steps=max_steps)
        call = self.for_trl()(
            prompts=prompts,
            completions=completions,
            completion_ids=ids,
            trainer_state=state,
            log_extra=lambda *_: None,
            log_metric=lambda *_: None,
            **columns,
        )
        if self.function.is_async:
            asyncio.run(call)
        return self.outcomes

    def _keep(self, outcomes: list[Outcome], columns: dict[str, Any]) -> list[float | None]:
        episodes = columns.get("environments") or [None] * len(outcomes)
        self.outcomes = outcomes = [
            Outcome(None) if getattr(episode, "neutral", False) else outcome
            for episode, outcome in zip(episodes, outcomes, strict=True)
        ]
        values = columns.get(self.function.spec.group_by) or [""] * len(outcomes)
        self.series = ["" if value is None else str(value) for value in values]
        if self.reasons and (log_extra := columns.get("log_extra")):
            log_extra(f"{self.name}/reason", [each.reason for each in outcomes])
        return [each.value for each in outcomes]

    def _score_each(
        self, reward: Reward, prompts: Any, completions: Sequence[Any], columns: dict[str, Any]
    ) -> list[Outcome]:
        """Score each completion: here if that is quick, else in a process."""
        pairs = list(zip(completions, reward.rows(prompts, completions, columns), strict=True))
        quick = reward.score if self.isolation == "inline" else reward.quick
        outcomes: list[Outcome | None] = [None] * len(pairs)
        if self.isolation != "process":
            outcomes = [_score_here(quick, *pair, reward.range) for pair in pairs]
        payloads = {
            index: self._pickle(pairs[index])
            for index, outcome in enumerate(outcomes)
            if outcome is None
        }
        calls = {index: (data, self.timeout) for index, data in payloads.items() if data}
        for index, result in zip(calls, self._run(score_one, [*calls.values()]), strict=True):
            if isinstance(result, TooSlow):
                result = Outcome(reward.range[0], TOO_SLOW)
            outcomes[index] = result if isinstance(result, Outcome) else _failed(result)
        for index, pair in enumerate(pairs):
            if outcomes[index] is None:
                outcomes[index] = _score_here(reward.score, *pair, reward.range)
        return [outcome for outcome in outcomes if outcome is not None]

    def _score_batch(
        self, prompts: Any, completions: Sequence[Any], columns: dict[str, Any]
    ) -> list[Outcome]:
        """Call a reward of the whole batch: in a process if its columns can be pickled, else here."""
        payload = None
        if self.isolation != "inline":
            plain = {key: value for key, value in columns.items() if key not in _UNPICKLABLE}
            keywords = {"prompts": prompts, "completions": completions, **plain}
            payload = self._pickle((keywords, _plain_state(columns.get("trainer_state"))))
        if payload is None:
            try:
                results = self.function.scores(prompts, completions, **columns)
            except Exception:  # a user's reward: a failed score with its traceback
                return [Outcome(None, error=traceback.format_exc())] * len(completions)
            return to_outcomes(results, len(completions), self.function.spec.range)
        (result,) = self._run(score_batch, [(payload,)], timeout=self.limit)
        if not isinstance(result, ScoredBatch):
            return [_failed(result)] * len(completions)
        for column, values in result.extras:
            columns["log_extra"](column, values)
        for metric, value in result.metrics:
            columns["log_metric"](metric, value)
        return result.outcomes

    async def _await(
        self, prompts: Any, completions: Sequence[Any], columns: dict[str, Any]
    ) -> list[Outcome]:
        try:
            async with asyncio.timeout(self.limit) as limit:
                results = await self.function.scores(prompts, completions, **columns)
        except Exception:  # a user's reward: a failed score with its traceback
            outcome = Outcome(None, error=traceback.format_exc())
            if limit.expired():  # otherwise the reward itself may have raised a TimeoutError
                outcome = _failed(TimeoutError(f"not scored within {self.limit:g} s"))
            return [outcome] * len(completions)
        return to_outcomes(results, len(completions), self.function.spec.range)

    def _run(
        self, function: Any, calls: list[tuple[Any, ...]], timeout: float | None = None
    ) -> list[Any]:
        if not calls:
            return []
        assert self.pool is not None
        calls = [(self.reward, *call) for call in calls]
        return self.pool.run(function, calls, timeout or PATIENCE * self.timeout, self.limit)

    def _pickle(self, arguments: Any) -> bytes | None:
        """Pickle arguments for a process. Warn once and return None if they cannot be pickled."""
        if self.pool is None:
            return None
        try:
            return pickle.dumps(arguments)
        except Exception as error:
            if not self._warned:
                LOG.warning(
                    "The reward %s runs in the trainer's own process, without a time limit, because "
                    "its columns cannot be pickled: %s.",
                    self.reward.key,
                    error,
                )
                self._warned = True
            return None


def _score_here(
    score: Any, completion: Any, row: dict[str, Any], range: tuple[float, float]
) -> Outcome | None:
    try:
        result = score(completion, **row)
        return None if result is None else to_outcome(result, range)
    except Exception:  # a user's reward: a failed score with its traceback
        return Outcome(None, error=traceback.format_exc())


def _failed(error: BaseException) -> Outcome:
    return Outcome(None, error=str(error), timed_out=isinstance(error, TimeoutError))


def _plain_state(state: Any) -> dict[str, Any]:
    """Return the plain values of a trainer's state, without its long log history."""
    return {
        key: value
        for key, value in vars(state or object).items()
        if isinstance(value, (bool, int, float, str))
    }
