"""To find all that a run has started, wherever it has gone."""

import signal

import psutil


def hear_ctrl_c():
    """In a child, before it starts: as from a terminal, though the tests may run in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def marked(mark):
    """The processes that have MARK=mark in their environment; it is inherited by all below."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MARK") == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
