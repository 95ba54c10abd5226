"""One command in a container, whichever way it ends: nothing that it starts outlives it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from axolotl_grpo_plugin.serving.processes import adopt_orphans, alive, children, spawn
from axolotl_grpo_plugin.serving.supervisor import say

SAVING = 20  # seconds from an interruption to the kill; Modal kills the container after 30
KILLING = 2  # seconds more, for what a driver that hangs keeps from ending


def to_the_end(command: Sequence[str]) -> int:
    """Run it; its output is this process' own. Its exit code, 128 + n where signal n ended it.

    An exception that interrupts the wait goes on, once the command has saved and all has ended.
    """
    adopt_orphans()
    process = spawn(command, {**os.environ, "PYTHONUNBUFFERED": "1"})
    # Modal's own way is SIGINT. One that ends a container as Docker does is to lose nothing either.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = process.wait()
    finally:
        with _undisturbed():
            _end(process)
        signal.signal(signal.SIGTERM, before)
    return _said(code)


def _said(code: int) -> int:
    """An exit code as a shell has it; a signal's is put in words."""
    number = code - 128 if code > 128 else -code
    if number not in signal.valid_signals():
        return code
    name = signal.Signals(number).name
    why = " (memory ran out, most often: raise `memory` in cloud.yaml)" if name == "SIGKILL" else ""
    say(f"axolotl was ended by {name}{why}")
    return 128 + number


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The signals by which Modal interrupts are not heard: it is ending."""
    ours = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in ours}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let it save, as Ctrl-C in a terminal does, and kill what is left after SAVING seconds."""
    kill, left = time.monotonic(), children(os.getpid(), recursive=True)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
        kill += SAVING
    while left and time.monotonic() < kill + KILLING:
        for pid in left if time.monotonic() > kill else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        # Those of before, too: gVisor had no adoption once, and a launcher ends before its ranks.
        left = [pid for pid in {*left, *children(os.getpid(), recursive=True)} if alive(pid)]
