"""What runs in a scoring process: light to import, and given nothing but plain data."""

import ctypes
import os
import pickle
import resource
import signal
import sys
import traceback
from importlib import import_module
from multiprocessing import forkserver
from types import SimpleNamespace
from typing import Any, NamedTuple

from axolotl_grpo_plugin.limits import limit_cpu
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.reward import Reward, as_score

PRELOAD = "AXOLOTL_GRPO_PRELOAD"  # modules, that the server which forks the processes imports once
_PR_SET_PDEATHSIG = 1
_LARGEST = 3.4e38  # TRL's tensors are float32


class Outcome(NamedTuple):
    """What became of scoring one completion.

    value: the score; None where there is none. reason: the scorer's.
    error: what went wrong, with its traceback, else "". timed_out: whether it was ended for its time.
    """

    value: float | None
    reason: str = ""
    error: str = ""
    timed_out: bool = False

    @property
    def said(self) -> str:
        """The reason, or what there is in its place."""
        return "timeout" if self.timed_out else "error" if self.error else self.reason


class Batch(NamedTuple):
    """What a function of a whole batch gave, and what it logged on the way."""

    outcomes: list[Outcome]
    extras: list[tuple[str, list[Any]]]
    metrics: list[tuple[str, float]]


def to_outcome(result: Any, range: tuple[float, float] | None = None) -> Outcome:
    """A score that a reward returned, held against the contract: a finite number in its range, or None."""
    value, reason, _ = as_score(result)
    if value is None:
        return Outcome(None, reason)
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        return Outcome(None, error=f"returned {value!r:.100}, which is no number")
    try:
        number = float(value)
    except Exception as error:
        return Outcome(None, error=f"returned {value!r:.100}, which is no number: {error}")
    if not abs(number) <= _LARGEST:
        return Outcome(None, error=f"returned {number}, which is no score")
    if range and not range[0] <= number <= range[1]:
        return Outcome(None, error=f"returned {number}, which is not within its range {range}")
    return Outcome(number, reason)


def to_outcomes(
    results: Any, count: int, range: tuple[float, float] | None = None
) -> list[Outcome]:
    """The scores of a batch. Of a wrong number of them, none is known to be a given completion's."""
    try:
        results = list(results)
    except Exception:
        return [Outcome(None, error=f"returned {results!r:.100}, where a list is wanted")] * count
    if len(results) != count:
        error = f"returned {len(results)} scores for {count} completions"
        return [Outcome(None, error=error)] * count
    return [to_outcome(result, range) for result in results]


def score_one(reward: RewardRef, payload: bytes, seconds: float) -> Outcome:
    """Score one completion: payload is the pickled (completion, columns of its row).

    The process ends if that takes more than so many seconds of CPU time (limits.py).
    """
    completion, row = pickle.loads(payload)
    try:
        function = load_reward(reward)
        assert isinstance(function, Reward)
        limit_cpu(seconds)
        return to_outcome(function.score(completion, **row), function.range)
    except BaseException:  # SystemExit is no Exception
        return Outcome(None, error=traceback.format_exc())
    finally:
        limit_cpu(0)


def score_batch(reward: RewardRef, payload: bytes) -> Batch:
    """Call a function of a whole batch: payload is the pickled (TRL's keywords, plain trainer state)."""
    keywords, state = pickle.loads(payload)
    function = load_reward(reward)
    extras: list[tuple[str, list[Any]]] = []
    metrics: list[tuple[str, float]] = []
    try:
        results = function.scores(
            **keywords,
            trainer_state=SimpleNamespace(**state),
            log_extra=lambda column, values: extras.append((column, list(values))),
            log_metric=lambda name, value: metrics.append((name, float(value))),
        )
        outcomes = to_outcomes(results, len(keywords["completions"]), function.spec.range)
    except BaseException:
        outcomes = [Outcome(None, error=traceback.format_exc())] * len(keywords["completions"])
    return Batch(outcomes, extras, metrics)


def begin(memory: int, path: list[str], rewards: list[RewardRef]) -> None:
    """The first thing that a process does; memory in bytes.

    The rewards are built and made ready here, with all that they import and start, where no completion's
    time runs.
    """
    # A process stuck in C neither sees its pipe close nor runs Python's signal handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # The server that forks the processes ends when this is closed everywhere: also here, or it would
    # outlive a trainer that was killed.
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path[:] = path
    for reward in rewards:
        try:
            load_reward(reward).ready()
        except Exception:  # its first score says so again, and counts as failed
            traceback.print_exc()


def _import(modules: list[str]) -> None:
    for module in modules:
        try:
            import_module(module)
        except Exception:  # as above
            traceback.print_exc()


_import(os.environ.get(PRELOAD, "").split())
