"""Bound the CPU time of a call that a completion's text can make slow.

The kernel enforces the limit with SIGPROF, so it also ends C code that never returns. Scoring processes
(scoring/worker.py) set a limit for each completion.
"""

import signal

SIGNAL = signal.SIGPROF
PATIENCE = 5  # seconds of wall time per second of CPU time


class TooSlow(Exception):
    """A call took more CPU time than it may."""


def limit_cpu(seconds: float) -> None:
    """Let the kernel end this process after `seconds` more of CPU time. 0 removes the limit."""
    signal.signal(SIGNAL, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)
