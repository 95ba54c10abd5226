"""Run rewards in scoring processes that can be killed and replaced."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import chain
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from threading import Lock
from types import ModuleType
from typing import Any
from unittest.mock import patch

from pebble import ProcessExpired, ProcessPool

from axolotl_grpo_plugin.limits import SIGNAL, TooSlow
from axolotl_grpo_plugin.load import RewardRef, RewardRefs, load_reward
from axolotl_grpo_plugin.processes import own_environment
from axolotl_grpo_plugin.scoring.worker import PRELOAD, begin

_start_lock = Lock()


class _ScoringProcess(ForkServerProcess):
    """A process that does not import the main module again. Axolotl's is slow to import."""

    def start(self) -> None:
        with _start_lock:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class _Context(ForkServerContext):
    Process = _ScoringProcess


class Pool:
    """Scoring processes.

    Args:
        workers: The number of processes.
        memory: Bytes that each process may use.
        rewards: The reward functions that each process loads first.
    """

    def __init__(self, workers: int, memory: int, rewards: RewardRefs):
        self._workers = workers
        self._context = _Context()
        self._setup = (memory, sys.path[:], list(rewards))
        modules = set(chain.from_iterable(_modules(reward) for reward in rewards))
        own = {**own_environment(), PRELOAD: " ".join(sorted(modules))}
        with patch.dict(os.environ, own, clear=True):
            self._context.set_forkserver_preload(["axolotl_grpo_plugin.scoring.worker"])
            forkserver.ensure_running()
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPool(
            self._workers, initializer=begin, initargs=self._setup, context=self._context
        )
        self._pool.schedule(os.getpid).result()  # wait until the processes run

    def run(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        timeout: float,
        limit: float,
    ) -> list[Any]:
        """Run a function once for each tuple of arguments.

        Args:
            function: Of a module that the processes can import.
            calls: The arguments of each call.
            timeout: Seconds of wall time per call.
            limit: Seconds of wall time for all calls together.

        Returns:
            The result of each call, or the exception that prevented it: TooSlow if the call used up its CPU time
            (`limit_cpu`), TimeoutError after `timeout` or `limit`, and RuntimeError if the process died.
        """
        if not self._pool.active:  # pebble ends a pool if an idle process is killed
            self.close()
            self._start()
        deadline = time.monotonic() + limit
        late = TimeoutError(f"not scored within the {limit:g} s of its batch")
        results: list[Any] = [late] * len(calls)
        waiting = deque(enumerate(calls))
        running: dict[Future[Any], int] = {}
        while waiting or running:
            # Schedule one call per process: pebble would still run a cancelled call that waits.
            while waiting and len(running) < self._workers:
                index, call = waiting.popleft()
                running[self._pool.schedule(function, args=call, timeout=timeout)] = index
            left = max(0.0, deadline - time.monotonic())
            done, _ = wait(running, timeout=left, return_when=FIRST_COMPLETED)
            for future in done:
                results[running.pop(future)] = _result(future, timeout)
            if not done:
                for future in running:
                    future.cancel()  # kills the process
                break
        return results

    def close(self) -> None:
        """Kill the processes."""
        self._pool.stop()
        self._pool.join()


def _modules(reward: RewardRef) -> Iterator[str]:
    """Yield the modules of a reward and of its inner rewards."""
    yield reward.path.rpartition(".")[0]
    functions = [load_reward(reward)]
    while functions:
        for inner in functions.pop().spec.inner:
            functions.append(inner)
            yield inner.__module__


def _result(future: Future[Any], timeout: float) -> Any:
    error = future.exception()
    if isinstance(error, TimeoutError):
        return TimeoutError(f"not scored within {timeout:g} s")
    if isinstance(error, ProcessExpired):
        died = RuntimeError(f"the scoring process died, exit code {error.exitcode}")
        return TooSlow() if error.exitcode == -SIGNAL else died
    return error or future.result()
