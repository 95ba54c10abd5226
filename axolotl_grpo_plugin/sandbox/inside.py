"""The server process in the sandbox. It forks a job for each request.

The server is trusted. It must not import this package, which is invisible inside. Each job gets its own process
namespace, /tmp and /proc, and they end with the job. So a job sees neither the server nor traces of
earlier jobs. The first process of the namespace waits for the job. When it ends, the kernel ends the rest.

The server's stdin is a socket that carries one line of JSON per message. A job's request, input and output
bypass the server: their file descriptors come with the message that starts the job. So the job's memory, a
copy of the server's, holds no data of other jobs.
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
import time
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PDEATHSIG, DUMPABLE, SECCOMP, NO_NEW_PRIVS = 1, 4, 22, 38
NOSUID, NODEV, NOEXEC, BIND_ALL, READ_ONLY = 2, 4, 8, 4096 | 16384, 1 | 32 | 4096
CAPABILITIES = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words per set
CHANGE_USER, SYS_ADMIN = 7 << 5, 1 << 21  # CHANGE_USER: CAP_KILL, CAP_SETGID and CAP_SETUID
BYTES_PER_FILE = 16384  # a /tmp of n bytes may hold n / BYTES_PER_FILE files
END_OF_JOB = struct.Struct("idd")

# System calls that would bypass a limit or leave something behind: memory that no limit counts, objects that
# outlive their process, other processes' memory and priority, new namespaces. No ordinary program needs them.
# Each call has its number on x86_64 and on aarch64.
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
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


def seccomp_filter() -> bytes:
    """Return the BPF program that refuses the calls in REFUSED, and parts of others."""
    which, architecture = ARCHITECTURES[platform.machine()]
    steps = [(LOAD, 0, 0, ARCHITECTURE), (EQUAL, 1, 0, architecture), (RETURN, 0, 0, END)]
    steps += [(LOAD, 0, 0, NUMBER), (AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, END)]
    for numbers in REFUSED.values():
        steps += [(EQUAL, 0, 1, numbers[which]), (RETURN, 0, 0, REFUSE)]
    # If clone3 is unknown, glibc uses clone instead. A filter can read the flags of clone only.
    steps += [(EQUAL, 0, 1, CLONE3[which]), (RETURN, 0, 0, UNKNOWN)]
    steps += [(EQUAL, 0, 4, CLONE[which]), (LOAD, 0, 0, ARGUMENT)]
    steps += [(ANY, 0, 1, NEW_NAMESPACES), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    # Allow Unix sockets only. Others reach a virtual machine's host, or leave used ports and counters behind.
    for numbers in (SOCKET, SOCKETPAIR):
        steps += [(EQUAL, 0, 4, numbers[which]), (LOAD, 0, 0, ARGUMENT)]
        steps += [(EQUAL, 1, 0, socket.AF_UNIX), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    # A process may change its own limits only.
    steps += [(EQUAL, 0, 3, PRLIMIT[which]), (LOAD, 0, 0, ARGUMENT)]
    steps += [(EQUAL, 1, 0, 0), (RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def install_filter(code: bytes) -> None:
    """Apply a seccomp filter to this process and all its children, for good."""
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    check(LIBC.prctl(SECCOMP, 2, program, 0, 0), "prctl(PR_SET_SECCOMP)")


def check(result: int, call: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def keep_capabilities(kept: int) -> None:
    """Drop all capabilities of this process except the bit set `kept`."""
    header = struct.pack("Ii", CAPABILITIES, 0)
    check(LIBC.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0)), "capset")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = (word.encode() for word in (source, target, kind))
    check(LIBC.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def enclose(setup: dict[str, Any], code: bytes) -> None:
    """Give the first process of a namespace its own /tmp and /proc, and take all its rights away."""
    os.unshare(os.CLONE_NEWNS)
    disk = setup["limits"]["disk"]
    shared = [(path, os.open(path, os.O_PATH)) for path in setup["below_tmp"]]
    size = f"mode=1777,size={disk},nr_inodes={max(64, disk // BYTES_PER_FILE)}"
    mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV, size)
    for path, fd in shared:
        os.makedirs(path)
        mount(f"/proc/self/fd/{fd}", path, "", BIND_ALL)
        os.close(fd)
    mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
    os.chdir("/tmp")
    if (uid := setup["uid"]) is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    keep_capabilities(0)
    check(LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    install_filter(code)
    if os.getpid() != 1:
        raise OSError("The job is not the first process of its namespace.")


def process_limit_works() -> bool:
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    try:
        os.fork()
    except OSError:
        return True
    return False


class Control:
    """The socket to the process that uses the sandbox."""

    def __init__(self) -> None:
        self._socket = socket.socket(fileno=os.dup(0))
        self._bytes, self._fds = bytearray(), list[int]()

    def send(self, message: Any) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> Any:
        """Return the next message; None after the last."""
        while b"\n" not in self._bytes:
            data, fds, _, _ = socket.recv_fds(self._socket, 1 << 16, 4)
            if not data:
                return None
            self._bytes += data
            self._fds += fds
        line, _, self._bytes = self._bytes.partition(b"\n")
        return json.loads(line)

    def descriptors(self) -> list[int]:
        """Return a job's stdin, stdout, stderr and channel, which came with its request."""
        own, self._fds = self._fds[:4], self._fds[4:]
        return own

    def wait(self, fd: int) -> bool:
        """Wait for `fd` (return False) or for a message (return True)."""
        ready = select.select([fd, self._socket.fileno()], [], [])[0]
        return bool(self._bytes) or fd not in ready


