"""Bound the CPU time of a call that a completion's text can make slow.

The kernel enforces the limit with SIGPROF, so it also ends C code that never returns. Scoring
processes (scoring/worker.py) set a limit for each completion. `call` gives the same limit to rewards
that run anywhere else: in plain TRL, `axolotl-grpo reward score` and tests.
"""

import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

from axolotl_grpo_plugin.processes import limit_memory, start_python

SIGNAL = signal.SIGPROF
PATIENCE = 5  # seconds of wall time per second of CPU time
_MEMORY = 4 << 30  # bytes that the helper process may use
_START = 60.0  # seconds of wall time for the helper process to start and import a function


class TooSlow(Exception):
    """A call took more CPU time than it may."""


class HelperDied(RuntimeError):
    """The helper process ended before it answered."""


def limit_cpu(seconds: float) -> None:
    """Let the kernel end this process after `seconds` more of CPU time. 0 removes the limit."""
    global _limited
    _limited = seconds > 0
    signal.signal(SIGNAL, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def call(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """Return `function(*arguments)`. The call may take `seconds` of CPU time.

    If this process has a limit already, the function runs here, under the tighter limit. Otherwise
    it runs in a helper process: the function must be importable, and arguments and result must
    pickle. A helper process that ended is replaced.

    Raises: TooSlow if the call took longer; TimeoutError after PATIENCE * `seconds` of wall time;
        HelperDied if the helper process died; otherwise the function's own error.
    """
    if _limited:
        left = _remaining()
        tighter = min(left, seconds)
        limit_cpu(tighter)
        try:
            return function(*arguments)
        finally:
            limit_cpu(left - tighter + _remaining())
    global _helper
    with _lock:
        if not _helper or not _helper.usable():
            _helper = _Helper()
        succeeded, result = _helper.call(function, arguments, seconds)
    if succeeded:
        return result
    raise result


def _remaining() -> float:
    return signal.getitimer(signal.ITIMER_PROF)[0]


class _Helper:
    def __init__(self) -> None:
        self.owner = os.getpid()
        self.patience = _START
        self.process, self.pipe = start_python(__name__, _serve.__name__)

    def usable(self) -> bool:
        """Return whether the process runs, and this process, not the one that forked it, started it."""
        return self.owner == os.getpid() and self.process.poll() is None

    def call(self, function: object, arguments: object, seconds: float) -> tuple[bool, Any]:
        try:
            self.pipe.send((function, arguments, seconds))
            if self.pipe.poll(self.patience + PATIENCE * seconds):
                self.patience = 0.0
                answer: tuple[bool, Any] = self.pipe.recv()
                return answer
        except (EOFError, ConnectionError) as error:
            code = self.process.wait()
            if code == -SIGNAL:
                raise TooSlow(f"The call took more than {seconds:g} s of CPU time.") from None
            raise HelperDied(f"The helper process died with exit code {code}.") from error
        self.process.kill()
        self.process.wait()
        raise TimeoutError(f"The call took more than {PATIENCE * seconds:g} s of wall time.")


_helper: _Helper | None = None
_lock = Lock()
_limited = False  # set by `limit_cpu`; the timer alone may belong to a profiler


def _serve(descriptor: int) -> None:
    """Answer calls until the caller closes its end of the pipe, or dies."""
    limit_memory(_MEMORY)
    pipe = Connection(descriptor)
    while True:
        try:
            function, arguments, seconds = pipe.recv()
        except EOFError:
            return
        limit_cpu(seconds)
        try:
            answer = True, function(*arguments)
        except Exception as error:
            answer = False, error
        limit_cpu(0)
        pipe.send(answer)
