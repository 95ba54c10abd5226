"""The server process in the sandbox. It forks a job for each request.

The server is trusted. It must not import this package, which is invisible inside. Each job gets its own process
namespace, /tmp and /proc, and they end with the job. So a job sees neither the server nor traces of
earlier jobs. The first process of the namespace waits for the job. When it ends, the kernel ends the rest.

The server's stdin is a socket that keeps the borders of messages. Each message is JSON. A job's request, input
and output bypass the server: their file descriptors come with the message that starts the job. So the job's
memory, a copy of the server's, holds no data of other jobs.

With an argument, the script first builds the sandbox's root folder in the namespaces of `unshare`.
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
# prctl
PDEATHSIG = 1
DUMPABLE = 4
SECCOMP = 22
NO_NEW_PRIVS = 38
# mount
NOSUID = 2
NODEV = 4
NOEXEC = 8
BIND_ALL = 4096 | 16384
READ_ONLY = 1 | 32 | 4096  # of a mount that exists
# mount_setattr: the number of the call, its start folder and its flag
MOUNT_SETATTR = 442
HERE = -100
RECURSIVE = 0x8000
DETACH = 2  # umount2
# capset
CAPABILITIES = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two words per set
CHANGE_USER = 7 << 5  # CAP_KILL, CAP_SETGID and CAP_SETUID
SYS_ADMIN = 1 << 21
BYTES_PER_FILE = 16384  # a /tmp of n bytes may hold n / BYTES_PER_FILE files
LONGEST_MESSAGE = 1 << 20  # bytes: the kernel's buffer of a socket is smaller

# System calls that would bypass a limit or leave something behind: memory that no limit counts, objects that
# outlive their process, other processes' memory and priority, new namespaces. No ordinary program needs them.
# Each call has its number on x86_64 and on aarch64.
REFUSED = """
    ptrace 101 117
    process_vm_readv 310 270
    process_vm_writev 311 271
    pidfd_getfd 438 438
    shmget 29 194
    semget 64 190
    msgget 68 186
    mq_open 240 180
    add_key 248 217
    request_key 249 218
    keyctl 250 219
    memfd_create 319 279
    memfd_secret 447 447
    io_uring_setup 425 425
    userfaultfd 323 282
    perf_event_open 298 241
    bpf 321 280
    unshare 272 97
    setns 308 268
    setpriority 141 140
    ioprio_set 251 30
    sched_setparam 142 118
    sched_setscheduler 144 119
    sched_setaffinity 203 122
    sched_setattr 314 274
