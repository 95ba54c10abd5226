"""A guard around each reward function: what TRL calls in its place."""

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
    Batch,
    Outcome,
    score_batch,
    score_one,
    to_outcome,
    to_outcomes,
)

LOG = logging.getLogger(__name__)

TOO_SLOW = "too_slow"  # the reason of a completion that took too much CPU time


class GuardedReward:
    """Calls one reward function so that it can neither hang, crash nor lie.

    name: what it is called in logs. outcomes: of the batch that it scored last, one a completion,
    in their order; series: likewise, what each is logged apart by, "" for nothing. limit: seconds
    that a batch may take. timeout: seconds of CPU time that a completion may take: it gets the
    lowest score after that, with the reason "too_slow".
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
        # The key of the YAML that limits a call of it.
        each = isinstance(self.function, Reward)
        self.timed_by = "grpo_reward_timeout" if each else "grpo_reward_batch_timeout"
        self._warned = False

    def for_trl(self) -> Callable[..., Any]:
        """What TRL calls: a function of that name, awaited where the reward's own is."""
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

    def _keep(self, outcomes: list[Outcome], columns: dict[str, Any]) -> list[float | None]:
        self.outcomes = outcomes
        series = columns.get(self.function.spec.group_by) or [""] * len(outcomes)
        self.series = ["" if each is None else str(each) for each in series]
        if self.reasons and (log_extra := columns.get("log_extra")):
            log_extra(f"{self.name}/reason", [each.reason for each in outcomes])
        return [each.value for each in outcomes]

    def _score_each(
        self, reward: Reward, prompts: Any, completions: Sequence[Any], columns: dict[str, Any]
    ) -> list[Outcome]:
        """Score each completion: here if that is quick, else in a process."""
        rows = reward.rows(prompts, completions, columns)
        here = reward.score if self.isolation == "inline" else reward.quick
        outcomes: list[Outcome | None] = [
            None if self.isolation == "process" else self._here(here, completion, row, reward.range)
            for completion, row in zip(completions, rows, strict=True)
        ]
        left = [place for place, outcome in enumerate(outcomes) if outcome is None]
        payloads = {place: self._payload((completions[place], rows[place])) for place in left}
        sent = [place for place in left if payloads[place] is not None]
        calls = [(payloads[place], self.timeout) for place in sent]
        for place, result in zip(sent, self._run(score_one, calls), strict=True):
            if isinstance(result, TooSlow):  # the completion's own doing: the lowest score
                result = Outcome(reward.range[0], TOO_SLOW)
            outcomes[place] = result if isinstance(result, Outcome) else _failed(result)
        for place in left:
            if outcomes[place] is None:
                completion, row = completions[place], rows[place]
                outcomes[place] = self._here(reward.score, completion, row, reward.range)
        return [outcome for outcome in outcomes if outcome is not None]

    def _here(
        self, score: Any, completion: Any, row: dict[str, Any], range: tuple[float, float]
    ) -> Outcome | None:
        try:
            result = score(completion, **row)
            return None if result is None else to_outcome(result, range)
        except Exception:
            return Outcome(None, error=traceback.format_exc())

    def _score_batch(
        self, prompts: Any, completions: Sequence[Any], columns: dict[str, Any]
    ) -> list[Outcome]:
        """A function of the whole batch, in a process, unless it takes what cannot travel."""
        payload = None
        if self.isolation != "inline":
            plain = {key: value for key, value in columns.items() if key not in _STAY_HERE}
            keywords = {"prompts": prompts, "completions": completions, **plain}
            if "environments" not in columns:
                payload = self._payload((keywords, _plain_state(columns.get("trainer_state"))))
        if payload is None:
            try:
                results = self.function.scores(prompts, completions, **columns)
            except Exception:
                return [Outcome(None, error=traceback.format_exc())] * len(completions)
            return to_outcomes(results, len(completions), self.function.spec.range)
        (result,) = self._run(score_batch, [(payload,)], timeout=self.limit)
        if not isinstance(result, Batch):
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
        except Exception:
            outcome = Outcome(None, error=traceback.format_exc())
            if limit.expired():  # else it is the function's own, a TimeoutError too
                outcome = _failed(TimeoutError(f"not awaited longer than {self.limit:g} s"))
            return [outcome] * len(completions)
        return to_outcomes(results, len(completions), self.function.spec.range)

    def _run(
        self, function: Any, calls: list[tuple[Any, ...]], timeout: float | None = None
    ) -> list[Any]:
        if not calls:
            return []
        assert self.pool is not None
        # A process that waits, or shares its core, gets PATIENCE times as long by the clock.
        timeout = timeout or PATIENCE * self.timeout
        return self.pool.run(
            function, [(self.reward, *call) for call in calls], timeout, self.limit
        )

    def _payload(self, arguments: Any) -> bytes | None:
        """The arguments as they travel; None, and one warning, where they cannot."""
        if self.pool is None:
            return None
        try:
            return pickle.dumps(arguments)
        except Exception as error:
            if not self._warned:
                LOG.warning(
                    "%s runs in the trainer's own process, without a time limit: its columns cannot "
                    "be sent to another (%s)",
                    self.reward.key,
                    error,
                )
                self._warned = True
            return None


_STAY_HERE = {"trainer_state", "log_extra", "log_metric", "environments"}


def _failed(error: BaseException) -> Outcome:
    return Outcome(None, error=str(error), timed_out=isinstance(error, TimeoutError))


def _plain_state(state: Any) -> dict[str, Any]:
    """The numbers of a trainer's state: its log history may be long."""
    return {
        key: value
        for key, value in vars(state or object).items()
        if isinstance(value, (bool, int, float, str))
    }
