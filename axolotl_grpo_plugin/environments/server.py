"""The process that starts, limits and ends the processes of tools and environments.

It forks one process per tool, and one per object of an environment. It is the "subreaper" of them all: the
kernel hands it each process that lost its parent, and it ends those after each call. It runs no user code
itself, except imports.
"""

import asyncio
import ctypes
import inspect
import json
import os
import pickle
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.environments.base import EpisodeLost

MAKING = 60.0  # seconds that making an object may take
_TICK = 0.05  # seconds between looks at a silent process
_LONGEST = 1 << 20  # bytes of an answer
_TRACE = 4000  # characters of a traceback to keep
_DEATHSIG, _SUBREAPER = 1, 36  # prctl's options
_PLAIN = (str, int, float, bool, list, tuple, dict)


class ToolRef(NamedTuple):
    """A tool or environment as a config names it: its path, and its arguments if it is a class."""

    path: str
    arguments: dict[str, Any]

    def imported(self) -> Any:
        """Return the function or class. Raises: any error of the import, or AttributeError."""
        module, _, name = self.path.rpartition(".")
        return getattr(import_module(module), name)

    def load(self) -> Any:
        """Return `imported()`, or the class that its `_ready` makes of the arguments, with more tools."""
        loaded = self.imported()
        return loaded._ready(**self.arguments) if hasattr(loaded, "_ready") else loaded

    def for_process(self) -> "ToolRef":
        """Return the reference with the arguments that only the trainer's process knows."""
        return self._replace(arguments={**self.arguments, **getattr(self.load(), "_found", {})})


class Limits(NamedTuple):
    """Limits of one call: seconds of wall time, bytes of memory, characters of the answer."""

    seconds: float
    memory: int
    characters: int


class Call(NamedTuple):
    """A request. number: of the tool. method: of its object, "" for a function.

    slot: names the process. make: start it if there is none. arguments: pickled.
    """

    number: int
    method: str
    slot: str
    make: bool
    arguments: bytes


class Answer(NamedTuple):
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


class _Process:
    """A fork of this process. connection: it answers there, one message per call."""

    def __init__(self, run: Callable[[Connection], None], folder: Path, memory: int):
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.connection, theirs = Pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.ended = False
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.connection.close()
                _limit(self.folder, memory)
                run(theirs)
            except EOFError:  # the server has ended
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        theirs.close()

    def has_ended(self) -> bool:
        self.ended = self.ended or os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return self.ended

    def receive(self, seconds: float, trainer: Connection) -> Answer:
        """Return the next answer. End this whole server if the trainer has ended."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ready = wait([self.connection, trainer], min(left, _TICK))
            if trainer in ready:
                raise EOFError
            if self.connection in ready:
                with suppress(EOFError, OSError, ValueError, TypeError):
                    return Answer(**json.loads(self.connection.recv_bytes(_LONGEST)))
                return Answer("died", error="its process died")
            if self.has_ended():
                return Answer("died", error="its process died")
        return Answer("timeout", error=f"it took more than {seconds:g} seconds")

    def left_something(self) -> bool:
        """Return whether a call left a process or a temporary file behind."""
        return bool(_children(self.pid)) or any(self.folder.iterdir())

    def kill(self) -> None:
        if not self.has_ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.connection.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class _Server:
    def __init__(self, trainer: Connection, refs: list[ToolRef], limits: Limits, folder: Path):
        self.trainer, self.refs, self.limits, self.folder = trainer, refs, limits, folder
        self.processes: dict[str, _Process] = {}

    def answer(self, call: Call) -> Answer:
        try:
            return self._answer(call)
        finally:
            self.end_others()

    def end_others(self) -> None:
        """End the processes that lost their parent. Their children become this process's own."""
        known = {each.pid for each in self.processes.values()}
        while others := _children(os.getpid()) - known:
            for pid in others:
                with suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def _answer(self, call: Call) -> Answer:
        process = self.processes.get(call.slot)
        if process and process.has_ended():
            self.drop(call.slot)
            process = None
        if process is None:
            if not call.make:
                return Answer("gone", error="its process ended before")
            process = self.processes[call.slot] = self._start(self.refs[call.number])
            made = process.receive(MAKING, self.trainer)
            if made.status != "ok":
                self.drop(call.slot)
                return made
        try:
            process.connection.send(call)
            answer = process.receive(self.limits.seconds, self.trainer)
        except OSError:
            answer = Answer("died", error="its process died")
        # An object may keep processes and files. A function's next call gets a clean process.
        if answer.status in ("timeout", "died") or (not call.method and process.left_something()):
            self.drop(call.slot)
        return answer

    def _start(self, ref: ToolRef) -> _Process:
        def run(theirs: Connection) -> None:
            self.trainer.close()
            for other in self.processes.values():
                other.connection.close()
            _serve(theirs, _Target(ref, self.limits.characters))

        return _Process(run, self.folder, self.limits.memory)

    def drop(self, slot: str) -> None:
        self.processes.pop(slot).kill()


