"""Run code that nobody has read: without network, home or project, within limits, ended whole.

A sandbox is one process that forks a job for each request; rewards keep it between completions.

    with Sandbox("def main(request, channel): print(request + 1)") as sandbox:
        sandbox.run(1).stdout  # "2\\n"

Bubblewrap (`bwrap`, 0.7 or newer) makes it where that works, else user namespaces by util-linux's
`unshare`. Inside, /usr, the interpreter and its packages can be read, /tmp can be written, and
there is no more. What an attack on the kernel itself can do is not prevented: for that, a virtual machine.
"""

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from axolotl_grpo_plugin.sandbox.backends import BACKENDS, UNSAFE, Backend, visible

LOG = logging.getLogger(__name__)
_GRACE = 5.0  # seconds, beyond a job's own, after which its sandbox is given up
_TAIL = 4000  # bytes of stderr
_INSIDE = Path(__file__).with_name("inside.py")


class Limits(NamedTuple):
    """What one job may use.

    seconds: of wall time, and of CPU time in each process. memory: bytes of address space in each
    process; times `processes` it is what a job can take at most. processes: threads too. output:
    bytes that it may print, send, or write to one file. disk: bytes of its scratch folder, which is
    in memory.
    """

    seconds: float = 6.0
    memory: int = 1 << 30
    processes: int = 16
    output: int = 8 << 20
    disk: int = 64 << 20


class SandboxError(RuntimeError):
    """There is no sandbox, or it broke: one line, with the mend where there is one."""


class Ended(NamedTuple):
    """How a job ended.

    exit: its exit status, or minus the signal that ended it. stdout, stderr: what it printed, of
    stderr the end. late: its seconds were over. flood: it printed or sent more than it may.
    """

    exit: int
    stdout: str
    stderr: str
    late: bool
    flood: bool


class Sandbox:
    """One sandbox. Not for several threads at once; a child of this process needs its own.

    script: the text of a Python module, ours, whose `main(request, channel)` a job calls;
    `channel.send(data)` and `channel.receive()` talk to the job's other end, `Job`.
    imports: modules that are imported once, before the first job. allow_unsafe: where no sandbox
    works, run jobs in plain processes, with limits and a warning.

    Raises: SandboxError where there is no sandbox, with all that was tried.
    """

    def __init__(
        self,
        script: str,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        imports: Sequence[str] = (),
        allow_unsafe: bool = False,
    ):
        self._first = {"script": script, "imports": list(imports), "limits": limits._asdict()}
        self.limits = limits
        self._backend = _works(allow_unsafe)
        self._inside: _Inside | None = None
        self._job: Job | None = None

    def start(self, request: Any, stdin: str = "", seconds: float | None = None) -> "Job":
        """Start a job: `request` is plain data, `seconds` its wall time in place of the limit's.

        One at a time: one that was not ended is, with its sandbox.

        Raises: SandboxError where the sandbox, not the job, fails.
        """
        left = self._job is not None and not self._job.ended
        if self._inside is None or left or not self._inside.lives():
            self.close()
            self._inside = _Inside(self._backend, self._first)
        seconds = self.limits.seconds if seconds is None else min(seconds, self.limits.seconds)
        self._job = Job(self._inside, request, stdin, seconds, self.limits.output)
        return self._job

    def run(self, request: Any, stdin: str = "", seconds: float | None = None) -> Ended:
        """Run a job to its end."""
        return self.start(request, stdin, seconds).end()

    def call(self, request: Any, seconds: float | None = None) -> tuple[Any, Ended]:
        """Run a job; the first message that it sends (None where it sends none), and its end."""
        job = self.start(request, seconds=seconds)
        answer = job.receive()
        return answer, job.end(stop=True)

    def close(self) -> None:
        """End it, and every process in it."""
        if self._inside:
            self._inside.close()
            self._inside = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class Job:
    """A job that runs. Its messages are JSON; a job that sends anything else is stopped."""

    def __init__(
        self, inside: "_Inside", request: Any, stdin: str, seconds: float, most: int
    ) -> None:
        self._inside, self._most, self._flood, self.ended = inside, most, False, False
        self._ends = time.monotonic() + seconds + _GRACE
        self._files = [open(os.memfd_create(name), "rb+", 0) for name in ("in", "out", "err")]  # noqa: SIM115
        self._files[0].write(stdin.encode(errors="replace"))
        self._files[0].seek(0)
        self._channel, theirs = socket.socketpair()
        self._read = self._channel.makefile("rb")
        with theirs:
            own = [*(each.fileno() for each in self._files), theirs.fileno()]
            inside.send({"seconds": seconds}, own)
        self.send(request)

    def send(self, message: Any) -> None:
        """Send plain data; to a job that has ended, nothing."""
        self._channel.settimeout(max(0.01, self._ends - time.monotonic()))
        try:
            self._channel.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self._channel.close()

    def receive(self) -> Any:
        """The job's next message; None where there will be none."""
        self._channel.settimeout(max(0.01, self._ends - time.monotonic()))
        try:
            line = self._read.readline(self._most)
            self._flood = self._flood or (len(line) == self._most and not line.endswith(b"\n"))
            return json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError, RecursionError):
            return None

    def end(self, stop: bool = False) -> Ended:
        """How it ended: by itself, or stopped here."""
        self.ended = True
        self._read.close()
        self._channel.close()
        if stop:
            self._inside.send("stop")
        done = self._inside.receive(self._ends - time.monotonic())
        if done is None:
            self._inside.close()
            raise SandboxError("the sandbox itself ended: " + self._inside.last_words())
        if not done["clean"]:
            self._inside.close()
        stdout, stderr = self._printed()
        return Ended(done["exit"], stdout, stderr, done["late"], self._flood)

    def _printed(self) -> Iterator[str]:
        """Its stdout, and the end of its stderr."""
        _, *files = self._files
        for file, tail in zip(files, (self._most, _TAIL), strict=True):
            size = os.fstat(file.fileno()).st_size
            self._flood = self._flood or size >= self._most
            file.seek(max(0, size - tail))
            yield file.read().decode(errors="replace")
        for file in self._files:
            file.close()