def become(limits: dict[str, Any], seconds: float, own: list[int]) -> None:
    """Turn this forked process into a job. own: its stdin, stdout, stderr and channel."""
    for number, fd in enumerate([os.dup2(fd, 100 + index) for index, fd in enumerate(own)]):
        os.dup2(fd, number)
    os.closerange(4, 1024)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, closefd=False)  # type: ignore[misc]
    # The process outside enforces a lower limit. At the soft limit the kernel sends SIGXCPU, and at
    # the hard limit SIGKILL.
    cpu = math.ceil(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    for kind, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits["output"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_AS, limits["memory"]),
    ):
        resource.setrlimit(kind, (most, most))


class Channel:
    """A job's connection to its `Job` object outside."""

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
    """Run the job and exit as Python does. Skip Python's clean-up of modules, which is slow."""
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
        except Exception:  # the program may have replaced the stream
            traceback.print_exc(file=sys.__stderr__)
            status = status or 120  # Python's status for this failure
    os._exit(status & 0xFF)


def delay(task: str) -> float:
    """Return the seconds in which a task (a path below /proc) was ready but had no CPU; 0.0 if unknown."""
    try:
        with open(f"/proc/{task}/schedstat", "rb") as file:
            return int(file.read().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def usage_of(pids: set[int]) -> dict[str, float]:
    """Return the total CPU seconds of live processes, and the longest delay of their threads."""
    cpu = longest = 0.0
    for pid in pids:
        with suppress(OSError):  # the process may end meanwhile
            cpu += time.clock_gettime(~pid << 3 | 2)
            tasks = os.listdir(f"/proc/{pid}/task")
            longest = max([longest, *(delay(f"{pid}/task/{task}") for task in tasks)])
    return {"cpu": cpu, "delay": longest}


def wait_for(job: int) -> tuple[int, float, float]:
    """Wait until the job ends. Return its wait status, CPU seconds and delay."""
    while True:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        pid = ended.si_pid if ended else 0
        late = delay(str(pid)) + delay("self") if pid == job else 0.0
        _, status, usage = os.wait4(pid, 0)
        if pid == job:
            return status, usage.ru_utime + usage.ru_stime, late


class Jobs:
    """Starts and ends jobs, one at a time."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._setup, self._isolated = setup, setup["isolated"]
        self._namespace = os.open("/proc/self/ns/pid", os.O_RDONLY)
        self._filter = seccomp_filter() if self._isolated else b""

    def start(self, seconds: float, own: list[int]) -> bool:
        """Fork a job with these file descriptors. Return True in the job, False in the server."""
        if self._isolated:
            os.setns(self._namespace, os.CLONE_NEWPID)
            os.unshare(os.CLONE_NEWPID)
        else:
            self._folder = tempfile.mkdtemp(prefix="axolotl-grpo-unsafe-")
        self.ended, write = os.pipe()
        self._delay_before = delay("self")
        self._pid = os.fork()
        if self._pid:
            for fd in (write, *own):
                os.close(fd)
            return False
        os.setsid()
        enclose(self._setup, self._filter) if self._isolated else os.chdir(self._folder)
        job = os.fork()
        if job == 0:
            # The job's user also owns the first process of the namespace, and maybe the server.
            others = 1 if self._setup["uid"] is not None else 2
            limits = self._setup["limits"]
            become({**limits, "processes": limits["processes"] + others}, seconds, own)
            return True
        for fd in own:
            os.close(fd)
        os.write(write, END_OF_JOB.pack(*wait_for(job)))
        os._exit(0)

    def usage(self) -> dict[str, float]:
        """Return the job's CPU seconds so far, and the delay of the job and the server."""
        if self._isolated:
            pids = {int(name) for name in os.listdir("/proc") if name.isdigit()} - {os.getpid()}
        else:
            pids = set()
            with suppress(OSError):
                children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text()
                pids = set(map(int, children.split()))
        return self._add_own_delay(usage_of(pids))

    def end(self) -> dict[str, Any]:
        """End the job and all its processes. Return its exit status, CPU seconds and delay."""
        for kill in (os.kill, os.killpg):
            with suppress(ProcessLookupError):
                kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        report = os.read(self.ended, END_OF_JOB.size)
        os.close(self.ended)
        if not report and os.WIFEXITED(status):
            raise OSError("A job could not be started.")
        status, cpu, late = END_OF_JOB.unpack(report) if report else (signal.SIGKILL, 0.0, 0.0)
        if not self._isolated:
            shutil.rmtree(self._folder, ignore_errors=True)
        exit = os.waitstatus_to_exitcode(status)
        return self._add_own_delay({"exit": exit, "cpu": cpu, "delay": late})

    def _add_own_delay(self, usage: dict[str, Any]) -> dict[str, Any]:
        return {**usage, "delay": usage["delay"] + delay("self") - self._delay_before}


def serve(jobs: Jobs, control: Control) -> bool:
    """Fork a job for each request. Return True in a job, False after the last request."""
    while (message := control.receive()) is not None:
        if not isinstance(message, dict):  # "stop" or "usage" came after the job's end
            continue
        if jobs.start(message["seconds"], control.descriptors()):
            return True
        while control.wait(jobs.ended) and control.receive() == "usage":
            control.send(jobs.usage())
        control.send(jobs.end())
    return False


def main() -> None:
    # Without Python's handler, the kernel ignores SIGINT from jobs, because this is process 1.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    control = Control()
    setup = control.receive()
    sys.path += setup["packages"]
    if setup["isolated"]:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if memory runs out, the kernel ends a job and not the training
        LIBC.prctl(PDEATHSIG, signal.SIGKILL)
        LIBC.prctl(DUMPABLE, 0)  # jobs cannot read the server's memory
        for device in filter(os.path.ismount, map("/dev/{}".format, os.listdir("/dev"))):
            # A read-only mount allows writing to the device, but not changing its times.
            mount("", device, "", READ_ONLY | os.statvfs(device).f_flag & (NOSUID | NODEV | NOEXEC))
        keep_capabilities(SYS_ADMIN if setup["uid"] is None else SYS_ADMIN | CHANGE_USER)
    for name in setup["imports"]:
        importlib.import_module(name)
    module = ModuleType("job")
    exec(compile(setup["script"], "job.py", "exec"), module.__dict__)
    gc.collect()
    gc.freeze()
    jobs = Jobs(setup)
    if setup["isolated"]:
        if jobs.start(1.0, []):
            os._exit(not process_limit_works())
        select.select([jobs.ended], [], [])
        if jobs.end()["exit"]:
            raise OSError("The limit on processes does not apply to this user.")
    control.send("ready")
    if serve(jobs, control):
        channel = Channel()
        finish(module.main, channel.receive(), channel)


main()
