"""Guarded reward functions, which TRL calls in place of the rewards that a config names.

`GuardedReward.score_list` is also the way to score completions without a training.
"""

import asyncio
import pickle
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, groupby
from types import SimpleNamespace
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import Completion, Texts, as_chat, text_of
from axolotl_grpo_plugin.findings import Finding, fault, raised
from axolotl_grpo_plugin.limits import PATIENCE, TooSlow
from axolotl_grpo_plugin.load import RewardRef, lacking, load_reward
from axolotl_grpo_plugin.reward import (
    NOT_COLUMNS,
    OPENS,
    Completions,
    PlainReward,
    Prompts,
    Range,
    Reward,
    Row,
    Rows,
    Scorer,
    Values,
)
from axolotl_grpo_plugin.scoring.output import capped_output
from axolotl_grpo_plugin.scoring.pool import Pool
from axolotl_grpo_plugin.scoring.worker import (
    BatchResult,
    Outcome,
    Outcomes,
    raised_here,
    score_batch,
    score_one,
    to_outcome,
    to_outcomes,
)

TOO_SLOW = "too_slow"  # the reason of a completion that took more than `timeout`
BATCH = 64  # completions, about, that `score_list` scores together
# The end of a traceback. A signature does not show the columns that a function takes from **kwargs.
_MISSING = re.compile(
    r"""\b(?:kwargs|kwds|kw|columns|_)\[['"](\w+)['"]].*^KeyError: '\1'\s*\Z""",
    re.DOTALL | re.MULTILINE,
)
_UNPICKLABLE = {"trainer_state", "log_extra", "log_metric", "environments"}  # columns from TRL

# The state of a trainer before its first step, without `max_steps`.
_FIRST_STEP = {
    "global_step": 0,
    "epoch": 0.0,
    "num_train_epochs": 1,
    "is_local_process_zero": True,
    "is_world_process_zero": True,
}


RowAndCompletion = tuple[Row, Any]  # the columns of a completion, and the completion


class RewardCall(NamedTuple):
    """The arguments of one call of a reward function.

    Attributes:
        prompts: One per completion.
        completions: Texts or chats.
        columns: Of the dataset and of TRL, by name.
    """

    prompts: Prompts
    completions: Completions
    columns: Row


