"""The process in the sandbox: it forks a job for each request, and ends all of it after.

Trusted, alone (nothing of the package is seen inside), and the first process of its namespace: a job can
neither end nor stop it, and what it ends with kill(-1) is all that the job has left. It talks over
the socket that is its stdin, one line of JSON each. What a job is asked, reads and prints goes past it,
through descriptors that come with a request: a job's memory, a copy of this one's, has nothing of others.
"""

import atexit
import ctypes
import gc
import importlib
import json
import math
import os
import platform
import resource
import select
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from types import ModuleType
from typing import Any

PDEATHSIG, DUMPABLE, SECCOMP, NO_NEW_PRIVS = 1, 4, 22, 38

# What no program needs, and what would get around a limit or leave something behind: memory that no
# limit counts, objects that outlive their process, other processes' memory and priority, new namespaces.
# The numbers on x86_64 and on aarch64.
REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "unshare": (272, 97),
    "setns": (308, 268),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
}
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
CLONE, CLONE3, PRLIMIT = (56, 220), (435, 435), (302, 261)
NEW_NAMESPACES = 0x7E020080
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
ALLOW, REFUSE, UNKNOWN, END = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
LOAD, EQUAL, AT_LEAST, ANY, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16  # where they stand in struct seccomp_data


def refuse_calls(libc: Any) -> None:
    """Have the kernel refuse those calls to this process and all that it starts, for good."""
    which, architecture = ARCHITECTURES[platform.machine()]
    steps = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, END)]
    steps += [(LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, END)]
    for numbers in REFUSED.values():
        steps += [(EQUAL, 0, 1, numbers[which]), (RETURN, 0, 0, REFUSE)]
    # glibc takes "no such call" from clone3 for an older kernel, and uses clone, whose flags can be read.
    steps += [(EQUAL, 0, 1, CLONE3[which]), (RETURN, 0, 0, UNKNOWN)]
    steps += [(EQUAL, 0, 4, CLONE[which]), (LOAD, 0, 0, ARGUMENT)]
    steps += [(ANY, 0, 1, NEW_NAMESPACES), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    # Unix and internet sockets: a namespace of networks does not hold others, as those to a machine's host.
    for numbers in (SOCKET, SOCKETPAIR):
        steps += [(EQUAL, 0, 6, numbers[which]), (LOAD, 0, 0, ARGUMENT)]
        steps += [(EQUAL, 3, 0, socket.AF_UNIX), (EQUAL, 2, 0, socket.AF_INET)]
        steps += [(EQUAL, 1, 0, socket.AF_INET6), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    # Its own limits only.
    steps += [(EQUAL, 0, 3, PRLIMIT[which]), (LOAD, 0, 0, ARGUMENT)]
    steps += [(EQUAL, 1, 0, 0), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(held))
    if libc.prctl(SECCOMP, 2, program, 0, 0):
        raise OSError("prctl: no seccomp here")


def lock(uid: int | None) -> None:
    """Give up all that this process could do beyond what a job may."""
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc = ctypes.CDLL(None)
    libc.prctl(PDEATHSIG, signal.SIGKILL)
    libc.prctl(DUMPABLE, 0)  # its memory is none of a job's business
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("prctl: no PR_SET_NO_NEW_PRIVS here")
    refuse_calls(libc)
    if os.getpid() != 1:
        raise OSError("not the first process of its namespace")
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        try:
            os.fork()
        except OSError:
            os._exit(0)
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        raise OSError("the limit on processes does not hold for this user")


class Control:
    """The other end, which asks."""

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=os.dup(0))
        self._bytes, self._fds = bytearray(), list[int]()

    def send(self, message: Any) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Any:
        """The next line; None at the end."""
        while b"\n" not in self._bytes:
            data, fds, _, _ = socket.recv_fds(self._socket, 1 << 16, 4)
            if not data:
                return None
            self._bytes += data
            self._fds += fds
        line, _, rest = self._bytes.partition(b"\n")
        self._bytes = rest
        return json.loads(line)

    def descriptors(self) -> list[int]:
        """A job's stdin, stdout, stderr and channel, which came with its request."""
        own, self._fds = self._fds[:4], self._fds[4:]
        return own

    def wait(self, fd: int, seconds: float) -> bool:
        """Whether something came, or `fd` can be read, in that time."""
        either = [fd, self._socket.fileno()]
        return bool(self._bytes or select.select(either, [], [], seconds)[0])


def become(limits: dict[str, Any], seconds: float, own: list[int]) -> None:
    """Make a job of this process, just forked."""
    os.setsid()
    for number, fd in enumerate([os.dup2(fd, 100 + place) for place, fd in enumerate(own)]):
        os.dup2(fd, number)
    os.closerange(4, 1024)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, closefd=False)  # type: ignore[misc]
    # After the clock's own limit, which one busy thread would else race. The kernel kills without a
    # word at the hard limit, and says which it was (SIGXCPU) at the soft one.
    cpu = math.ceil(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits["output"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, limits["processes"] + 1),
        (resource.RLIMIT_AS, limits["memory"]),
    ):
        resource.setrlimit(kind, (most, most))


