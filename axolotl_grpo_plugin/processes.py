"""Start processes that can be ended, and that end with their parent, however it ends.

Three kinds: `spawn` starts a command, `start_python` a new Python process that answers on a pipe, and
`start_fork` a fork of this process that answers on a pipe. `guarded` and `lead_session` end all descendants
of their work. Only Linux ends a process with its parent.
"""

import ctypes
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import ForkProcess
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import IO, NoReturn

TERM_TIMEOUT = 15  # seconds from SIGTERM to SIGKILL; vLLM takes up to 14
KILL_TIMEOUT = 30  # seconds more, because a hanging driver can block SIGKILL
LATE = 124  # the exit code of `timeout`
_AGAIN = 1  # seconds until `keep` starts a command again
# Of linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ORPHANED = signal.SIGRTMIN  # tells the child of `guarded` that its parent has died
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Variables of a distributed run. A process that imports torch would join the run because of them.
_RANK_PREFIXES = (
    "RANK",
    "LOCAL_",
    "WORLD_SIZE",
    "GROUP_",
    "ROLE_",
    "MASTER_",
    "TORCHELASTIC",
    "ACCELERATE",
)
_libc = ctypes.CDLL(None, use_errno=True)


def is_first_rank() -> bool:
    """Return whether this process is the first of its training, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def die_with(parent: int, number: int = signal.SIGTERM) -> None:
    """Let the kernel send this process a signal when its parent ends."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # the parent ended before the call above
        os.kill(os.getpid(), number)


def adopt_orphans() -> None:
    """Make this process the parent of its descendants whose own parent ends."""
    try:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    except OSError as error:
        if error.errno != errno.EINVAL:  # older gVisor lacks it; die_with works there
            raise


