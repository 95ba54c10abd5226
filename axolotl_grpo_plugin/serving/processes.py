"""Processes that end with their parent, however it ends. Linux only."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from threading import Thread
from types import FrameType
from typing import Any

import psutil

TERM_TIMEOUT = 15  # seconds from SIGTERM to SIGKILL; vLLM takes up to 14
KILL_TIMEOUT = 30  # seconds more, because a hanging driver can block SIGKILL
_AGAIN = 1  # seconds until `keep` starts a command again
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def die_with(parent: int) -> None:
    """Let the kernel send this process SIGTERM when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent ended before the call above
        os.kill(os.getpid(), signal.SIGTERM)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parent ends."""
    try:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    except OSError as error:
        if error.errno != errno.EINVAL:  # older gVisor lacks it; die_with works there
            raise


def spawn(
    command: Sequence[str], env: Mapping[str, str], output: Any = None, errors: Any = None
) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process. It has its own session, so Ctrl-C does not reach it.

    output: the file for stdout and stderr, by default those of this process. errors: for stderr only.
    """
    parent = os.getpid()

    def prepare() -> None:
        # A background job of a shell ignores SIGINT, but here SIGINT means: save and end.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        die_with(parent)

    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else errors,
        start_new_session=True,
        preexec_fn=prepare,
    )


def children(pid: int, recursive: bool = False) -> list[int]:
    """Return the living children of a process, or all its descendants."""
    try:
        found = psutil.Process(pid).children(recursive=recursive)
    except psutil.NoSuchProcess:
        return []
    return [each.pid for each in found if alive(each.pid)]


def alive(pid: int) -> bool:
    """Return whether the process runs (False for a zombie)."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_with(pid: int) -> None:
    """Kill this process when the process `pid`, which need not be its parent, ends."""

    def watch() -> None:
        while alive(pid):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=watch, daemon=True).start()


def end_below() -> None:
    """End all descendants of this process: SIGTERM, and SIGKILL after TERM_TIMEOUT seconds."""
    deadline = time.monotonic() + TERM_TIMEOUT
    terminated: set[int] = set()
    while left := children(os.getpid(), recursive=True):
        late = time.monotonic() - deadline
        if late > KILL_TIMEOUT:
            what = f"processes do not end: {left}. End them by hand."
            print(f"axolotl-grpo-plugin: {what}", file=sys.stderr)
            return
        for pid in left:
            if late > 0:
                _signal(pid, signal.SIGKILL)
            elif pid not in terminated:
                terminated.add(pid)
                _signal(pid, signal.SIGTERM)
        time.sleep(0.1)


def kill(pid: int) -> None:
    """Kill a process and all its descendants at once; of this process, only the descendants."""
    for doomed in [pid, *children(pid, recursive=True)]:
        if doomed != os.getpid():
            _signal(doomed, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it has ended already
        os.kill(pid, number)


def end_signals() -> list[signal.Signals]:
    """Return the signals that end a run, except ignored ones: `nohup` ignores SIGHUP."""
    return [each for each in _FORWARDED if signal.getsignal(each) != signal.SIG_IGN]


def guarded(work: Callable[[], int]) -> int:
    """Run `work` in a child process. Return its exit code, 128 + n if signal n ended it.

    If either process is killed, the other ends all descendants: the parent adopts those of a killed
    child, and the kernel signals the child when the parent ends. The parent passes SIGINT, SIGTERM
    and SIGHUP on.
    """
    adopt_orphans()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setsid()  # Ctrl-C comes once, through the parent
            die_with(parent)
            adopt_orphans()
            code = work()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            for number in _FORWARDED:
                signal.signal(number, signal.SIG_IGN)  # it is ending already
            end_below()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def forward(number: int, _: FrameType | None) -> None:
        _signal(child, number)

    before = {number: signal.signal(number, forward) for number in end_signals()}
    try:
        _, status = os.waitpid(child, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    end_below()
    return shell_code(os.waitstatus_to_exitcode(status))


def keep(command: str) -> None:
    """Run a shell command again whenever it ends, until this process ends. Called in a new process."""

    def work() -> int:
        while True:
            code = shell_code(subprocess.run(command, shell=True).returncode)
            line = f"axolotl-grpo-plugin: {command!r} ended with exit code {code}. It starts again."
            print(line, file=sys.stderr, flush=True)
            time.sleep(_AGAIN)

    sys.exit(guarded(work))


def shell_code(code: int) -> int:
    """Return an exit code as a shell reports it: 128 + n after signal n."""
    return 128 - code if code < 0 else code
