"""Supervise one run: the trainer, and the server that it requests."""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from axolotl_grpo_plugin.serving.address import server_info
from axolotl_grpo_plugin.serving.output import Trainer
from axolotl_grpo_plugin.serving.processes import alive, children, end_signals
from axolotl_grpo_plugin.serving.request import FILE, SUPERVISOR, Request, publish, served
from axolotl_grpo_plugin.serving.server import Server

_LOG_EVERY = 15  # seconds between two log lines while vLLM starts
_POLL_EVERY = 0.2  # seconds
BOOT_TIMEOUT = 1800  # seconds that a training node waits for the first node's server
_SAVE_TIMEOUT = 60  # seconds that the trainer has to save the model when it must end


class Stopped(Exception):
    """A signal ends this run."""

    def __init__(self, number: int):
        self.number = number


def _stop(number: int, _: FrameType | None) -> None:
    raise Stopped(number)


class Supervisor:
    """Starts trainer and server as one run.

    The exit code is the trainer's, 1 if the server died, or 128 + n after signal n. On a signal the
    trainer saves its model. `processes.guarded` ends the processes that are left.
    """

    def __init__(self, serve: Callable[[Request], Server], output_dir: str):
        self._serve, self._output_dir = serve, output_dir
        self._trainer: Trainer | None = None
        self._rank = 0  # id of the process that saves the model, 0 while unknown

    def run(self, work: Callable[["Supervisor"], int]) -> int:
        """Call one of the methods below, and end the run on a signal."""
        for number in end_signals():
            signal.signal(number, _stop)
        try:
            return work(self)
        except Stopped as stopped:
            name = signal.Signals(stopped.number).name
            say(f"{name}: the trainer saves, then the run ends. Another signal ends it at once.")
            self._let_save()
            return 128 + stopped.number

    def on_one_machine(self, train: Sequence[str], env: Mapping[str, str]) -> int:
        """Start the trainer, and the server when the trainer requests it."""
        with TemporaryDirectory() as folder:
            file = Path(folder, "server.json")
            own = {FILE: str(file), SUPERVISOR: str(os.getpid())}
            trainer = self._start(train, {**env, **own})
            while trainer.poll() is None and not file.exists():
                time.sleep(_POLL_EVERY)
            if not file.exists():
                return trainer.end()
            request = Request.read(file)
            self._rank = request.pid
            server = self._serve(request)
            if code := self._boot(server, trainer):
                return code
            served(file).touch()
            return self._watch(server, trainer)

    def by_ray(self, request: Request, train: Sequence[str], env: Mapping[str, str]) -> int:
        """Start the server, then the trainer on Ray's workers."""
        server = self._serve(request)
        if code := self._boot(server):
            return code
        return self._watch(server, self._start(train, env))

    def on_the_first_node(self, request: Request, exit_codes: Sequence[Path]) -> int:
        """Serve until all training nodes have written their exit code, or one has failed.

        exit_codes: the training nodes' files. Returns the largest code, or 1 if the server died.
        """
        for each in exit_codes:
            each.unlink(missing_ok=True)  # of an earlier try of the same job
        server = self._serve(request)
        if code := self._boot(server):
            return code
        while server.exit_code() is None:
            codes = [int(each.read_text()) for each in exit_codes if each.exists()]
            if any(codes) or len(codes) == len(exit_codes):
                say(f"the trainers ended with exit code {max(codes)}")
                return max(codes)
            time.sleep(_POLL_EVERY)
        return self._died(server, "in mid-training")

    def on_a_training_node(
        self, train: Sequence[str], env: Mapping[str, str], host: str, port: int, exit_code: Path
    ) -> int:
        """Train on this node when the first node's server answers, and write the exit code to a file.

        Returns the exit code, or 1 if no server answers within BOOT_TIMEOUT seconds.
        """
        say(f"waiting for vLLM on {host}:{port}")
        deadline = time.monotonic() + BOOT_TIMEOUT
        while not ((info := server_info(host, port)) and info.models):
            if time.monotonic() > deadline:
                say(
                    f"no vLLM server answers on {host}:{port} after {BOOT_TIMEOUT} s. "
                    "See the first node's log."
                )
                return 1
            time.sleep(_POLL_EVERY)
        code = self._start(train, env).end()
        publish(exit_code, str(code))
        return code

    def _start(self, train: Sequence[str], env: Mapping[str, str]) -> Trainer:
        self._trainer = Trainer(train, env, self._output_dir)
        return self._trainer

    def _boot(self, server: Server, trainer: Trainer | None = None) -> int:
        """Wait until the server serves or the trainer ends. Return 1 if the server died, else 0."""
        begin, logged = time.monotonic(), 0.0
        say(f"vLLM starts (log: {server.log})")
        while not server.ready():
            seconds = time.monotonic() - begin
            if server.exit_code() is not None:
                return self._died(server, "while it started")
            if trainer and trainer.poll() is not None:
                return 0
            if seconds > logged + _LOG_EVERY:
                logged = seconds
                say(f"vLLM starts, {seconds:.0f} s: {''.join(server.lines()[-1:])[:120]}")
            time.sleep(_POLL_EVERY)
        say(f"vLLM serves on {server.host}:{server.port} after {time.monotonic() - begin:.0f} s")
        return 0

    def _watch(self, server: Server, trainer: Trainer) -> int:
        while trainer.poll() is None:
            if server.exit_code() is not None:
                return self._died(server, "in mid-training")
            time.sleep(_POLL_EVERY)
        return trainer.end()

    def _died(self, server: Server, when: str) -> int:
        say(server.explain_end(when))
        self._let_save()
        return 1

    def _let_save(self) -> None:
        """Send the trainer SIGINT, on which Axolotl saves. Wait until it ends or a second signal comes."""
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
            deadline = time.monotonic() + _SAVE_TIMEOUT
            while any(map(alive, saving)) and time.monotonic() < deadline:
                time.sleep(_POLL_EVERY)
        except Stopped:
            say("the run ends at once")


def say(line: str) -> None:
    """Print a line to stderr."""
    print(f"axolotl-grpo-plugin: {line}", file=sys.stderr, flush=True)