def limit_memory(size: int) -> None:
    """Limit this process to `size` bytes, and let it leave no core file."""
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def without_rank(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables of a distributed run."""
    return {name: value for name, value in env.items() if not name.startswith(_RANK_PREFIXES)}


def own_environment() -> dict[str, str]:
    """Return the environment of a process beside the trainer, which has no GPU and no rank."""
    return {
        **without_rank(os.environ),
        "PYTHONPATH": os.pathsep.join(sys.path),  # it gets no other copy of sys.path
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


def spawn(
    command: Sequence[str],
    env: Mapping[str, str],
    output: IO[bytes] | IO[str] | None = None,
    errors: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process. It has its own session, so Ctrl-C does not reach it.

    output: the file for stdout and stderr, by default those of this process. errors: a descriptor for
    stderr only.
    """
    parent = os.getpid()

    def prepare() -> None:
        # A background job of a shell ignores SIGINT, but here SIGINT means: save and end.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        die_with(parent)

    return subprocess.Popen(
        command,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if output else errors,
        start_new_session=True,
        preexec_fn=prepare,
    )


def answer_of(command: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command that answers soon. If it takes longer, it is killed, and its exit code is LATE.

    Its end is not awaited, because a hanging driver can block SIGKILL.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        return subprocess.CompletedProcess(command, LATE, "", f"no answer within {seconds:g} s")
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a spawned process: SIGTERM, and after TERM_TIMEOUT seconds SIGKILL to its whole session."""
    process.terminate()
    try:
        process.wait(TERM_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start_python(module: str, function: str) -> tuple[subprocess.Popen[bytes], Connection]:
    """Start a Python process that calls `function` of `module` with the descriptor of its pipe.

    The function returns when the pipe closes: when this process closes its end, or dies.

    Returns the process and this process's end of the pipe.
    """
    pipe, theirs = Pipe()
    descriptor = theirs.fileno()
    code = f"from {module} import {function}; {function}({descriptor})"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        pass_fds=[descriptor],
        env=own_environment(),
        start_new_session=True,  # so that Ctrl-C reaches only the caller
    )
    theirs.close()
    return process, pipe


def start_fork(run: Callable[[Connection], None]) -> tuple[ForkProcess, Connection]:
    """Fork this process, and call `run` with its end of a pipe there. The fork is killed with its parent.

    Returns the process and this process's end of the pipe.
    """
    parent = os.getpid()
    pipe, theirs = Pipe()

    def begin() -> None:
        pipe.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        die_with(parent, signal.SIGKILL)
        run(theirs)

    process = get_context("fork").Process(target=begin)
    process.start()
    theirs.close()
    return process, pipe


def children(pid: int, recursive: bool = False) -> list[int]:
    """Return the living children of a process, or all its descendants."""
    import psutil  # here, because each scoring process imports this module

    try:
        found = psutil.Process(pid).children(recursive=recursive)
    except psutil.NoSuchProcess:
        return []
    return [child.pid for child in found if alive(child.pid)]


def alive(pid: int) -> bool:
    """Return whether the process runs (False for a zombie)."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def start_of(pid: int) -> str:
    """Return when a process started, as a text that no later process of its number has; "" if it has ended."""
    import psutil

    if not alive(pid):
        return ""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # no Linux
        with suppress(psutil.NoSuchProcess):
            return str(psutil.Process(pid).create_time())
        return ""
    # In clock ticks since the boot, because the clock of the day may be set. The name before it may have spaces.
    ticks = stat.rpartition(")")[2].split()[19]
    return f"{boot} {ticks}"


def end_with(pid: int) -> None:
    """Kill this process when the process `pid`, which need not be its parent, ends."""

    def watch() -> None:
        while alive(pid):
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=watch, daemon=True).start()


def end_below(patience: float) -> None:
    """End all descendants of this process: SIGTERM, and SIGKILL after `patience` seconds."""
    deadline = time.monotonic() + patience
    terminated: set[int] = set()
    while left := children(os.getpid(), recursive=True):
        late = time.monotonic() - deadline
        if late > KILL_TIMEOUT:
            print(
                f"axolotl-grpo-plugin: processes do not end: {left}. End them by hand.",
                file=sys.stderr,
            )
            return
        for pid in left:
            if late >= 0:
                _signal(pid, signal.SIGKILL)
            elif pid not in terminated:
                terminated.add(pid)
                _signal(pid, signal.SIGTERM)
        time.sleep(0.1)


def kill(pid: int) -> None:
    """Kill a process and all its descendants at once; of this process, only the descendants."""
    for doomed in [pid, *children(pid, recursive=True)]:
        if doomed != os.getpid():  # else the others would stay alive
            _signal(doomed, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it has ended already
        os.kill(pid, number)


def end_signals() -> list[signal.Signals]:
    """Return the signals that end a run, except ignored ones: `nohup` ignores SIGHUP."""
    return [number for number in _FORWARDED if signal.getsignal(number) != signal.SIG_IGN]


def guarded(work: Callable[[], int]) -> int:
    """Run `work` in a child process. Return its exit code, 128 + n if signal n ended it.

    If either process is killed, the other ends all descendants: the parent adopts those of a killed
    child, and the kernel signals the child when the parent ends. Then the child kills them all at once,
    because a job that starts again must not meet them. The parent passes SIGINT, SIGTERM and SIGHUP on.
    """
    adopt_orphans()
    parent = os.getpid()
    _flush()
    child = os.fork()
    if not child:
        _work_in_child(work, parent)

    def forward(number: int, _: FrameType | None) -> None:
        _signal(child, number)

    before = {number: signal.signal(number, forward) for number in end_signals()}
    try:
        _, status = os.waitpid(child, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    end_below(TERM_TIMEOUT)
    return shell_code(os.waitstatus_to_exitcode(status))


def _work_in_child(work: Callable[[], int], parent: int) -> NoReturn:
    code = 1
    try:
        os.setsid()  # Ctrl-C comes once, through the parent
        signal.signal(_ORPHANED, _kill_at_once)
        die_with(parent, _ORPHANED)
        adopt_orphans()
        code = work()
    except SystemExit as stop:
        if isinstance(stop.code, int):
            code = stop.code
        elif stop.code:  # a message, which Python prints too before it ends with 1
            print(stop.code, file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for number in _FORWARDED:
            signal.signal(number, signal.SIG_IGN)  # it is ending already
        end_below(TERM_TIMEOUT)
        _flush()
        os._exit(code)


def _kill_at_once(*_: object) -> NoReturn:
    end_below(0)
    os._exit(128 + signal.SIGKILL)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def lead_session(work: Callable[[], object]) -> NoReturn:
    """Run `work` in a child that leads its own session, and end as the child ends. Called in a new process.

    The child's descendants end with it, also those that left its session. All of them end at once if this
    process gets SIGTERM, or if its parent ends.
    """
    adopt_orphans()
    awaited = (signal.SIGCHLD, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    die_with(os.getppid())
    parent = os.getpid()
    child = os.fork()
    if not child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
        code = 1
        try:
            os.setsid()
            die_with(parent, signal.SIGKILL)
            work()
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            try:
                _flush()
            finally:  # also if nobody reads the output any more
                os._exit(code)
    status = None
    while status is None and signal.sigwait(awaited) == signal.SIGCHLD:
        status = _reap(child)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # a kernel without subreapers hands its orphans to init
    end_below(0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
    if status is None:
        number: int = signal.SIGTERM
    elif os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
    else:
        os._exit(os.WEXITSTATUS(status))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(parent, number)
    os._exit(1)  # the signal has ended this process before


def _reap(child: int) -> int | None:
    """Reap the children that have ended. Return the status of `child` if it is one of them."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid in (0, child):
                return status if pid else None
    return None


def keep(command: str) -> None:
    """Run a shell command again whenever it ends, until this process ends. Called in a new process."""

    def work() -> int:
        while True:
            code = shell_code(subprocess.run(command, shell=True).returncode)
            print(
                f"axolotl-grpo-plugin: {command!r} ended with exit code {code}. It starts again.",
                file=sys.stderr,
                flush=True,
            )
            time.sleep(_AGAIN)

    sys.exit(guarded(work))


def shell_code(code: int) -> int:
    """Return an exit code as a shell reports it: 128 + n after signal n."""
    return 128 - code if code < 0 else code