class Channel:
    """A job's own talk with whoever asked for it."""

    def __init__(self) -> None:
        self._read = os.fdopen(3, "rb", closefd=False)

    def send(self, message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(3, data) :]

    def receive(self) -> Any:
        line = self._read.readline()
        return json.loads(line) if line else None


def finish(main: Any, *arguments: Any) -> None:
    """Do the job, and end as Python does, but without taking every module apart: that takes longer."""
    status = 0
    try:
        try:
            main(*arguments)
        finally:
            for thread in threading.enumerate():
                if thread is not threading.main_thread() and not thread.daemon:
                    thread.join()
            atexit._run_exitfuncs()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if not isinstance(error.code, int | None):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    for stream in (sys.stdout, sys.__stdout__, sys.stderr):
        try:
            if stream and not stream.closed:
                stream.flush()
        except Exception:  # a stream that the program put there
            traceback.print_exc(file=sys.__stderr__)
            status = status or 120  # as Python's own
    os._exit(status & 0xFF)


def sweep(job: int, isolated: bool) -> int:
    """End the job and all that it started; its exit status."""
    if not isolated:
        os.kill(job, signal.SIGKILL)
        _, ended = os.waitpid(job, 0)
        with suppress(ProcessLookupError):
            os.killpg(job, signal.SIGKILL)
        return os.waitstatus_to_exitcode(ended)
    status = 0
    while True:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)  # of this namespace, but for this process
        try:
            pid, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        if pid == job:
            status = os.waitstatus_to_exitcode(ended)


def serve(first: dict[str, Any], control: Control) -> None:
    """Fork a job for each request. Returns in a job, and when there are no more."""
    isolated, limits = first["isolated"], first["limits"]
    scratch = os.getcwd()

    def state() -> Any:
        if not isolated:
            return os.listdir(scratch)
        files = os.statvfs(scratch)
        found = list(map(os.path.exists, sys.path))  # they may lie below it
        return files.f_bfree, files.f_ffree, os.stat(scratch).st_mode, found

    empty = state()
    while True:
        asked = control.receive()
        if asked is None:
            return
        if asked == "stop":  # the job had ended
            continue
        own = control.descriptors()
        job = os.fork()
        if job == 0:
            become(limits, asked["seconds"], own)
            return
        for fd in own:
            os.close(fd)
        ended = os.pidfd_open(job)
        heard = control.wait(ended, asked["seconds"])
        os.close(ended)
        done = {"exit": sweep(job, isolated), "late": not heard}
        done["clean"] = state() == empty
        control.send(done)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # which a first process never gets from a job
    control = Control()
    first = control.receive()
    sys.path += first["paths"]
    if first["isolated"]:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # where memory runs out, a job is ended and not the training
        lock(first["uid"])
    else:
        os.chdir(tempfile.mkdtemp(prefix="axolotl-grpo-unsafe-"))
    home = os.getcwd()
    for name in first["imports"]:
        importlib.import_module(name)
    job = ModuleType("job")
    exec(compile(first["script"], "job.py", "exec"), job.__dict__)
    gc.collect()
    gc.freeze()
    control.send("ready")
    server = os.getpid()
    serve(first, control)
    if os.getpid() != server:
        channel = Channel()
        finish(job.main, channel.receive(), channel)
    elif not first["isolated"]:
        shutil.rmtree(home, ignore_errors=True)


main()
