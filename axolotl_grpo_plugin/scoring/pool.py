"""Run rewards in scoring processes that can be killed and replaced."""

import os
import signal
import sys
import time
from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from math import inf
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from threading import Lock
from types import ModuleType
from typing import Any
from unittest.mock import patch

from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.limits import SIGNAL, TooSlow
from axolotl_grpo_plugin.load import RewardRef, RewardRefs, load_reward
from axolotl_grpo_plugin.processes import KILL_TIMEOUT, alive, own_environment
from axolotl_grpo_plugin.scoring.output import capped_output
from axolotl_grpo_plugin.scoring.worker import PRELOAD, READY, serve

_STARTS = 3  # tries to start a process
_CHUNK = 1 << 16  # bytes, as many as a pipe holds
_NOTHING = object()  # in the place of a result

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


class _NoStartError(Exception):
    """The scoring processes die while they start."""


class _Worker:
    """A scoring process. It runs one call at a time, and its children end with it (`processes.lead_session`).

    Args:
        context: Starts the process.
        setup: The arguments of `serve` after the pipes.

    Attributes:
        is_ready: Whether it waits for a call.
        is_called: Whether it runs a call.
        has_started: Whether it was ever ready.
        lives: False once it has died or was ended.
    """

    def __init__(self, context: ForkServerContext, setup: tuple[Any, ...]):
        self.is_ready = False
        self.is_called = False
        self.has_started = False
        self.lives = True
        self._timeout = 0.0  # of its call, in seconds
        self._deadline = 0.0  # of its call, on the monotonic clock
        self._decoder = getincrementaldecoder("utf-8")("replace")
        self._pipe, pipe = context.Pipe()
        self._output, output = context.Pipe(duplex=False)
        # A daemon is ended when this program ends.
        self._process = context.Process(target=serve, args=(pipe, output, *setup), daemon=True)
        try:
            self._process.start()
        finally:
            pipe.close()
            output.close()

    @property
    def handles(self) -> list[Any]:
        """The handles that become ready if there is something to read, or if the process dies."""
        return [self._pipe, self._output, self._process.sentinel]

    @property
    def seconds_left(self) -> float:
        """The time that its call has left, without end if it runs none."""
        return self._deadline - time.monotonic() if self.is_called else inf

    def begin(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], timeout: float
    ) -> None:
        """Begin a call, which may take `timeout` seconds."""
        self.is_ready = False
        self.is_called = True
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        with suppress(OSError):  # it has died, as `advance` will see
            self._pipe.send((function, arguments))

    def advance(self) -> Any:
        """Read what the process has written.

        Returns:
            The result of its call, the error that prevented it, or _NOTHING.
        """
        has_ended = self._process.exitcode is not None  # first: it may write until it ends
        try:
            self._show_output()
            if self._pipe.poll():
                message = self._pipe.recv()
                self._show_output()  # the rest, which a pipe has room for
                if self.is_called:
                    self.is_called = False
                    return message
                assert message == READY
                self.is_ready = self.has_started = True
                return _NOTHING
        except (EOFError, OSError):
            has_ended = True
        except Exception as error:  # a reward may log values that cannot be read here
            self.is_called = False
            return RuntimeError(f"gave a result that cannot be read: {error}")
        if has_ended:
            self._process.join(KILL_TIMEOUT)
            self.end()
            return _death(self._process.exitcode)
        if self.seconds_left <= 0:
            self.end()
            return TimeoutError(f"not scored within {self._timeout:g} s")
        return _NOTHING

    def _show_output(self) -> None:
        """Pass on what the rewards have printed."""
        if self._output.poll():
            sys.stderr.write(self._decoder.decode(os.read(self._output.fileno(), _CHUNK)))

    def end(self) -> None:
        """End the process and its children."""
        self.lives = False
        self._process.terminate()
        self._pipe.close()
        self._output.close()

    def join(self) -> None:
        """Wait until the process and its children have ended."""
        self._process.join(KILL_TIMEOUT)