"""
SOCKET = (41, 198)
SOCKETPAIR = (53, 199)
CLONE = (56, 220)
CLONE3 = (435, 435)
PRLIMIT = (302, 261)
NEW_NAMESPACES = 0x7E020080
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
Setup = dict[str, Any]
Usage = dict[str, float]  # cpu, delay: seconds; at the end of a job also its exit status
# A step of a filter: operation, steps to skip if true, steps to skip if false, value.
Step = tuple[int, int, int, int]
LOAD = 0x20
EQUAL = 0x15
AT_LEAST = 0x35
ANY = 0x45
RETURN = 0x06
LOAD_NUMBER = (LOAD, 0, 0, 0)  # offsets in struct seccomp_data
LOAD_ARCHITECTURE = (LOAD, 0, 0, 4)
LOAD_ARGUMENT = (LOAD, 0, 0, 16)
ALLOW = (RETURN, 0, 0, 0x7FFF0000)
REFUSE = (RETURN, 0, 0, 0x00050001)
UNKNOWN = (RETURN, 0, 0, 0x00050026)
END = (RETURN, 0, 0, 0x80000000)


def seccomp_filter() -> bytes:
    """Return the BPF program that refuses the calls in REFUSED, and parts of others."""
    which, architecture = ARCHITECTURES[platform.machine()]
    steps = [LOAD_ARCHITECTURE, (EQUAL, 1, 0, architecture), END]
    # Numbers from 0x40000000 on are the calls of another architecture (x32).
    steps += [LOAD_NUMBER, (AT_LEAST, 0, 1, 0x40000000), END]
    for call in REFUSED.strip().splitlines():
        _, *own_numbers = call.split()
        steps += if_call(int(own_numbers[which]), REFUSE)
    # If clone3 is unknown, glibc uses clone instead. A filter can read the flags of clone only.
    steps += if_call(CLONE3[which], UNKNOWN)
    # Sockets may be Unix sockets only. Others reach a virtual machine's host, or leave used ports behind.
    is_unix = (EQUAL, 1, 0, int(socket.AF_UNIX))
    allowed = {
        CLONE: (ANY, 0, 1, NEW_NAMESPACES),
        SOCKET: is_unix,
        SOCKETPAIR: is_unix,
        PRLIMIT: (EQUAL, 1, 0, 0),  # a process may change its own limits only
    }
    for call_numbers, test in allowed.items():
        steps += if_call(call_numbers[which], LOAD_ARGUMENT, test, REFUSE, ALLOW)
    steps.append(ALLOW)
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def if_call(number: int, *steps: Step) -> list[Step]:
    """Return steps that are skipped if the system call has another number."""
    return [(EQUAL, 0, len(steps), number), *steps]


def install_filter(code: bytes) -> None:
    """Apply a seccomp filter to this process and all its children, for good."""
    buffer = ctypes.create_string_buffer(code, len(code))
    address = ctypes.addressof(buffer)
    program = struct.pack("HxxxxxxP", len(code) // 8, address)
    check(LIBC.prctl(SECCOMP, 2, program, 0, 0), "prctl(PR_SET_SECCOMP)")


def check(result: int, call: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def keep_capabilities(kept: int) -> None:
    """Drop all capabilities of this process except the bit set `kept`."""
    header = struct.pack("Ii", CAPABILITIES, 0)
    check(LIBC.capset(header, struct.pack("2I16x", kept, kept)), "capset")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    result = LIBC.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()
    )
    check(result, f"mount {target}")


def mount_memory(target: str, options: str) -> None:
    mount("tmpfs", target, "tmpfs", NOSUID | NODEV, options)


def make_read_only(target: str, flags: int = 0) -> None:
    """Make a mount read-only, and ignore set-user-id bits there. flags: RECURSIVE for all mounts below."""
    attributes = (ctypes.c_uint64 * 4)(1 | 2, 0, 0, 0)
    result = LIBC.syscall(
        ctypes.c_long(MOUNT_SETATTR),
        ctypes.c_long(HERE),
        target.encode(),
        ctypes.c_uint(flags),
        attributes,
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )
    check(result, f"mount_setattr {target}")


def bind(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        open(target, "x").close()
    mount(source, target, "", BIND_ALL)


def build_root(plan: Setup) -> None:
    """Build the sandbox's root folder and enter it. backends.py documents the plan."""
    os.umask(0o022)
    # Visible folders may lie below /tmp, so keep the old root within reach of the new one.
    mount_memory("/tmp", "mode=755")
    os.mkdir("/tmp/old")
    os.mkdir("/tmp/new")
    check(LIBC.pivot_root(b"/tmp", b"/tmp/old"), "pivot_root")
    os.chdir("/")
    mount_memory("/new", "mode=755,size=1m")
    os.makedirs("/new/tmp")
    # Some modules write to /tmp during import. Jobs get another /tmp.
    mount_memory("/new/tmp", "mode=755,size=16m")
    for source, target in plan["binds"]:
        bind(f"/old{source}", f"/new{target}")
        make_read_only(f"/new{target}", RECURSIVE)
    for folder in plan["hidden"]:
        mount_memory(f"/new{folder}", "mode=755")
        make_read_only(f"/new{folder}")
    for device in plan["devices"]:
        bind(f"/old{device}", f"/new{device}")
    for path, destination in plan["links"].items():
        os.symlink(destination, f"/new{path}")
    os.mkdir("/new/proc")
    mount("proc", "/new/proc", "proc", NOSUID | NODEV | NOEXEC)
    make_read_only("/new")
    os.chdir("/new")
    check(LIBC.pivot_root(b".", b"."), "pivot_root")
    check(LIBC.umount2(b".", DETACH), "umount")
    os.chdir("/tmp")


