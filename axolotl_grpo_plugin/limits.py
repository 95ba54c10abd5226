"""Bound the CPU time of a call that a completion's text can make slow.

The kernel keeps the limit, so it also holds inside C code that never returns: a process that
passes it is ended by SIGPROF. Scoring processes (scoring/work.py) set a limit for each completion.
`call` gives the same to rewards that run anywhere else: plain TRL, `axolotl grpo score`, tests.
"""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from threading import Lock
from typing import Any

SIGNAL = signal.SIGPROF
PATIENCE = 5  # seconds by the clock for each second of CPU time
_MEMORY = 4 << 30  # bytes of the helper process
_START = 60.0  # seconds in which the helper process starts and imports a function
_SERVE = "import sys; from axolotl_grpo_plugin.limits import _serve; _serve(int(sys.argv[1]))"


class TooSlow(Exception):
    """A call took more CPU time than it may."""


class HelperDied(RuntimeError):
    """The helper process ended before it answered."""


def limit_cpu(seconds: float) -> None:
    """End this process after that many more seconds of CPU time. 0 removes the limit."""
    global _limited
    _limited = seconds > 0
    signal.signal(SIGNAL, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def call(function: Callable[..., Any], *arguments: Any, seconds: float) -> Any:
    """Return `function(*arguments)`, which may take that many seconds of CPU time.

    In a process that has a limit, the function runs there, under the tighter of the two limits.
    Elsewhere it runs in one helper process, which is replaced after its end. There, the function
    must be importable, and arguments and result must pickle.

    Raises: TooSlow if it took longer; TimeoutError after PATIENCE times as many seconds by the
        clock; HelperDied if the helper process died; else the error of the function.
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
        if _helper is None or _helper.process.poll() is not None or _helper.owner != os.getpid():
            _helper = _Helper()
        succeeded, result = _helper.call(function, arguments, seconds)
    if succeeded:
        return result
    raise result


def _remaining() -> float:
    return signal.getitimer(signal.ITIMER_PROF)[0]


class _Helper:
    def __init__(self) -> None:
        self.owner, self.patience = os.getpid(), _START
        self.pipe, theirs = Pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""},
            start_new_session=True,  # Ctrl-C is for the caller
        )
        theirs.close()

    def call(self, function: Any, arguments: Any, seconds: float) -> tuple[bool, Any]:
        try:
            self.pipe.send((function, arguments, seconds))
            if not self.pipe.poll(self.patience + PATIENCE * seconds):
                self.process.kill()
                self.process.wait()
                raise TimeoutError(f"the helper process did not answer in {PATIENCE * seconds:g} s")
            self.patience = 0.0
            return self.pipe.recv()  # type: ignore[no-any-return]
        except (EOFError, ConnectionError) as error:
            code = self.process.wait()
            if code == -SIGNAL:
                raise TooSlow(f"it took more than {seconds:g} s of CPU time") from None
            raise HelperDied(f"the helper process died, exit code {code}") from error


_helper: _Helper | None = None
_lock = Lock()
_limited = False  # by `limit_cpu`: a profiler may use the same timer


def _serve(descriptor: int) -> None:
    """Answer calls until the caller closes its end of the pipe, which its death does too."""
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
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
