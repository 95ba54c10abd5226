"""One run: the server, and when it serves, the trainer; whichever way it ends, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from rich.console import Console
from rich.markup import escape

from axolotl_grpo_plugin.serving.server import Server
from axolotl_grpo_plugin.serving.tree import below, spawn

SAVING = 60  # seconds that the trainer has for saving the model, when it is told to stop


class Stopped(Exception):
    """A signal asks this run to end."""

    def __init__(self, number: int):
        self.number = number


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


def supervise(start: Callable[[], Server], train: Sequence[str], env: Mapping[str, str]) -> int:
    """Start the server, when it serves run the trainer, and return the exit code for both.

    The trainer's own; 1 where the server died; 128 + n after signal n, on which the trainer saves.
    Processes may be left: `tree.guarded` ends them.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    trainer: subprocess.Popen[bytes] | None = None
    try:
        server = start()
        if not _boots(server):
            return _died(server, "while it started")
        trainer = spawn(train, env)
        while trainer.poll() is None and server.ended() is None:
            time.sleep(0.2)
        if server.ended() is not None:
            _died(server, "in mid-training")
            _let_save(trainer)
        code = trainer.poll()
        return 1 if not code and server.ended() is not None else _shell(code or 0)
    except Stopped as stopped:
        name = signal.Signals(stopped.number).name
        _say(f"{name}: the trainer saves, then all ends; once more ends it at once")
        if trainer:
            _let_save(trainer)
        return 128 + stopped.number


def _shell(code: int) -> int:
    return 128 - code if code < 0 else code


def _say(line: str) -> None:
    print(f"axolotl-grpo-plugin: {line}", file=sys.stderr, flush=True)


def _died(server: Server, when: str) -> int:
    _say(server.death(when))
    return 1


def _boots(server: Server) -> bool:
    """Whether the server came up; shows how far it is, for it takes a minute or more."""
    console, begin = Console(stderr=True, highlight=False), time.monotonic()
    console.print(f"vLLM starts (log: {server.log})")
    with console.status("vLLM starts") as status:
        while not server.ready():
            if server.ended() is not None:
                return False
            said = escape(server.last_words(1)[:120])
            status.update(f"vLLM starts, {time.monotonic() - begin:.0f} s: [dim]{said}")
            time.sleep(0.5)
    seconds = time.monotonic() - begin
    console.print(f"vLLM serves on {server.host}:{server.port} after {seconds:.0f} s")
    return True


def _let_save(trainer: subprocess.Popen[bytes]) -> None:
    """Axolotl saves the model on SIGINT. A second signal to us, or SAVING seconds, end the wait."""
    processes = [each.pid for each in below([trainer.pid])]
    try:
        if processes:
            os.killpg(trainer.pid, signal.SIGINT)  # as a terminal does
        deadline = time.monotonic() + SAVING
        while below(processes) and time.monotonic() < deadline:
            time.sleep(0.2)
    except ProcessLookupError:
        return  # it has just ended
    except Stopped:
        _say("at once")