class Pool:
    """Scoring processes.

    Args:
        workers: The number of processes.
        memory: Bytes that each process may use.
        rewards: The reward functions that each process loads first.

    Raises:
        FindingError: The processes die while they start.
    """

    def __init__(self, workers: int, memory: int, rewards: RewardRefs):
        self._lock = Lock()
        self._context = _Context()
        self._setup = (memory, sys.path[:], list(rewards))
        modules = set(chain.from_iterable(_modules(reward) for reward in rewards))
        self._env = {**own_environment(), PRELOAD: " ".join(sorted(modules))}
        self._failed_starts = 0  # since the last result of a call
        self._workers: list[_Worker] = []
        try:
            self._workers += [self._start() for _ in range(workers)]
            with capped_output():
                while not all(worker.is_ready for worker in self._workers):
                    self._advance(inf)
        except _NoStartError as error:
            fix = (
                "Repair what the rewards do before they score. If memory is short, raise "
                f"grpo_reward_memory (now {memory / (1 << 30):g} GiB per process)"
            )
            stop("scoring-process-dies", "trl.reward_funcs", str(error), fix)

    def _start(self) -> _Worker:
        """Start a process.

        Raises:
            _NoStartError: The fork server died again and again.
        """
        server: Any = forkserver._forkserver
        for _ in range(_STARTS):
            if not (server._forkserver_pid and alive(server._forkserver_pid)):
                self._context.set_forkserver_preload(["axolotl_grpo_plugin.scoring.worker"])
                # Only here, because other threads may read the environment.
                with patch.dict(os.environ, self._env, clear=True):
                    forkserver.ensure_running()
            with suppress(OSError, EOFError):  # the fork server has just died
                return _Worker(self._context, self._setup)
        raise _NoStartError("the fork server of the scoring processes dies")

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
        with self._lock:
            deadline = time.monotonic() + limit
            late = TimeoutError(f"not scored within the {limit:g} s of its batch")
            results: list[Any] = [late] * len(calls)
            waiting = deque(enumerate(calls))
            running: dict[_Worker, int] = {}
            try:
                self._replace_dead()
                while (waiting or running) and (left := deadline - time.monotonic()) > 0:
                    for worker in self._workers:
                        if waiting and worker.is_ready:
                            running[worker], call = waiting.popleft()
                            worker.begin(function, call, timeout)
                    for worker, result in self._advance(left):
                        if worker in running:  # else it died while it waited
                            results[running.pop(worker)] = result
                            self._failed_starts = 0
            except _NoStartError as error:
                for index in chain(running.values(), (index for index, _ in waiting)):
                    results[index] = RuntimeError(str(error))
            for worker in running:
                worker.end()
            return results

    def _advance(self, seconds: float) -> list[tuple[_Worker, Any]]:
        """Wait until a process has news, at most some seconds. Replace dead processes.

        Returns:
            Each process whose call ended or which died, with the result.

        Raises:
            _NoStartError: The processes died again and again while they started.
        """
        left = min([seconds, *(worker.seconds_left for worker in self._workers)])
        handles = list(chain.from_iterable(worker.handles for worker in self._workers))
        wait(handles, None if left == inf else max(0.0, left))
        ended = []
        for worker in self._workers:
            result = worker.advance()
            if result is not _NOTHING:
                ended.append((worker, result))
                if not worker.has_started:
                    self._failed_starts += 1
                    if self._failed_starts >= _STARTS * len(self._workers):
                        what = f"the scoring processes die while they start: {result}"
                        raise _NoStartError(what)
        self._replace_dead()
        return ended

    def _replace_dead(self) -> None:
        self._workers = [worker if worker.lives else self._start() for worker in self._workers]

    def close(self) -> None:
        """End the processes and their children."""
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.join()


def _modules(reward: RewardRef) -> Iterator[str]:
    """Yield the modules of a reward and of its inner rewards."""
    yield reward.path.rpartition(".")[0]
    functions = [load_reward(reward)]
    while functions:
        for inner in functions.pop().spec.inner:
            functions.append(inner)
            yield inner.__module__


def _death(code: int | None) -> Exception:
    """Return the error of a call whose process ended with an exit code, or by a signal if it is negative."""
    if code == -SIGNAL:
        return TooSlow()
    if code is None or code >= 0:
        return RuntimeError(f"the scoring process died, exit code {code}")
    text = f"the scoring process died of signal {-code} ({signal.strsignal(-code)})"
    if code == -signal.SIGKILL:
        text += ". The kernel sends it if the memory of the machine runs out"
    return RuntimeError(text)
