"""Supervise one run: the trainer, and the server that it requests."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from axolotl_grpo_plugin.processes import alive, children, end_signals, kill
from axolotl_grpo_plugin.serving.address import serves
from axolotl_grpo_plugin.serving.output import TrainerProcess
from axolotl_grpo_plugin.serving.placement import Words
from axolotl_grpo_plugin.serving.request import FILE, SUPERVISOR, Request, publish, served
from axolotl_grpo_plugin.serving.saver import files_of
from axolotl_grpo_plugin.serving.server import VLLMServer, say

_POLL_EVERY = 0.2  # seconds
BOOT_TIMEOUT = 1800  # seconds that a training node waits for the first node's server
_SAVE_TIMEOUT = 60.0  # seconds that the trainer has to save the model when it must end
_REPEATED = 1.0  # seconds in which the same signal comes again: from `timeout`, and from a launcher that forwards it


class Stopped(Exception):
    """A signal ends this run."""

    def __init__(self, number: int):
        self.number = number


@dataclass
class Supervisor:
    """Starts trainer and server as one run.

    serve: starts the requested server. train, env: the trainer's command and environment.

    The exit code is the trainer's, 1 if the server died, or 128 + n after signal n. On a signal the
    trainer saves its model. `processes.guarded` ends the processes that are left.
    """

    serve: Callable[[Request], VLLMServer]
    train: Words
    env: Mapping[str, str]
    output_dir: str
    _trainer: TrainerProcess | None = None
    # The file for the exit code, on a training node beside a serving one.
    _exit_code: Path | None = None
    _stopped_at: float = -_REPEATED  # time of the last signal

    def run(self, work: Callable[[], int]) -> int:
        """Call `work`, which calls one of the methods below, and end the run on a signal."""
        for number in end_signals():
            signal.signal(number, self._stop)
        try:
            return work()
        except Stopped as stopped:
            name = signal.Signals(stopped.number).name
            saves, timeout = "the trainer saves what it has trained", _SAVE_TIMEOUT
            if self._saves_together():
                saves, timeout = "the step ends, and all ranks save", inf
            say(f"{name}: {saves}, then the run ends. Another signal ends it at once.")
            self._let_save(timeout)
            return self._publish(128 + stopped.number)

    def _stop(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        repeated = now - self._stopped_at < _REPEATED
        self._stopped_at = now
        if not repeated:
            raise Stopped(number)

    def on_one_machine(self) -> int:
        """Start the trainer, and the server when the trainer requests it."""
        with TemporaryDirectory() as folder:
            file = Path(folder, "server.json")
            trainer = self._start({FILE: str(file)})
            while trainer.runs() and not file.exists():
                time.sleep(_POLL_EVERY)
            if not file.exists():
                return trainer.end()
            request = Request.read(file)
            server = self.serve(request)
            if code := self._boot(server):
                return code
            served(file).touch()
            while trainer.runs():
                if not server.runs():
                    return self._died(server, "in mid-training")
                time.sleep(_POLL_EVERY)
            return trainer.end()

    def on_the_first_node(self, request: Request, exit_codes: Sequence[Path]) -> int:
        """Serve until all training nodes have written their exit code, or one has failed.

        On a signal, it serves until they have saved. exit_codes: the training nodes' files. Returns the
        largest code, or 1 if the server died.
        """
        for file in exit_codes:
            file.unlink(missing_ok=True)  # of an earlier try of the same job
        server = self.serve(request)
        if code := self._boot(server):
            return code
        try:
            return self._serve_until_end(server, exit_codes)
        except Stopped as stopped:
            name = signal.Signals(stopped.number).name
            say(f"{name}: the trainers save, then the server ends. Another signal ends it at once.")
            return self._serve_until_end(server, exit_codes) or 128 + stopped.number

    def _serve_until_end(self, server: VLLMServer, exit_codes: Sequence[Path]) -> int:
        """Wait until all training nodes have written their exit code, or one has failed. Return the largest code."""
        while server.runs():
            codes = [int(file.read_text()) for file in exit_codes if file.exists()]
            if any(codes) or len(codes) == len(exit_codes):
                say(f"the trainers ended with exit code {max(codes)}")
                return max(codes)
            time.sleep(_POLL_EVERY)
        return self._died(server, "in mid-training")

    def on_a_training_node(self, host: str, port: int, exit_code: Path) -> int:
        """Train on this node when the first node's server answers, and write the exit code to a file.

        Returns the exit code, or 1 if no server answers within BOOT_TIMEOUT seconds.
        """
        self._exit_code = exit_code
        say(f"waiting for vLLM on {host}:{port}")
        deadline = time.monotonic() + BOOT_TIMEOUT
        while not serves(host, port):
            if time.monotonic() > deadline:
                say(
                    f"no vLLM server answers on {host}:{port} after {BOOT_TIMEOUT} s. "
                    "See the first node's log."
                )
                return 1
            time.sleep(_POLL_EVERY)
        return self._publish(self._start({}).end())

    def _publish(self, code: int) -> int:
        """Write the exit code of a training node for the first node. Return it."""
        if self._exit_code:
            publish(self._exit_code, str(code))
        return code

    def _start(self, more: dict[str, str]) -> TrainerProcess:
        """Start the trainer. more: added to its environment."""
        env = {**self.env, SUPERVISOR: str(os.getpid()), **more}
        self._trainer = TrainerProcess(self.train, env, self.output_dir)
        return self._trainer

    def _boot(self, server: VLLMServer) -> int:
        """Wait until the server serves or the trainer ends. Return 1 if the server died, else 0."""
        trainer = self._trainer
        say(f"vLLM starts (log: {server.log})")
        if server.boot(lambda: trainer is None or trainer.runs()):
            return 0
        return self._died(server, "while it started")

    def _died(self, server: VLLMServer, when: str) -> int:
        say(server.explain_end(when))
        self._let_save()
        if self._saves_together():  # the step may need the server
            say(files_of(self.output_dir))
        return 1

    def _saves_together(self) -> bool:
        """Return whether the ranks of the trainer save together after a step."""
        saver = self._trainer.saver() if self._trainer else None
        return bool(saver and saver.together)

    def _let_save(self, timeout: float = _SAVE_TIMEOUT) -> None:
        """Send the trainer SIGINT, on which it saves. Wait until it ends or a second signal comes."""
        trainer = self._trainer
        if not trainer or not trainer.runs():
            return
        try:
            saver = trainer.saver()
            if saver and alive(saver.pid):
                # Not the launcher, because torch's kills its ranks 30 s after the signal.
                os.kill(saver.pid, signal.SIGINT)
                # If one rank saves alone, the others and the launcher wait for it in vain.
                saving = [trainer.pid if saver.together else saver.pid]
            else:
                saving = [trainer.pid, *children(trainer.pid)]
                os.killpg(trainer.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
            deadline = time.monotonic() + timeout
            while any(map(alive, saving)) and time.monotonic() < deadline:
                time.sleep(_POLL_EVERY)
            if saver and saver.together:  # the trainer's own errors are hidden since its step ended
                say(files_of(self.output_dir))
        except Stopped:
            kill(trainer.pid)
            say(f"the run ends at once. {files_of(self.output_dir)}")
