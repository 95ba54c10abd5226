"""The process that starts, limits and ends the processes of tools and environments.

It forks one process per tool, and one per object of an environment. It is the "subreaper" of them all: the
kernel hands it each process that lost its parent, and it ends those after each call. It runs no user code
itself, except imports.
"""

import asyncio
import inspect
import json
import os
import pickle
import shutil
import signal
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.environments.base import EpisodeLost
from axolotl_grpo_plugin.processes import adopt_orphans, limit_memory, start_fork

MAKING = 60.0  # seconds that making an object may take
_TICK = 0.05  # seconds between looks at a silent process
_LONGEST = 1 << 20  # bytes of an answer
_TRACE = 4000  # characters of a traceback to keep
_PLAIN = (str, int, float, bool, list, tuple, dict)


class ToolRef(NamedTuple):
    """A tool or environment as a config names it: its path, and its arguments if it is a class."""

    path: str
    arguments: dict[str, object]

    def load(self) -> Any:
        """Return the function or class. Raises: any error of the import, or AttributeError."""
        module, _, name = self.path.rpartition(".")
        return getattr(import_module(module), name)


class ToolLimits(NamedTuple):
    """The limits of one call: seconds of wall time, bytes of memory, characters of the answer."""

    seconds: float
    memory: int
    characters: int


class ToolCall(NamedTuple):
    """A request. number: of the tool. method: of its object, "" for a function.

    slot: names the process. make: start it if there is none. arguments: pickled.
    """

    number: int
    method: str
    slot: str
    make: bool
    arguments: bytes


class ToolAnswer(NamedTuple):
    """The result of a call.

    status: "ok", "error" (it raised), "lost" (it raised EpisodeLost), "timeout", "died", or "gone" (its
        process ended before).
    value: the text of a tool; of `reset` and `get_reward` also None or a number. error: one line.
    """

    status: str
    value: Any = None
    error: str = ""
    trace: str = ""
    done: bool = False


_DIED = ToolAnswer("died", error="its process died")


class _ToolProcess(NamedTuple):
    """A fork of this process with a folder of its own. It answers on a pipe, one message per call."""

    fork: ForkProcess
    pipe: Connection
    folder: Path

    def receive(self, seconds: float, trainer: Connection) -> ToolAnswer:
        """Return the next answer. End this whole server if the trainer has ended."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready = wait([self.pipe, trainer], min(left, _TICK))
            if trainer in ready:
                raise EOFError
            if self.pipe in ready:
                with suppress(EOFError, OSError, ValueError, TypeError):
                    return ToolAnswer(**json.loads(self.pipe.recv_bytes(_LONGEST)))
                return _DIED
            # A process that a tool left behind can keep the pipe of a dead process open.
            if not self.fork.is_alive():
                return _DIED
        return ToolAnswer("timeout", error=f"it took more than {seconds:g} seconds")

    def kill(self) -> None:
        self.fork.kill()
        self.fork.join()
        self.pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class _ToolServer:
    trainer: Connection
    refs: list[ToolRef]
    limits: ToolLimits
    folder: str
    processes: dict[str, _ToolProcess] = field(default_factory=dict)

    def end_others(self) -> None:
        """End the processes that lost their parent. Their children become this process's own."""
        known = {process.fork.pid for process in self.processes.values()}
        while others := _children(os.getpid()) - known:
            for pid in others:
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def answer(self, call: ToolCall) -> ToolAnswer:
        process = self.processes.get(call.slot)
        if process and not process.fork.is_alive():
            self.drop(call.slot)
            process = None
        if process is None:
            if not call.make:
                return ToolAnswer("gone", error="its process ended before")
            process = self.processes[call.slot] = self._start(self.refs[call.number])
            made = process.receive(MAKING, self.trainer)
            if made.status != "ok":
                self.drop(call.slot)
                return made
        try:
            process.pipe.send(call)
            answer = process.receive(self.limits.seconds, self.trainer)
        except OSError:
            answer = _DIED
        ended = answer.status in ("timeout", "died")
        if not ended and not call.method:
            # An object may keep processes and files. A function's next call gets a clean process.
            ended = bool(_children(process.fork.pid)) or any(process.folder.iterdir())
        if ended:
            self.drop(call.slot)
        return answer

    def _start(self, ref: ToolRef) -> _ToolProcess:
        folder = tempfile.mkdtemp(dir=self.folder)

        def begin(pipe: Connection) -> None:
            limit_memory(self.limits.memory)
            os.environ["TMPDIR"] = tempfile.tempdir = folder
            self.trainer.close()
            for other in self.processes.values():
                other.pipe.close()
            _serve(pipe, _Target(ref, self.limits.characters))

        return _ToolProcess(*start_fork(begin), Path(folder))

    def drop(self, slot: str) -> None:
        self.processes.pop(slot).kill()


