"""Run code that nobody has read: without network, home or project, within limits, ended whole.

A sandbox is one process that forks a job for each request; rewards keep it between completions.

    with Sandbox("def main(request, channel): print(request + 1)") as sandbox:
        sandbox.run(1).stdout  # "2\\n"

Bubblewrap (`bwrap`, 0.7 or newer) makes it where that works, else user namespaces by util-linux's
`unshare` (util-linux 2.36 or newer). Inside, /usr, the interpreter and its packages can be read, /tmp can be written, and
there is no more. What an attack on the kernel itself can do is not prevented: for that, a virtual machine.
"""

import json
import logging
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

from axolotl_grpo_plugin.sandbox.backends import BACKENDS, UNSAFE, Backend, below_tmp, visible

LOG = logging.getLogger(__name__)
_GRACE = 20.0  # seconds of wall time for an answer of the sandbox itself
_STARVED = 10  # times a job's seconds: as much wall time it may take on a busy machine
_TAIL = 4000  # bytes of stderr
_INSIDE = Path(__file__).with_name("inside.py")


class Limits(NamedTuple):
    """What one job may use.

    seconds: of the job's own time: its CPU time, all processes together, or the wall time minus
    the time it could have run but had no CPU, if that is longer. So sleep counts, and a busy
    machine does not. memory: bytes of address space in each process; times `processes` it is the most
    that a job can take. processes: threads too. output: bytes that it may print, send, or write to
    one file. disk: bytes of its scratch folder, which is in memory and holds a file per 16 KiB.
    """

    seconds: float = 6.0
    memory: int = 1 << 30
    processes: int = 16
    output: int = 8 << 20
    disk: int = 64 << 20


class SandboxError(RuntimeError):
    """There is no sandbox, or it broke: one line, with the fix where there is one."""


class Ended(NamedTuple):
    """How a job ended.

    exit: its exit status, or minus the signal that ended it. stdout, stderr: what it printed, of
    stderr the end. late: its seconds were over. flood: it printed or sent more than it may. seconds:
    of its own time that it took, 0.0 if it was stopped.
    """

    exit: int
    stdout: str
    stderr: str
    late: bool
    flood: bool
    seconds: float


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
        """Start a job: `request` is plain data, `seconds` its own time in place of the limit's.

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
    """A job that runs. Its messages are JSON; a job that sends anything else is stopped.

    Its time is measured while this end waits for it, so two jobs that talk to each other do not pay
    for one another. SandboxError if it had too little CPU to be judged.
    """

    def __init__(
        self, inside: "_Inside", request: Any, stdin: str, seconds: float, most: int
    ) -> None:
        self._inside, self._most, self._flood, self.ended = inside, most, False, False
        self._seconds, self._waited, self._late = seconds, 0.0, False
        self._before, self._done, self._bytes = _delay(), None, bytearray()
        self._files = [open(os.memfd_create(name), "rb+", 0) for name in ("in", "out", "err")]  # noqa: SIM115
        self._files[0].write(stdin.encode(errors="replace"))
        self._files[0].seek(0)
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        with theirs:
            own = [*(each.fileno() for each in self._files), theirs.fileno()]
            inside.send({"seconds": seconds}, own)
        self.send(request)

    def send(self, message: Any) -> None:
        """Send plain data; to a job that has ended, nothing."""
        data = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while data and self._wait(self._channel, select.POLLOUT):
                data = data[self._channel.send(data) :]
        except OSError:
            self._channel.close()

    def receive(self) -> Any:
        """Return the job's next message; None if there will be none."""
        try:
            while b"\n" not in self._bytes:
                if len(self._bytes) >= self._most:
                    self._flood = True
                    return None
                data = self._wait(self._channel) and self._channel.recv(1 << 16)
                if not data:
                    return None
                self._bytes += data
            line, _, self._bytes = self._bytes.partition(b"\n")
            return json.loads(line)
        except (OSError, ValueError, RecursionError):
            return None

    def end(self, stop: bool = False) -> Ended:
        """Return how it ended: by itself, or stopped here."""
        self.ended = True
        self._channel.close()
        if stop or not self._wait(self._inside.control):
            self._inside.send("stop")
        done = self._done or self._inside.receive()
        if done is None:
            self._inside.close()
            raise SandboxError("the sandbox itself ended: " + self._inside.last_words())
        stdout, stderr = self._printed()
        own = self._own_time(done)
        return Ended(done["exit"], stdout, stderr, self._late, self._flood, own)

    def _wait(self, source: socket.socket, event: int = select.POLLIN) -> bool:
        """Wait for `source`; False when the job's time is over."""
        if source.fileno() < 0 or self._late:
            return not self._late
        poll = select.poll()
        poll.register(source, event)
        began, earlier, left = time.monotonic(), self._waited, self._seconds - self._waited
        while self._done is None and not poll.poll(max(left, 0.01) * 1000):
            self._waited = earlier + time.monotonic() - began
            self._inside.send("how")
            how = self._inside.receive()
            if how is None or "exit" in how:
                self._done = how
                break
            left = self._seconds - self._own_time(how)
            if left <= 0:
                self._late = True
                break
            if self._waited > _STARVED * self._seconds + _GRACE:
                self._inside.close()
                raise SandboxError(
                    "this machine is too busy: a job had too little CPU to be judged"
                )
        self._waited = earlier + time.monotonic() - began
        return not self._late

    def _own_time(self, spent: dict[str, float]) -> float:
        delay = spent["delay"] + _delay() - self._before
        return max(spent["cpu"], self._waited - delay)

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
        self.control, theirs = socket.socketpair()
        try:
            command, uid = backend.command(_INSIDE.read_text())
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
        self._read = self.control.makefile("rb")
        packages = [path for path in sys.path if visible(path)]
        first = {**first, "isolated": backend.isolated, "paths": packages}
        self.send({**first, "uid": uid, "below": below_tmp()})
        if self.receive(60.0) is None:
            self.close()
            raise SandboxError(self.last_words())

    def lives(self) -> bool:
        return self.control.fileno() >= 0 and self._process.poll() is None

    def send(self, message: Any, descriptors: Sequence[int] = ()) -> None:
        line = json.dumps(message).encode() + b"\n"
        try:
            self.control.settimeout(_GRACE)
            sent = socket.send_fds(self.control, [line], descriptors)
            self.control.sendall(line[sent:])
        except OSError as error:
            self.close()
            raise SandboxError(f"the sandbox does not listen: {self.last_words()}") from error

    def receive(self, seconds: float = _GRACE) -> Any:
        """What it says next; None where it says nothing in that time, or has ended."""
        try:
            self.control.settimeout(max(0.01, seconds))
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
        self.control.close()  # it ends by itself, and takes its folder along
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _delay() -> float:
    """Return the seconds that this thread could have run but had no CPU; 0.0 if unknown."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


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