class GuardedReward:
    """Calls one reward function so that it cannot hang or crash the training, or return invalid scores.

    Args:
        reward: The path and the options of the reward function.
        name: The reward's name in logs.
        pool: The scoring processes. None runs the reward in this process.
        timeout: Seconds of CPU time per completion. A completion that takes longer gets the lowest
            score, with the reason "too_slow".
        limit: Seconds of wall time per batch.
        isolation: "inline" or "process", in place of the reward's own choice.
        ends: Returns the mark of thinking that each prompt opens. None looks at no chat.

    Attributes:
        columns: The names of the dataset columns of the last batch.
        reasons: The reasons that have a curve.
    """

    def __init__(
        self,
        reward: RewardRef,
        name: str,
        pool: Pool | None,
        timeout: float,
        limit: float,
        isolation: str | None = None,
        ends: Callable[[Prompts], Texts] | None = None,
    ):
        self.ends = ends
        self.reward = reward
        self.name = name
        self.pool = pool
        self.timeout = timeout
        self.limit = limit
        self.isolation = isolation if pool else "inline"
        self.function = load_reward(reward)
        self.columns: Texts = []
        self._outcomes: Outcomes = []  # of the last batch
        self.reasons = [*self.function.spec.reasons]
        # Only a process has a limit of CPU time. Without reasons, a reward has no curves of them.
        if self.reasons and pool and TOO_SLOW not in self.reasons:
            self.reasons.append(TOO_SLOW)

    @property
    def _is_awaited(self) -> bool:
        """Whether the reward runs in this process' event loop, which it can block."""
        return self.function.is_async and self.isolation != "process"

    def for_trl(self) -> Scorer:
        """Return the function for TRL. It is async if the reward is, unless it runs in a process."""

        async def awaited(prompts: Prompts, completions: Completions, **columns: Any) -> Values:
            call = self._call(prompts, completions, columns)
            return self._keep(call, await self._await(call))

        def called(prompts: Prompts, completions: Completions, **columns: Any) -> Values:
            call = self._call(prompts, completions, columns)
            if isinstance(self.function, Reward):
                return self._keep(call, self._score_each(self.function, call))
            return self._keep(call, self._score_batch(call))

        guarded: Scorer = awaited if self._is_awaited else called
        guarded.__name__ = guarded.__qualname__ = self.name
        guarded.__doc__ = self.function.__doc__
        return guarded

    def _call(self, prompts: Prompts, completions: Completions, columns: Row) -> RewardCall:
        """Return the call of the function. Only our decorators know of thinking that prompts open."""
        if isinstance(self.function, PlainReward):
            others = {name: values for name, values in columns.items() if name != OPENS}
            return RewardCall(prompts, completions, others)
        if self.ends and OPENS not in columns:
            marks = self.ends(prompts)
            if any(marks):
                columns = {**columns, OPENS: marks}
        return RewardCall(prompts, completions, columns)

    @property
    def timeout_key(self) -> str:
        """The key of a config that limits the time of this reward."""
        is_batch = not isinstance(self.function, Reward)
        return "grpo_reward_batch_timeout" if is_batch else "grpo_reward_timeout"

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """Give a batch at most this wall time inside a with block."""
        limit = self.limit
        self.limit = min(limit, seconds)
        try:
            yield
        finally:
            self.limit = limit

    def score_list(self, rows: Rows, completions: Completions, max_steps: int = 1) -> Outcomes:
        """Score completions as TRL does in the first step, but without a training.

        Args:
            rows: The prompt and the columns of each completion. Neighbors with equal prompts are a prompt group.
                Without "completion_ids", each word of the completion counts as a token.
            completions: A text becomes a chat if its prompt is one.
            max_steps: The length of the training that a reward sees.
        """
        names = dict.fromkeys(chain.from_iterable(rows))
        batches = self.score_batches(zip(rows, completions, strict=True), names, max_steps)
        return list(chain.from_iterable(batches))

    def score_batches(
        self, pairs: Iterable[RowAndCompletion], names: Iterable[str], max_steps: int = 1
    ) -> Iterator[Outcomes]:
        """Yield the outcomes of `score_list` batch by batch.

        Args:
            pairs: Each completion after its row. They are read as they are scored.
            names: The columns of the rows.
            max_steps: The length of the training that a reward sees.
        """
        function = self.for_trl()
        names = dict.fromkeys(["prompt", "completion_ids", *names])
        for batch in self._batches(pairs):
            columns: Row = {name: [] for name in names}
            for given, completion in batch:
                words = text_of(completion).split()
                row = {"completion_ids": list(range(len(words))), **given}
                for name in names:
                    columns[name].append(row.get(name))
            prompts = columns.pop("prompt")
            texts = [completion for _, completion in batch]
            with capped_output():
                call = function(
                    prompts=prompts,
                    completions=[as_chat(*pair) for pair in zip(prompts, texts, strict=True)],
                    trainer_state=SimpleNamespace(
                        max_steps=max_steps, log_history=[], **_FIRST_STEP
                    ),
                    log_extra=_log_nothing,
                    log_metric=_log_nothing,
                    **columns,
                )
                if self._is_awaited:
                    asyncio.run(call)
            yield self.take_outcomes()

    def _batches(self, pairs: Iterable[RowAndCompletion]) -> Iterator[list[RowAndCompletion]]:
        """Yield rows to score together, because `limit` is the time for a batch."""
        is_reward = isinstance(self.function, Reward)

        def group_of(numbered: tuple[int, RowAndCompletion]) -> object:
            number, (row, _) = numbered
            # Rows without a prompt are no group.
            return number if is_reward else row.get("prompt") or number

        batch: list[RowAndCompletion] = []
        for _, group in groupby(enumerate(pairs), key=group_of):
            batch += [pair for _, pair in group]
            if len(batch) >= BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def take_outcomes(self) -> Outcomes:
        """Return the outcomes of the last batch, one per completion, and forget them."""
        outcomes, self._outcomes = self._outcomes, []
        return outcomes

    def _keep(self, call: RewardCall, outcomes: Outcomes) -> Values:
        """Keep the outcomes of a call until they are taken. Return the scores for TRL."""
        columns = call.columns
        for index, episode in enumerate(columns.get("environments") or ()):
            # A user's own environment lacks this. Ours sets it when the model is not at fault.
            if getattr(episode, "neutral", False):
                outcomes[index] = Outcome(None)
        for index, value in enumerate(columns.get(self.function.spec.group_by) or ()):
            if value is not None:
                outcomes[index] = outcomes[index]._replace(series=str(value))
        self._outcomes = outcomes
        self.columns = sorted(columns.keys() - NOT_COLUMNS)
        log_extra = columns.get("log_extra")
        # As without the guard, also for reasons that the reward does not declare.
        if log_extra and not isinstance(self.function, PlainReward):
            log_extra(f"{self.name}/reason", [outcome.reason for outcome in outcomes])
        return [outcome.value for outcome in outcomes]

    def _score_each(self, reward: Reward, call: RewardCall) -> Outcomes:
        """Score each completion: here if that is quick, else in a process."""
        quick = reward.quick
        if self.isolation == "inline":
            quick = reward.score
        outcomes: list[Outcome | None] = []
        calls = []
        for pair in zip(call.completions, reward.rows(*call), strict=True):
            outcome = None
            if self.isolation != "process":
                outcome = _score_here(quick, *pair, reward.range)
            if outcome is None:
                calls.append((pickle.dumps(pair), self.timeout))
            outcomes.append(outcome)
        results = iter(self._run(score_one, calls, PATIENCE * self.timeout))
        scored = []
        for outcome in outcomes:
            result = outcome or next(results)
            if isinstance(result, TooSlow):
                result = Outcome(reward.range[0], TOO_SLOW)
            elif not isinstance(result, Outcome):
                result = _failed(result)
            scored.append(result)
        return scored

    def _score_batch(self, call: RewardCall) -> Outcomes:
        """Call a reward of the whole batch."""
        prompts, completions, columns = call
        count = len(completions)
        if self.isolation == "inline":
            try:
                results = self.function.scores(prompts, completions, **columns)
            except Exception:  # a user's reward: a failed score with its traceback
                return [raised_here()] * count
            return to_outcomes(results, count, self.function.spec.range)
        keywords = {"prompts": prompts, "completions": completions}
        for name in columns.keys() - _UNPICKLABLE:
            keywords[name] = columns[name]
        state = {}
        for name, value in vars(columns["trainer_state"]).items():
            if isinstance(value, (bool, int, float, str)):  # no long log history
                state[name] = value
        (result,) = self._run(score_batch, [(pickle.dumps((keywords, state)),)], self.limit)
        if not isinstance(result, BatchResult):
            return [_failed(result)] * count
        for column, values in result.extras:
            columns["log_extra"](column, values)
        for metric, value in result.metrics:
            columns["log_metric"](metric, value)
        return result.outcomes

    async def _await(self, call: RewardCall) -> Outcomes:
        prompts, completions, columns = call
        try:
            async with asyncio.timeout(self.limit) as limit:
                results = await self.function.scores(prompts, completions, **columns)
        except Exception:  # a user's reward: a failed score with its traceback
            outcome = raised_here()
            if limit.expired():  # otherwise the reward itself may have raised a TimeoutError
                outcome = _failed(TimeoutError(f"not scored within {self.limit:g} s"))
            return [outcome] * len(completions)
        return to_outcomes(results, len(completions), self.function.spec.range)

    def _run(
        self, function: Callable[..., object], calls: list[tuple[Any, ...]], timeout: float
    ) -> list[Any]:
        """Call a function of worker.py in the processes, each call for at most `timeout` seconds of wall time."""
        if not calls or not self.pool:
            return []
        calls = [(self.reward, *call) for call in calls]
        return self.pool.run(function, calls, timeout, self.limit)


