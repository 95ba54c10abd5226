"""Run untrusted code without network, home folder or project, within limits.

A sandbox is one process that forks a job for each request. Rewards keep it between completions.

    with Sandbox("def main(request, channel): print(request + 1)") as sandbox:
        sandbox.run(1).stdout  # "2\\n"

Bubblewrap (`bwrap` 0.7 or newer) makes the sandbox if it works here, else `unshare` (util-linux 2.36
or newer). A job can read /usr, the interpreter and its packages, and can write to /tmp; it sees nothing
else. The sandbox does not stop an attack on the kernel itself; a virtual machine does.
"""

import json
import logging
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from axolotl_grpo_plugin.sandbox.backends import (
    BACKENDS,
    UNSAFE,
    Backend,
    below_tmp,
    unused_user,
    visible_packages,
)

LOG = logging.getLogger(__name__)
_GRACE = 20.0  # seconds of wall time in which the server must answer
_STARVED = 10  # on a busy machine, a job may take this many times its seconds of wall time
_TAIL = 4000  # bytes of stderr to keep
_LONGEST_MESSAGE = 1 << 20  # bytes: the kernel's buffer of a socket is smaller


Message = dict[str, Any]  # to or from the server


class Limits(NamedTuple):
    """The resources that one job may use.

    seconds: the job's own time. It is the CPU time of all its processes, or the wall time minus the
        time in which it was ready to run but had no CPU, whichever is longer. So sleep counts, and
        waiting for a busy machine does not.
    memory: bytes of address space per process.
    processes: the number of processes and threads.
    output: bytes that the job may print, send, or write to one file.
    disk: bytes of the job's /tmp, which is in memory. It may hold one file per 16 KiB.
    """

    seconds: float = 6.0
    memory: int = 1 << 30
    processes: int = 16
    output: int = 8 << 20
    disk: int = 64 << 20


class SandboxError(RuntimeError):
    """No sandbox works here, or the sandbox itself failed. The message is one line."""


class Ended(NamedTuple):
    """The end of a job.

    exit: the exit status, or minus the signal that ended the job.
    stdout, stderr: the printed text; of stderr only the end.
    late: the job ran out of time.
    flood: the job printed or sent more than `Limits.output`.
    seconds: the job's own time (see `Limits`); without its CPU time if it was stopped.
    """

    exit: int
    stdout: str
    stderr: str
    late: bool
    flood: bool
    seconds: float