class _Target:
    """A function, or the object of a class, in its own process."""

    def __init__(self, ref: ToolRef, characters: int):
        self.ref, self.characters = ref, characters
        self.called: Any = None
        self.loop = asyncio.Runner()  # one for all calls, so that connections stay open

    def make(self) -> Answer:
        """Load the function, or make the object of the class."""
        try:
            self.called = self.ref.imported()
            if inspect.isclass(self.called):
                self.called = self.called(**self.ref.arguments)
            return Answer("ok")
        except BaseException as error:
            return self._failed(error)

    def answer(self, call: Call) -> Answer:
        try:
            function = getattr(self.called, call.method) if call.method else self.called
            result = function(**pickle.loads(call.arguments))
            if inspect.isawaitable(result):
                result = self.loop.run(_awaited(result))
            value: str | float | None
            if call.method == "get_reward":
                value = None if result is None else float(result)
            elif result is None and call.method == "reset":
                value = None
            else:
                value = _text(result, self.characters)
            return Answer("ok", value, done=bool(getattr(self.called, "done", False)))
        except BaseException as error:  # SystemExit is no Exception
            return self._failed(error)

    def _failed(self, error: BaseException) -> Answer:
        message = _unicode(str(error) or type(error).__name__)[: self.characters]
        status = "lost" if isinstance(error, EpisodeLost) else "error"
        return Answer(status, error=message, trace=traceback.format_exc()[-_TRACE:])


async def _awaited(result: Any) -> Any:
    return await result


def _text(result: Any, characters: int) -> str:
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


def _serve(theirs: Connection, target: _Target) -> None:
    own, answer = os.getpid(), target.make()
    while os.getpid() == own:  # else a tool forked, and both processes returned
        # JSON, because unpickling what this process sends would be unsafe.
        theirs.send_bytes(json.dumps(answer._asdict()).encode())
        answer = target.answer(theirs.recv())


def _limit(folder: Path, memory: int) -> None:
    """Limit this process, and let it end with its parent. `folder` is for its temporary files."""
    _prctl(_DEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _children(pid: int) -> set[int]:
    files = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for file in files for child in file.read_text().split()}


def serve(descriptor: int) -> None:
    """Answer calls until the trainer closes its end of the pipe, or dies. Called in a new process."""
    trainer = Connection(descriptor)
    _prctl(_SUBREAPER, 1)
    refs, limits, name = trainer.recv()
    folder = Path(name)
    server = _Server(trainer, refs, limits, folder)
    for ref in refs:
        try:
            ref.imported()
        except Exception:  # each call will fail with the same error
            traceback.print_exc()
    try:
        trainer.send("ready")
        while True:
            trainer.send(server.answer(trainer.recv()))
    except (EOFError, OSError):
        pass
    finally:
        for slot in [*server.processes]:
            server.drop(slot)
        server.end_others()
        shutil.rmtree(folder, ignore_errors=True)
