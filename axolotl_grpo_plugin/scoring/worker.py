"""The code of a scoring process. It imports little, and gets plain data only."""

import asyncio
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from importlib import import_module
from multiprocessing import current_process, forkserver
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any, NamedTuple, Self, SupportsFloat

from axolotl_grpo_plugin.findings import shortened
from axolotl_grpo_plugin.limits import limit_cpu
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.processes import lead_session, limit_memory
from axolotl_grpo_plugin.reward import Range, Reward, as_list, as_score

PRELOAD = "AXOLOTL_GRPO_PRELOAD"  # modules that the fork server imports once for all processes
READY = "ready"  # a process sends it whenever it can take a call
_LARGEST = 3.4e38  # TRL's tensors are float32
_out_of_memory = False  # whether a reward of this process ran out of memory


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

    @classmethod
    def failed(cls, error: str, timed_out: bool = False) -> Self:
        """Return a failed score. A long error is shortened, because a completion's text may be in it."""
        return cls(None, error=shortened(error), timed_out=timed_out)

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
        return Outcome.failed(f"returned {value!r:.100}, which is not a number: {error}")
    if not abs(number) <= _LARGEST:
        return Outcome.failed(f"returned {number}, which is not finite in float32")
    if range and not range[0] <= number <= range[1]:
        return Outcome.failed(f"returned {number}, which is outside its range {range}")
    return Outcome(number, reason, read=read)


def to_outcomes(results: Any, count: int, range: Range | None = None) -> Outcomes:
    """Return a reward's results for `count` completions as outcomes. All fail if they are no list of this length."""
    try:
        results = as_list(results)
    except Exception as error:  # a user's reward may return anything
        return [Outcome.failed(str(error))] * count
    if len(results) != count:
        return [Outcome.failed(f"returned {len(results)} scores for {count} completions")] * count
    return [to_outcome(result, range) for result in results]


def raised_here() -> Outcome:
    """Return a failed score with the traceback of the exception that is handled now."""
    global _out_of_memory
    error = sys.exception()
    while error:
        # MemoryError, ENOMEM's OSError, and a RuntimeError of torch.
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            _out_of_memory = True
        error = error.__cause__ or error.__context__
    return Outcome.failed(traceback.format_exc())


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


def serve(
    pipe: Connection, output: Connection, memory: int, path: list[str], rewards: list[RewardRef]
) -> None:
    """Run functions for the trainer until it ends. Called in a new process of the fork server.

    Args:
        pipe: Takes READY, yields a function and its arguments, takes the result, and so on.
        output: Takes all that the rewards print.
        memory: Bytes that the process may use.
        path: The module search path.
        rewards: The reward functions to load and make ready, so that a completion's time does not include it.
    """
    # The fork server ends when all copies of this descriptor are closed. An open copy here would let it
    # outlive a killed trainer.
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    current_process().daemon = False  # else a reward could not use multiprocessing
    for number in (1, 2):  # stdout and stderr
        os.dup2(output.fileno(), number)
    output.close()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a killed process keeps its lines
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_memory(memory)
    sys.path[:] = path
    lead_session(partial(_answer, pipe, rewards))


def _answer(pipe: Connection, rewards: list[RewardRef]) -> None:
    """Answer calls until the trainer closes its end of the pipe, or memory runs out."""
    for reward in rewards:
        try:
            load_reward(reward).ready()
        except Exception:  # its scores will fail with the same error
            traceback.print_exc()
    own = os.getpid()
    # Out of memory, a new process takes the place of this one: what a reward keeps would fail later calls, too.
    with suppress(EOFError):
        while not _out_of_memory:
            pipe.send(READY)
            function, arguments = pipe.recv()
            result = function(*arguments)
            if os.getpid() != own:
                return  # a reward forked, and both processes returned
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):  # a reward has closed it
                    stream.flush()
            try:
                pipe.send(result)
            except Exception as error:  # a reward may log values that cannot be pickled
                pipe.send(RuntimeError(f"gave a result that cannot be sent: {error}"))


for _module in os.environ.get(PRELOAD, "").split():
    try:
        import_module(_module)
    except Exception:  # as above
        traceback.print_exc()