class Sandbox:
    """Runs one job at a time. Use one per thread, and one per process.

    Args:
        script: the source of a trusted Python module. A job calls its `main(request, channel)`;
            `channel.send(data)` and `channel.receive()` talk to the `Job` object here.
        imports: modules to import once, before the first job.
        allow_unsafe: if no sandbox works here, run jobs in plain processes, with limits and a warning.
        parts: the sources of modules of this package that the script imports, in the order of their imports.

    Raises: SandboxError if no sandbox works here; it names everything that was tried.
    """

    def __init__(
        self,
        script: str,
        limits: Limits = Limits(),  # noqa: B008 - immutable
        imports: Sequence[str] = (),
        allow_unsafe: bool = False,
        parts: Mapping[str, str] | None = None,
    ):
        self._setup = {
            "script": script,
            "parts": {f"{__name__}.{name}": source for name, source in (parts or {}).items()},
            "imports": list(imports),
            "limits": limits._asdict(),
        }
        self.limits = limits
        self._backend = _find_backend(allow_unsafe)
        self._server: _Server | None = None
        self._job: Job | None = None

    def start(self, request: object, stdin: str = "", seconds: float | None = None) -> "Job":
        """Start a job. A job that was started before and not ended is ended now.

        request: JSON data. seconds: a tighter limit than the sandbox's own.

        Raises: SandboxError if the sandbox, not the job, fails.
        """
        abandoned = self._job is not None and not self._job.ended
        if self._server is None or abandoned or not self._server.is_alive():
            self.close()
            self._server = _Server(self._backend, self._setup)
        longest = self.limits.seconds
        if seconds is not None:
            longest = min(longest, seconds)
        self._job = Job(self._server, request, stdin, longest, self.limits.output)
        return self._job

    def run(self, request: object, stdin: str = "", seconds: float | None = None) -> Ended:
        """Run a job to its end."""
        return self.start(request, stdin, seconds).end()

    def call(self, request: object) -> tuple[Any, Ended]:
        """Run a job until its first message. Return the message, None if it sent none, and the end."""
        job = self.start(request)
        return job.receive(), job.end(stop=True)

    def close(self) -> None:
        """End every process in the sandbox. The next job starts a new one."""
        if self._server:
            self._server.close()
            self._server = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Job:
    """A running job. Messages are JSON.

    Its time counts only while this process waits for it. So two jobs that talk to each other do not
    pay for each other's time.

    Raises: SandboxError if the sandbox fails, or if the job got too little CPU to be judged.
    """

    def __init__(
        self, server: "_Server", request: object, stdin: str, seconds: float, output: int
    ) -> None:
        self.ended = False
        self._server = server
        self._seconds = seconds
        self._output = output
        self._waited = 0.0  # seconds in which this process waited for the job
        self._is_late = False
        self._is_flood = False
        self._last_usage: Message | None = None  # with the exit status
        self._received = bytearray()
        self._delay_before = _delay()
        self._stdout = _memory_file("out")
        self._stderr = _memory_file("err")
        self._channel, theirs = socket.socketpair()
        self._channel.setblocking(False)
        with theirs, _memory_file("in") as given:
            given.write(stdin.encode(errors="replace"))
            given.seek(0)
            server.send({"seconds": seconds}, [given, self._stdout, self._stderr, theirs])
        self.send(request)

    def send(self, message: object) -> None:
        """Send JSON data. A job that has ended gets nothing."""
        data = memoryview(json.dumps(message).encode() + b"\n")
        try:
            while data and self._wait(self._channel, select.POLLOUT):
                data = data[self._channel.send(data) :]
        except OSError:
            self._channel.close()

    def receive(self) -> Any:
        """Return the job's next message. Return None if the job ended, or sent no JSON."""
        try:
            while b"\n" not in self._received:
                if len(self._received) >= self._output:
                    self._is_flood = True
                    return None
                if not self._wait(self._channel):
                    return None
                data = self._channel.recv(1 << 16)
                if not data:
                    return None
                self._received += data
            line, _, self._received = self._received.partition(b"\n")
            return json.loads(line)
        except (OSError, ValueError, RecursionError):
            return None

    def end(self, stop: bool = False) -> Ended:
        """Wait for the end of the job, or stop it now."""
        self.ended = True
        self._channel.close()
        if stop or not self._wait(self._server.control):
            self._server.send("stop")
        usage = self._last_usage or self._server.receive()
        if usage is None:
            self._server.close()
            raise SandboxError(f"The sandbox itself ended: {self._server.last_error()}.")
        stdout = self._read(self._stdout, self._output)
        stderr = self._read(self._stderr, _TAIL)
        seconds = self._own_time(usage)
        return Ended(usage["exit"], stdout, stderr, self._is_late, self._is_flood, seconds)

    def _wait(self, source: socket.socket, event: int = select.POLLIN) -> bool:
        """Wait for `source`; False when the job's time is over."""
        if source.fileno() < 0 or self._is_late:
            return not self._is_late
        poll = select.poll()
        poll.register(source, event)
        began = time.monotonic() - self._waited
        left = self._seconds - self._waited
        while not self._last_usage and not poll.poll(max(left, 0.01) * 1000):
            self._waited = time.monotonic() - began
            self._server.send("usage")
            usage = self._server.receive()
            if usage is None or "exit" in usage:
                self._last_usage = usage
                break
            left = self._seconds - self._own_time(usage)
            if left <= 0:
                self._is_late = True
                break
            if self._waited > _STARVED * self._seconds + _GRACE:
                self._server.close()
                raise SandboxError(
                    "This machine is too busy: a job got too little CPU to be judged."
                )
        self._waited = time.monotonic() - began
        return not self._is_late

    def _own_time(self, usage: dict[str, float]) -> float:
        delay = usage["delay"] + _delay() - self._delay_before
        return max(usage["cpu"], self._waited - delay)

    def _read(self, file: IO[bytes], longest: int) -> str:
        """Return the last bytes of the printed text, and close the file."""
        with file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - longest))
            text = file.read().decode(errors="replace")
        if size >= self._output:
            self._is_flood = True
        return text


