"""Supervise one run: the trainer, and the server that it asks for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from axolotl_grpo_plugin.serving.address import answer
from axolotl_grpo_plugin.serving.processes import alive, children, heard, spawn
from axolotl_grpo_plugin.serving.request import FILE, SUPERVISOR, Request, served
from axolotl_grpo_plugin.serving.server import Server

PROGRESS = 15  # seconds between two log lines while vLLM starts
STEP = 0.2  # seconds between two polls
BOOT = 1800  # seconds that a training node waits for the first node's server
SAVING = 60  # seconds that the trainer has to save the model when it is told to stop


class Stopped(Exception):
    """A signal told this run to end."""

    def __init__(self, number: int):
        self.number = number


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


class Supervisor:
    """Starts trainer and server as one run.

    The exit code is the trainer's, 1 if the server died, or 128 + n after signal n. On a signal the
    trainer saves its model. `tree.guarded` ends processes that are left.
    """

    def __init__(self, serve: Callable[[Request], Server]):
        self._serve = serve
        self._trainer: subprocess.Popen[bytes] | None = None
        self._rank = 0  # id of the process that saves the model, 0 until it is known

    def run(self, work: Callable[["Supervisor"], int]) -> int:
        """Call one of the methods below, and stop on signals."""
        for number in heard():
            signal.signal(number, _stop)
        try:
            return work(self)
        except Stopped as stopped:
            name = signal.Signals(stopped.number).name
            say(f"{name}: the trainer saves, then the run ends. Another signal ends it at once.")
            self._let_save()
            return 128 + stopped.number

    def on_one_machine(self, train: Sequence[str], env: Mapping[str, str]) -> int:
        """Start the trainer, and the server when the trainer asks for it."""
        with TemporaryDirectory() as folder:
            asked = Path(folder, "server.json")
            own = {FILE: str(asked), SUPERVISOR: str(os.getpid())}
            trainer = self._trainer = spawn(train, {**env, **own})
            while trainer.poll() is None and not asked.exists():
                time.sleep(STEP)
            if not asked.exists():
                return _shell(trainer.wait())
            request = Request.read(asked)
            self._rank = request.pid
            server = self._serve(request)
            if code := self._boot(server, trainer):
                return code
            served(asked).touch()
            return self._watch(server, trainer)

    def by_ray(self, request: Request, train: Sequence[str], env: Mapping[str, str]) -> int:
        """Start the server, then the trainer on Ray's workers."""
        server = self._serve(request)
        if code := self._boot(server):
            return code
        self._trainer = spawn(train, env)
        return self._watch(server, self._trainer)

    def on_the_first_node(self, request: Request, ended: Sequence[Path]) -> int:
        """Serve until each training node has written its exit code, or one of them a bad one.

        ended: the files of the training nodes. Return the largest code.
        """
        for each in ended:
            each.unlink(missing_ok=True)  # of an earlier try of the same job
        server = self._serve(request)
        if code := self._boot(server):
            return code
        while True:
            codes = [int(each.read_text()) for each in ended if each.exists()]
            if any(codes) or len(codes) == len(ended):
                say(f"the trainers ended with exit code {max(codes)}")
                return max(codes)
            if server.ended() is not None:
                return self._died(server, "in mid-training")
            time.sleep(STEP)

    def on_a_training_node(
        self, train: Sequence[str], env: Mapping[str, str], host: str, port: int, ended: Path
    ) -> int:
        """Train on this node as soon as the first node's server answers.

        ended: the file for the exit code. Return the code, 1 if no server answers in BOOT seconds.
        """
        say(f"waiting for vLLM on {host}:{port}")
        deadline = time.monotonic() + BOOT
        while not ((there := answer(host, port)) and there.models):
            if time.monotonic() > deadline:
                say(
                    f"no vLLM server answers on {host}:{port} after {BOOT} s; see the first node's log"
                )
                return 1
            time.sleep(STEP)
        self._trainer = spawn(train, env)
        code = _shell(self._trainer.wait())
        part = ended.with_suffix(".part")
        part.write_text(str(code))
        part.rename(ended)
        return code

    def _boot(self, server: Server, trainer: subprocess.Popen[bytes] | None = None) -> int:
        """Wait until the server serves or the trainer ends. Return 1 if the server died, else 0."""
        begin, shown = time.monotonic(), 0.0
        say(f"vLLM starts (log: {server.log})")
        while not server.ready():
            seconds = time.monotonic() - begin
            if server.ended() is not None:
                return self._died(server, "while it started")
            if trainer and trainer.poll() is not None:
                return 0
            if seconds > shown + PROGRESS:
                shown = seconds
                say(f"vLLM starts, {seconds:.0f} s: {server.last_words(1)[:120]}")
            time.sleep(STEP)
        say(f"vLLM serves on {server.host}:{server.port} after {time.monotonic() - begin:.0f} s")
        return 0

    def _watch(self, server: Server, trainer: subprocess.Popen[bytes]) -> int:
        while trainer.poll() is None:
            if server.ended() is not None:
                return self._died(server, "in mid-training")
            time.sleep(STEP)
        return _shell(trainer.wait())

    def _died(self, server: Server, when: str) -> int:
        say(server.death(when))
        self._let_save()
        return 1

    def _let_save(self) -> None:
        """Let the trainer save: Axolotl does on SIGINT. A second signal, or SAVING seconds, end the wait."""
        trainer = self._trainer
        if not trainer or trainer.poll() is not None:
            return
        try:
            if self._rank and alive(self._rank):
                # Not the launcher, because torch's kills its ranks 30 s after the signal.
                os.kill(self._rank, signal.SIGINT)
                saving = [self._rank]
            else:
                saving = [trainer.pid, *children(trainer.pid)]
                os.killpg(trainer.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
            deadline = time.monotonic() + SAVING
            while any(map(alive, saving)) and time.monotonic() < deadline:
                time.sleep(STEP)
        except Stopped:
            say("ended at once")


def _shell(code: int) -> int:
    """Return an exit code as a shell reports it."""
    return 128 - code if code < 0 else code


def say(line: str) -> None:
    """Print a line to stderr."""
    print(f"axolotl-grpo-plugin: {line}", file=sys.stderr, flush=True)