def ready(allow_unsafe: bool = False) -> None:
    """Raises SandboxError, in one line, where no sandbox works here and none is not allowed.

    What a reward that uses one gives to `@reward(ready=...)`.
    """
    _works(allow_unsafe)


@cache
def _works(allow_unsafe: bool) -> Backend:
    """The first backend that works, tried for real."""
    tried = []
    for backend in BACKENDS:
        try:
            inside = _Inside(backend, {"script": "", "imports": [], "limits": Limits()._asdict()})
        except SandboxError as error:
            tried.append(f"{backend.name}: {error}")
        else:
            inside.close()
            return backend
    if not allow_unsafe:
        raise SandboxError(
            f"no sandbox for programs works here ({'; '.join(tried)}). Install bubblewrap (apt-get "
            "install bubblewrap) where user namespaces are allowed, or set allow_unsafe: true to "
            "run them without one"
        )
    LOG.warning(
        "no sandbox works here (%s), and allow_unsafe is set: programs run as this user, with "
        "the network, and all files and processes that this user has; only their time, memory and "
        "output are limited",
        "; ".join(tried),
    )
    return UNSAFE


class _Inside:
    """The process in the sandbox: what is sent and received, and its end."""

    def __init__(self, backend: Backend, first: dict[str, Any]):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - until it is closed
        self._control, theirs = socket.socketpair()
        limits = first["limits"]
        try:
            command, uid = backend.command(_INSIDE.read_text(), limits["disk"])
            with theirs:
                self._process = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    env=_environment(),
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            raise SandboxError(str(error)) from error
        self._read = self._control.makefile("rb")
        packages = [path for path in sys.path if visible(path)]
        self.send({**first, "uid": uid, "isolated": backend.isolated, "paths": packages})
        if self.receive(60.0) is None:
            self.close()
            raise SandboxError(self.last_words())

    def lives(self) -> bool:
        return self._control.fileno() >= 0 and self._process.poll() is None

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        line = json.dumps(message).encode() + b"\n"
        try:
            self._control.settimeout(_GRACE)
            sent = socket.send_fds(self._control, [line], descriptors)
            self._control.sendall(line[sent:])
        except OSError as error:
            self.close()
            raise SandboxError(f"the sandbox does not listen: {self.last_words()}") from error

    def receive(self, seconds: float) -> Any:
        """What it says next; None where it says nothing in that time, or has ended."""
        try:
            self._control.settimeout(max(0.01, seconds))
            line = self._read.readline()
        except (OSError, ValueError):  # ValueError: it was closed here
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it did not say why"

    def close(self) -> None:
        self._read.close()
        self._control.close()  # it ends by itself, and takes its folder along
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _environment() -> dict[str, str]:
    """All that a job sees of the environment."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return kept | {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",  # a program gets the same score each time
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUTF8": "1",
    }
