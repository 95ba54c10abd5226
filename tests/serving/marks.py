"""Find all processes that a run has started."""

import signal
import time
from contextlib import suppress

import psutil


def hear_ctrl_c():
    """Let a child receive SIGINT, even if the tests run in the background. For preexec_fn."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(condition, seconds=20):
    """Wait until the condition holds, for at most this time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def marked(mark, command=""):
    """Return the processes with MARK=mark in their environment, and `command` in their command line."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            same = process.environ().get("MARK") == mark and command in " ".join(process.cmdline())
            if same and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