def enclose(setup: Setup, code: bytes) -> None:
    """Give the first process of a namespace its own /tmp and /proc, and take all its rights away."""
    os.unshare(os.CLONE_NEWNS)
    disk = setup["limits"]["disk"]
    shared = {path: os.open(path, os.O_PATH) for path in setup["below_tmp"]}
    mount_memory("/tmp", f"mode=1777,size={disk},nr_inodes={max(64, disk // BYTES_PER_FILE)}")
    for path, fd in shared.items():
        os.makedirs(path)
        mount(f"/proc/self/fd/{fd}", path, "", BIND_ALL)
        os.close(fd)
    mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
    os.chdir("/tmp")
    uid = setup["uid"]
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    keep_capabilities(0)
    check(LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    install_filter(code)
    if os.getpid() != 1:
        raise OSError("The job is not the first process of its namespace.")


def become(limits: Setup, seconds: float, own: list[int]) -> None:
    """Turn this forked process into a job. own: its stdin, stdout, stderr and channel."""
    # First out of the way: one of them may have the number of another.
    for number, fd in enumerate(own):
        os.dup2(fd, 100 + number)
    for number in range(len(own)):
        os.dup2(100 + number, number)
    os.closerange(4, 1024)
    sys.stdin = sys.__stdin__ = os.fdopen(0, closefd=False)  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = os.fdopen(2, "w", 1, closefd=False)  # type: ignore[misc]
    # The process outside enforces a lower limit. At the soft limit the kernel sends SIGXCPU, and at
    # the hard limit SIGKILL.
    cpu = math.ceil(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
    highest = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: limits["output"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_AS: limits["memory"],
    }
    for kind, most in highest.items():
        resource.setrlimit(kind, (most, most))


class Channel:
    """A job's connection to its `Job` object outside."""

    def __init__(self) -> None:
        self._read = os.fdopen(3, "rb", closefd=False)

    def send(self, message: object) -> None:
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
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
    except SystemExit as error:
        status = exit_status(error.code)
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


def exit_status(code: Any) -> int:
    """Return the status of `sys.exit(code)`. A code that is no number is printed."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1


def delay(task: str) -> float:
    """Return the seconds in which a task (a path below /proc) was ready but had no CPU; 0.0 if unknown."""
    try:
        words = Path("/proc", task, "schedstat").read_text().split()
        return int(words[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def usage_of(pids: list[int]) -> Usage:
    """Return the total CPU seconds of live processes, and the longest delay of their threads."""
    cpu = longest = 0.0
    for pid in pids:
        with suppress(OSError):  # the process may end meanwhile
            cpu += time.clock_gettime(~pid << 3 | 2)
            for task in os.listdir(f"/proc/{pid}/task"):
                longest = max(longest, delay(f"{pid}/task/{task}"))
    return {"cpu": cpu, "delay": longest}


def wait_for(job: int) -> Usage:
    """Wait until the job ends. Return its exit status, CPU seconds and delay."""
    late = 0.0
    while True:
        # A process that has ended but was not waited for still has its entry in /proc.
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if ended and ended.si_pid == job:
            late = delay(str(job)) + delay("self")
        pid, status, usage = os.wait3(0)
        if pid == job:
            cpu = usage.ru_utime + usage.ru_stime
            return {"exit": os.waitstatus_to_exitcode(status), "cpu": cpu, "delay": late}


class Jobs:
    """Starts and ends jobs, one at a time."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._isolated = setup["isolated"]
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
        if self._isolated:
            enclose(self._setup, self._filter)
        else:
            os.chdir(self._folder)
        job = os.fork()
        if job == 0:
            # The job's user also owns the first process of the namespace, and maybe the server.
            others = 2 if self._setup["uid"] is None else 1
            limits = self._setup["limits"]
            become({**limits, "processes": limits["processes"] + others}, seconds, own)
            return True
        for fd in own:
            os.close(fd)
        os.write(write, json.dumps(wait_for(job)).encode())
        os._exit(0)

    def usage(self) -> Usage:
        """Return the job's CPU seconds so far, and the delay of the job and the server."""
        pids = []
        if self._isolated:
            pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
            pids.remove(os.getpid())
        else:
            with suppress(OSError):
                children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text()
                pids = [int(word) for word in children.split()]
        return self._add_own_delay(usage_of(pids))

    def end(self) -> Usage:
        """End the job and all its processes. Return its exit status, CPU seconds and delay."""
        for kill in (os.kill, os.killpg):
            with suppress(ProcessLookupError):
                kill(self._pid, signal.SIGKILL)
        _, status = os.waitpid(self._pid, 0)
        report = os.read(self.ended, LONGEST_MESSAGE)
        os.close(self.ended)
        if not report and os.WIFEXITED(status):
            raise OSError("A job could not be started.")
        if not self._isolated:
            shutil.rmtree(self._folder, ignore_errors=True)
        usage = {"exit": -signal.SIGKILL, "cpu": 0.0, "delay": 0.0}
        if report:
            usage = json.loads(report)
        return self._add_own_delay(usage)

    def _add_own_delay(self, usage: Usage) -> Usage:
        usage["delay"] += delay("self") - self._delay_before
        return usage


def send(control: socket.socket, message: object) -> None:
    control.send(json.dumps(message).encode())


def receive(control: socket.socket) -> tuple[Any, list[int]]:
    """Return the next message, None after the last, and the file descriptors that came with it."""
    data, own, _, _ = socket.recv_fds(control, LONGEST_MESSAGE, 4)
    return json.loads(data or b"null"), own


def serve(jobs: Jobs, control: socket.socket) -> bool:
    """Fork a job for each request. Return True in a job, False after the last request."""
    while True:
        message, own = receive(control)
        if message is None:
            return False
        if not isinstance(message, dict):  # "stop" or "usage" came after the job's end
            continue
        if jobs.start(message["seconds"], own):
            return True
        sources = [jobs.ended, control.fileno()]
        while jobs.ended not in select.select(sources, [], [])[0]:
            message, _ = receive(control)
            if message != "usage":
                break
            send(control, jobs.usage())
        send(control, jobs.end())


def isolate(uid: int | None) -> None:
    """Protect the server from its jobs."""
    # If memory runs out, the kernel ends a job and not the training.
    Path("/proc/self/oom_score_adj").write_text("1000")
    LIBC.prctl(PDEATHSIG, signal.SIGKILL)
    LIBC.prctl(DUMPABLE, 0)  # jobs cannot read the server's memory
    for name in os.listdir("/dev"):
        device = f"/dev/{name}"
        if os.path.ismount(device):
            # A read-only mount allows writing to the device, but not changing its times.
            flags = os.statvfs(device).f_flag & (NOSUID | NODEV | NOEXEC)
            mount("", device, "", READ_ONLY | flags)
    keep_capabilities(SYS_ADMIN if uid is None else SYS_ADMIN | CHANGE_USER)


def check_process_limit(jobs: Jobs) -> None:
    """Raises: OSError if jobs can start any number of processes, as root of a user namespace can."""
    if jobs.start(1.0, []):
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        with suppress(OSError):
            os.fork()
            os._exit(1)
        os._exit(0)
    select.select([jobs.ended], [], [])
    if jobs.end()["exit"]:
        raise OSError("The limit on processes does not apply to this user.")


def run_module(name: str, source: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, f"{name}.py", "exec"), vars(module))
    return module


def main() -> None:
    if sys.argv[1:]:
        plan = json.loads(sys.argv[1])
        build_root(plan)
        # Start again, so that no open file of this process is in the old root.
        os.execv(plan["command"][0], plan["command"])
    # Without Python's handler, the kernel ignores SIGINT from jobs, because this is process 1.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    control = socket.socket(fileno=os.dup(0))
    setup, _ = receive(control)
    sys.path += setup["packages"]
    if setup["isolated"]:
        isolate(setup["uid"])
    for name in setup["imports"]:
        importlib.import_module(name)
    for name, source in setup["parts"].items():
        sys.modules[name] = run_module(name, source)
    job = run_module("job", setup["script"])
    for name in setup["parts"]:
        del sys.modules[name]  # no part of a program
    gc.collect()
    gc.freeze()
    jobs = Jobs(setup)
    if setup["isolated"]:
        check_process_limit(jobs)
    send(control, "ready")
    if serve(jobs, control):
        channel = Channel()
        finish(job.main, channel.receive(), channel)


main()
