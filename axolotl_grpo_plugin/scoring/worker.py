"""The code of a scoring process. It imports little, and gets plain data only."""

import asyncio
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterable
from importlib import import_module
from multiprocessing import forkserver
from types import SimpleNamespace
from typing import Any, NamedTuple, SupportsFloat

from axolotl_grpo_plugin.limits import limit_cpu
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.processes import die_with, limit_memory
from axolotl_grpo_plugin.reward import Range, Reward, as_score

PRELOAD = "AXOLOTL_GRPO_PRELOAD"  # modules that the fork server imports once for all processes
_LARGEST = 3.4e38  # TRL's tensors are float32


class Outcome(NamedTuple):
    """The result of scoring one completion: a scorer's `Score`, or why there is none.

    Attributes:
        value: The score, or None.
        reason: The scorer's reason.
        error: The error with its traceback, or "".
        timed_out: Whether the scoring ran out of time.
        read: The part of the completion that was scored.
        series: The value of the reward's `group_by` column, or "".
    """

    value: float | None
    reason: str = ""
    error: str = ""
    timed_out: bool = False
    read: str = ""
    series: str = ""

    @property
    def status(self) -> str:
        """ "timeout", "error", or the reason."""
        if self.timed_out:
            return "timeout"
        return "error" if self.error else self.reason


Outcomes = list[Outcome]  # of a batch
OutcomesOf = dict[str, Outcomes]  # of rewards, by name


class BatchResult(NamedTuple):
    """The outcomes of a reward of a whole batch, and its calls of `log_extra` and `log_metric`."""

    outcomes: Outcomes
    extras: list[tuple[str, list[object]]]
    metrics: list[tuple[str, float]]


def to_outcome(result: Any, range: Range | None = None) -> Outcome:
    """Return a reward's result as an outcome: a failed one unless it is None or a finite number in its range."""
    value, reason, read = as_score(result)
    if value is None:
        return Outcome(None, reason, read=read)
    try:
        if isinstance(value, (str, bytes)):  # `float` would read text
            raise TypeError("it is text")
        number = float(value)
    except Exception as error:  # a user's reward may return anything
        return Outcome(None, error=f"returned {value!r:.100}, which is not a number: {error}")
    if not abs(number) <= _LARGEST:
        return Outcome(None, error=f"returned {number}, which is not finite in float32")
    if range and not range[0] <= number <= range[1]:
        return Outcome(None, error=f"returned {number}, which is outside its range {range}")
    return Outcome(number, reason, read=read)


def to_outcomes(results: Any, count: int, range: Range | None = None) -> Outcomes:
    """Return a reward's results for `count` completions as outcomes. All fail if their number is wrong."""
    try:
        results = list(results)
    except Exception:  # as above
        return [Outcome(None, error=f"returned {results!r:.100}, which is not a list")] * count
    if len(results) != count:
        wrong = Outcome(None, error=f"returned {len(results)} scores for {count} completions")
        return [wrong] * count
    return [to_outcome(result, range) for result in results]


def raised_here() -> Outcome:
    """Return a failed score with the traceback of the exception that is handled now."""
    return Outcome(None, error=traceback.format_exc())


def score_one(reward: RewardRef, payload: bytes, seconds: float) -> Outcome:
    """Score one completion.

    Args:
        reward: The reward function.
        payload: The pickled completion and the columns of its row.
        seconds: The CPU time after which the kernel ends the process (limits.py).
    """
    completion, row = pickle.loads(payload)
    try:
        function = load_reward(reward)
        assert isinstance(function, Reward)
        limit_cpu(seconds)
        return to_outcome(function.score(completion, **row), function.range)
    except BaseException:  # SystemExit is no Exception
        return raised_here()
    finally:
        limit_cpu(0)


def score_batch(reward: RewardRef, payload: bytes) -> BatchResult:
    """Call a reward of a whole batch.

    Args:
        reward: The reward function.
        payload: TRL's keywords and the plain trainer state, pickled.
    """
    keywords, state = pickle.loads(payload)
    function = load_reward(reward)
    called = BatchResult([], [], [])

    def log_extra(column: str, values: Iterable[object]) -> None:
        called.extras.append((column, list(values)))

    def log_metric(name: str, value: SupportsFloat) -> None:
        called.metrics.append((name, float(value)))

    count = len(keywords["completions"])
    state = SimpleNamespace(**state)
    try:
        results = function.scores(
            **keywords, trainer_state=state, log_extra=log_extra, log_metric=log_metric
        )
        if function.is_async:
            results = asyncio.run(results)
        outcomes = to_outcomes(results, count, function.spec.range)
    except BaseException:
        outcomes = [raised_here()] * count
    return called._replace(outcomes=outcomes)


def begin(memory: int, path: list[str], rewards: list[RewardRef]) -> None:
    """Prepare a scoring process, so that a completion's time does not include imports and starts.

    Args:
        memory: Bytes that the process may use.
        path: The module search path.
        rewards: The reward functions to load and make ready.
    """
    # A process stuck in C code does not run Python's signal handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The fork server ends when all copies of this descriptor are closed. An open copy here would let it
    # outlive a killed trainer.
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    die_with(os.getppid(), signal.SIGKILL)
    limit_memory(memory)
    sys.path[:] = path
    for reward in rewards:
        try:
            load_reward(reward).ready()
        except Exception:  # its scores will fail with the same error
            traceback.print_exc()


for _module in os.environ.get(PRELOAD, "").split():
    try:
        import_module(_module)
    except Exception:  # as above
        traceback.print_exc()
