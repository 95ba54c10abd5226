"""Processes that end with their parent, however it ends. Linux only."""

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from threading import Thread
from types import FrameType
from typing import Any

import psutil

PATIENCE = 15  # seconds from SIGTERM to SIGKILL; vLLM takes up to 14
GIVE_UP = 30  # seconds more, because a hanging driver can block SIGKILL
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def die_with(parent: int) -> None:
    """Let the kernel send this process SIGTERM when its parent, the process `parent`, ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)  # the parent ended before the call above


def adopt_orphans() -> None:
    """Keep descendants below this process when processes in between end."""
    try:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    except OSError as error:
        if error.errno != errno.EINVAL:  # older gVisor lacks it; die_with works there
            raise


def spawn(
    command: Sequence[str], env: Mapping[str, str], output: Any = None
) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process, in its own session so that Ctrl-C does not reach it.

    output: the file for stdout and stderr, by default those of this process.
    """
    parent = os.getpid()

    def first() -> None:
        # A shell ignores SIGINT in background jobs; here it means: save and end.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        die_with(parent)

    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
        preexec_fn=first,
    )


def children(pid: int, recursive: bool = False) -> list[int]:
    """Return the living children of a process, or all its descendants."""
    try:
        found = psutil.Process(pid).children(recursive=recursive)
    except psutil.NoSuchProcess:
        return []
    return [each.pid for each in found if alive(each.pid)]


def alive(pid: int) -> bool:
    """Return whether the process exists and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_with(pid: int) -> None:
    """Kill this process when another one ends, whatever processes are in between."""

    def watch() -> None:
        while alive(pid):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=watch, daemon=True).start()


def end_below() -> None:
    """End all descendants of this process: SIGTERM, and SIGKILL after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    told: set[int] = set()
    while left := children(os.getpid(), recursive=True):
        late = time.monotonic() > deadline
        if time.monotonic() > deadline + GIVE_UP:
            print(
                f"axolotl-grpo-plugin: processes do not end: {left}. End them by hand.",
                file=sys.stderr,
            )
            return
        for pid in left:
            if late or pid not in told:
                told.add(pid)
                _signal(pid, signal.SIGKILL if late else signal.SIGTERM)
        time.sleep(0.1)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has ended already


def heard() -> list[signal.Signals]:
    """Return the signals that ask to end, except ignored ones: `nohup` ignores SIGHUP."""
    return [each for each in _FORWARDED if signal.getsignal(each) != signal.SIG_IGN]


def guarded(work: Callable[[], int]) -> int:
    """Run `work` in a child process. Return its exit code, 128 + n if signal n ended it.

    If either process is killed, the other ends all that was started: the parent adopts the
    descendants of a killed child, and the kernel tells the child when the parent ends.
    SIGINT, SIGTERM and SIGHUP are passed on.
    """
    adopt_orphans()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setsid()  # the terminal's Ctrl-C comes once, through the parent
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

    before = {number: signal.signal(number, forward) for number in heard()}
    try:
        _, status = os.waitpid(child, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    end_below()
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code