def _score_here(score: Scorer, completion: Completion, row: Row, range: Range) -> Outcome | None:
    try:
        result = score(completion, **row)
        return None if result is None else to_outcome(result, range)
    except Exception:  # a user's reward: a failed score with its traceback
        return raised_here()


def _failed(error: BaseException) -> Outcome:
    return Outcome.failed(str(error), isinstance(error, TimeoutError))


def is_failed(outcome: Outcome) -> bool:
    """Return whether a reward function could not score a completion, or took too much time for it."""
    return bool(outcome.error) or outcome.reason == TOO_SLOW


def failure_of(guard: GuardedReward, outcome: Outcome) -> Finding:
    """Describe a failed outcome. Its code is "too-slow" or "reward-fails"."""
    where = guard.reward.key
    if outcome.reason == TOO_SLOW or outcome.timed_out:
        what = f"a completion was {outcome.error}"
        if not outcome.timed_out:
            what = f"it took more than {guard.timeout:g} s of CPU time for one completion"
        # `reward score` reads no config, so the key cannot help there.
        fix = f"Make it faster. In a training, {guard.timeout_key} is the limit"
        return fault("too-slow", where, what, fix)
    if missing := _MISSING.search(outcome.error):
        return lacking(missing[1], guard.columns, where)
    # Without a traceback, the reward returned something wrong.
    is_raised = "\n" in outcome.error
    what = f"it raised {raised(outcome.error)}" if is_raised else f"it {outcome.error}"
    finding = fault("reward-fails", where, what, "Correct the reward")
    return finding._replace(detail=outcome.error) if is_raised else finding


def _log_nothing(name: str, values: object) -> None:
    """Take TRL's place, which logs a column or a metric."""