@dataclass
class _Target:
    """A function, or the object of a class, in its own process.

    loop: one for all calls, so that connections stay open.
    """

    ref: ToolRef
    characters: int
    called: Any = None
    loop: asyncio.Runner = field(default_factory=asyncio.Runner)

    def answer(self, call: ToolCall | None) -> ToolAnswer:
        """Answer a call. None: load the function, or make the object of the class."""
        try:
            if call:
                return self._answer(call)
            self.called = self.ref.load()
            if inspect.isclass(self.called):
                self.called = self.called(**self.ref.arguments)
            return ToolAnswer("ok")
        except BaseException as error:  # SystemExit is no Exception
            return ToolAnswer(
                "lost" if isinstance(error, EpisodeLost) else "error",
                error=_unicode(str(error) or type(error).__name__)[: self.characters],
                trace=traceback.format_exc()[-_TRACE:],
            )

    def _answer(self, call: ToolCall) -> ToolAnswer:
        function = getattr(self.called, call.method or "__call__")
        result = function(**pickle.loads(call.arguments))
        if inspect.isawaitable(result):
            result = self.loop.get_loop().run_until_complete(result)
        if call.method == "get_reward" and result is not None:
            result = float(result)
        elif result is not None or call.method not in ("reset", "get_reward"):
            result = _text(result, self.characters)
        return ToolAnswer("ok", result, done=bool(getattr(self.called, "done", False)))


def _text(result: object, characters: int) -> str:
    """Return the text of a tool's result, as TRL makes it. Raise an error for any other result."""
    if not isinstance(result, _PLAIN):
        raise TypeError(f"The tool returned {type(result).__name__}, not text.")
    text = str(result)
    if len(text) > characters:
        raise ValueError(
            f"The tool returned {len(text):,} characters, and an answer may have {characters:,}."
        )
    return _unicode(text)


def _unicode(text: str) -> str:
    return text.encode(errors="replace").decode()  # a tokenizer refuses half of a character


def _serve(pipe: Connection, target: _Target) -> None:
    own = os.getpid()
    answer = target.answer(None)
    with suppress(EOFError):  # the server has ended
        while os.getpid() == own:  # else a tool forked, and both processes returned
            # JSON, because unpickling what this process sends would be unsafe.
            pipe.send_bytes(json.dumps(answer._asdict()).encode())
            answer = target.answer(pipe.recv())
    os._exit(0)  # without the exit functions of a tool's modules, which may wait


def _children(pid: int | None) -> set[int]:
    """Return the living children of a process. psutil would read all processes, after each call."""
    found = set[int]()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        found.update(map(int, file.read_text().split()))
    return found


def serve(descriptor: int) -> None:
    """Answer calls until the trainer closes its end of the pipe, or dies. It runs in a new process."""
    trainer = Connection(descriptor)
    adopt_orphans()
    server = _ToolServer(trainer, *trainer.recv())
    for ref in server.refs:
        try:
            ref.load()
        except Exception:  # each call will fail with the same error
            traceback.print_exc()
    try:
        trainer.send("ready")
        while True:
            answer = server.answer(trainer.recv())
            server.end_others()
            trainer.send(answer)
    except (EOFError, OSError):
        pass  # the trainer has ended
    finally:
        for slot in list(server.processes):
            server.drop(slot)
        server.end_others()
        shutil.rmtree(server.folder, ignore_errors=True)
