"""Processes that score: each can be killed, and is replaced."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from threading import Lock
from types import ModuleType
from typing import Any

from pebble import ProcessExpired, ProcessPool

from axolotl_grpo_plugin.limits import SIGNAL, TooSlow
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.scoring.worker import PRELOAD, begin

# Of a rank of the training: in a reward that imports torch they would start another one.
_RANKS = (
    "RANK",
    "LOCAL_",
    "WORLD_SIZE",
    "GROUP_",
    "ROLE_",
    "MASTER_",
    "TORCHELASTIC",
    "ACCELERATE",
)
_starting = Lock()


class _Process(ForkServerProcess):
    """A process that does not import the program's main module again: Axolotl's takes 20 s."""

    def start(self) -> None:
        with _starting:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class _Context(ForkServerContext):
    Process = _Process


class Pool:
    """`workers` processes, each limited to `memory` bytes, that have built `rewards`."""

    def __init__(self, workers: int, memory: int, rewards: Sequence[RewardRef]):
        self._workers, self._context = workers, _Context()
        self._first = (memory, sys.path[:], list(rewards))
        modules = sorted({module for each in rewards for module in _modules(each)})
        with _environment(modules):
            self._context.set_forkserver_preload(["axolotl_grpo_plugin.scoring.worker"])
            forkserver.ensure_running()
        self._start()

    def _start(self) -> None:
        self._pool = ProcessPool(
            self._workers, initializer=begin, initargs=self._first, context=self._context
        )
        self._pool.schedule(os.getpid).result()  # the processes run from here on

    def run(
        self,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
        timeout: float,
        limit: float,
    ) -> list[Any]:
        """What each call returned: within `timeout` seconds each, and `limit` all together.

        A result is a TooSlow if the call ended its process by the limit on CPU time, a TimeoutError
        after `timeout` or `limit`, and a RuntimeError if the process died.
        """
        if not self._pool.active:
            self.close()
            self._start()
        ends = time.monotonic() + limit
        late = TimeoutError(f"not scored when the {limit:g} s for its batch were over")
        results: list[Any] = [late] * len(calls)
        waiting = deque(enumerate(calls))
        running: dict[Any, int] = {}
        while waiting or running:
            # No more than there are processes: what is sent is run, also when it is cancelled.
            while waiting and len(running) < self._workers:
                place, call = waiting.popleft()
                running[self._pool.schedule(function, args=call, timeout=timeout)] = place
            patience = max(0.0, ends - time.monotonic())
            done, _ = wait(running, timeout=patience, return_when=FIRST_COMPLETED)
            for future in done:
                results[running.pop(future)] = _result(future, timeout)
            if not done:
                for future in running:
                    future.cancel()  # its process is killed
                break
        return results

    def close(self) -> None:
        """End the processes, whatever they do."""
        self._pool.stop()
        self._pool.join()


def _modules(reward: RewardRef) -> Iterator[str]:
    """Where a reward is, and what it is made of: a new process need not import them."""
    yield reward.path.rpartition(".")[0]
    functions = [load_reward(reward)]
    while functions:
        inner = functions.pop().spec.inner
        functions += inner
        yield from (each.__module__ for each in inner)


def _result(future: Any, timeout: float) -> Any:
    error = future.exception()
    if isinstance(error, TimeoutError):
        return TimeoutError(f"not scored within {timeout:g} s")
    if isinstance(error, ProcessExpired) and error.exitcode == -SIGNAL:
        return TooSlow()
    if isinstance(error, ProcessExpired):
        return RuntimeError(f"the scoring process died, exit code {error.exitcode}")
    if isinstance(error, BrokenProcessPool):
        return RuntimeError(f"the scoring processes broke: {error}")
    return error or future.result()


@contextmanager
def _environment(modules: Sequence[str]) -> Iterator[None]:
    """That of the scoring processes, while the server that forks them is started: no GPU, no rank."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(_RANKS):
            del os.environ[name]
    os.environ.update(
        {
            PRELOAD: " ".join(modules),
            "PYTHONPATH": os.pathsep.join(sys.path),  # the server is not told otherwise
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
        }
    )
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
