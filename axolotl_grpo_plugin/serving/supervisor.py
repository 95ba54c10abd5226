"""One run: the trainer, and the server that it asks for; whichever way it ends, nothing is left."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from axolotl_grpo_plugin.serving.request import FILE, SUPERVISOR, Request
from axolotl_grpo_plugin.serving.server import Server
from axolotl_grpo_plugin.serving.tree import alive, children, spawn

PROGRESS = 15  # seconds between two lines while vLLM starts, which takes a minute or more
SAVING = 60  # seconds that the trainer has for saving the model, when it is told to stop


class Stopped(Exception):
    """A signal asks this run to end."""

    def __init__(self, number: int):
        self.number = number


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


def supervise(
    train: Sequence[str], env: Mapping[str, str], serve: Callable[[Request], Server]
) -> int:
    """Run the trainer, start the server when it asks for one, and return the exit code for both.

    The trainer's own; 1 where the server died; 128 + n after signal n, on which the trainer saves.
    Processes may be left: `tree.guarded` ends them.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    trainer: subprocess.Popen[bytes] | None = None
    try:
        with TemporaryDirectory() as folder:
            asked = Path(folder, "server.json")
            own = {FILE: str(asked), SUPERVISOR: str(os.getpid())}
            trainer = spawn(train, {**env, **own})
            while trainer.poll() is None and not asked.exists():
                time.sleep(0.2)
            if not asked.exists():
                return _shell(trainer.wait())
            server = serve(Request.read(asked))
        return _watch(trainer, server)
    except Stopped as stopped:
        name = signal.Signals(stopped.number).name
        say(f"{name}: the trainer saves, then all ends; once more ends it at once")
        if trainer:
            _let_save(trainer)
        return 128 + stopped.number


def _watch(trainer: subprocess.Popen[bytes], server: Server) -> int:
    begin, shown, serves = time.monotonic(), 0.0, False
    say(f"vLLM starts (log: {server.log})")
    while trainer.poll() is None and server.ended() is None:
        seconds = time.monotonic() - begin
        if not serves and (serves := server.ready()):
            say(f"vLLM serves on {server.host}:{server.port} after {seconds:.0f} s")
        elif not serves and seconds > shown + PROGRESS:
            shown = seconds
            say(f"vLLM starts, {seconds:.0f} s: {server.last_words(1)[:120]}")
        time.sleep(0.2)
    if server.ended() is None:
        return _shell(trainer.wait())
    say(server.death("in mid-training" if serves else "while it started"))
    _let_save(trainer)
    return 1


def _shell(code: int) -> int:
    return 128 - code if code < 0 else code


def say(line: str) -> None:
    """A line of ours among the trainer's."""
    print(f"axolotl-grpo-plugin: {line}", file=sys.stderr, flush=True)


def _let_save(trainer: subprocess.Popen[bytes]) -> None:
    """Axolotl saves the model on SIGINT. A second signal to us, or SAVING seconds, end the wait."""
    # The launcher may end at once; its children, the ranks, are the ones that save.
    saving = [trainer.pid, *children(trainer.pid)]
    try:
        os.killpg(trainer.pid, signal.SIGINT)  # as a terminal does
        deadline = time.monotonic() + SAVING
        while any(map(alive, saving)) and time.monotonic() < deadline:
            time.sleep(0.2)
    except ProcessLookupError:
        return  # it has just ended
    except Stopped:
        say("at once")
