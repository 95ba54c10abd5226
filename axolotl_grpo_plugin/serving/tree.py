"""Processes that end with the one that started them, whatever ends that one. Linux only."""

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

PATIENCE = 15  # seconds from SIGTERM to SIGKILL; vLLM took up to 14
GIVE_UP = 30  # seconds more, for what a driver that hangs keeps from ending
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def die_with(parent: int) -> None:
    """Let the kernel send this process SIGTERM when its parent, the process `parent`, is gone."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)  # it was gone before the kernel knew


def adopt_orphans() -> None:
    """Let what descends from this process stay below it, when processes in between end."""
    try:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    except OSError as error:
        if error.errno != errno.EINVAL:  # gVisor had no such thing once; die_with still holds there
            raise


def spawn(
    command: Sequence[str], env: Mapping[str, str], output: Any = None
) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own (Ctrl-C does not reach it); it ends with this process.

    output: the file for stdout and stderr; this process' own by default.
    """
    parent = os.getpid()

    def first() -> None:
        # A shell starts a background job with SIGINT ignored; here it means: save, and end.
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
    """The children of a process, or all its descendants; those that have ended are left out."""
    try:
        found = psutil.Process(pid).children(recursive=recursive)
    except psutil.NoSuchProcess:
        return []
    return [each.pid for each in found if alive(each.pid)]


def alive(pid: int) -> bool:
    """Whether that process is there and no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end_with(pid: int) -> None:
    """From now on this process is killed once that other one is gone, whatever stands between them."""

    def watch() -> None:
        while alive(pid):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=watch, daemon=True).start()


def end_below() -> None:
    """End every descendant of this process: SIGTERM, and SIGKILL after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    told: set[int] = set()
    while left := children(os.getpid(), recursive=True):
        late = time.monotonic() > deadline
        if time.monotonic() > deadline + GIVE_UP:
            print(f"axolotl-grpo-plugin: these do not end: {left}", file=sys.stderr)
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
        return  # it ended by itself


def heard() -> list[signal.Signals]:
    """The signals that ask to end, but for those that are ignored: `nohup` does that."""
    return [each for each in _FORWARDED if signal.getsignal(each) != signal.SIG_IGN]


def guarded(work: Callable[[], int]) -> int:
    """Run `work` in a child process; its exit code, 128 + n when signal n ended it.

    Of the two processes either outlives the other, and ends all that was started: the parent waits
    and adopts what a killed child leaves, the child has the kernel's word when the parent is killed.
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
            os.setsid()  # the terminal's Ctrl-C comes once, by the parent
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
                signal.signal(number, signal.SIG_IGN)  # it is ending
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