def ready(allow_unsafe: bool = False) -> None:
    """Check that a sandbox works here, for `@reward(ready=...)`.

    Raises: SandboxError if no sandbox works and `allow_unsafe` is False.
    """
    _find_backend(allow_unsafe)


@cache
def _find_backend(allow_unsafe: bool) -> Backend:
    """Return the first backend that can start a sandbox."""
    failures = []
    for backend in BACKENDS:
        try:
            setup = {"script": "", "parts": {}, "imports": [], "limits": Limits()._asdict()}
            server = _Server(backend, setup)
        except SandboxError as error:
            failures.append(f"{backend.name}: {str(error).rstrip('.')}")
        else:
            server.close()
            return backend
    causes = "; ".join(failures)
    if not allow_unsafe:
        raise SandboxError(
            f"No sandbox works here ({causes}). Install bubblewrap (apt-get install bubblewrap) on a "
            "machine that allows user namespaces, or set allow_unsafe: true to run programs without "
            "a sandbox."
        )
    LOG.warning(
        "No sandbox works here (%s), and allow_unsafe is set. Programs run as this user, and can use "
        "the network, and all files and processes of this user. Only their time, memory and output "
        "are limited.",
        causes,
    )
    return UNSAFE


class _Server:
    """The server process in the sandbox (inside.py), seen from outside."""

    def __init__(self, backend: Backend, setup: Message):
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - until it is closed
        self.control, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        uid = unused_user()
        try:
            with theirs:
                self._process = subprocess.Popen(
                    backend.command(uid),
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    env=_environment(),
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            raise SandboxError(str(error)) from error
        self.send(
            {
                **setup,
                "uid": uid,
                "isolated": backend is not UNSAFE,
                "packages": visible_packages(),
                "below_tmp": below_tmp(),
            }
        )
        if self.receive(60.0) is None:
            self.close()
            raise SandboxError(self.last_error())

    def is_alive(self) -> bool:
        return self.control.fileno() >= 0 and self._process.poll() is None

    def send(self, message: object, files: Sequence[Any] = ()) -> None:
        descriptors = [file.fileno() for file in files]
        try:
            self.control.settimeout(_GRACE)
            socket.send_fds(self.control, [json.dumps(message).encode()], descriptors)
        except OSError as error:
            self.close()
            raise SandboxError(f"The sandbox stopped: {self.last_error()}.") from error

    def receive(self, seconds: float = _GRACE) -> Any:
        """Return the server's next message. Return None if it ended, or is silent for `seconds`."""
        try:
            self.control.settimeout(seconds)
            data = self.control.recv(_LONGEST_MESSAGE)
        except OSError:
            return None
        return json.loads(data or b"null")

    def last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no error message"

    def close(self) -> None:
        self.control.close()  # the server then ends by itself, and removes its folder
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _memory_file(name: str) -> IO[bytes]:
    return open(os.memfd_create(name), "rb+", 0)


def _delay() -> float:
    """Return the seconds in which this thread was ready but had no CPU; 0.0 if unknown."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def _environment() -> dict[str, str]:
    """Return the whole environment of a job."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",  # so that a program gets the same score each time
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONINTMAXSTRDIGITS": "0",  # a program's time is limited anyway
        "PYTHONUTF8": "1",
    }
    libraries = os.environ.get("LD_LIBRARY_PATH")
    if libraries is not None:
        environment["LD_LIBRARY_PATH"] = libraries
    return environment
