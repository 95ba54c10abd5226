"""Escape attempts and limits, in each kind of sandbox that works here, as root and as another user."""

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import axolotl_grpo_plugin.sandbox as sandbox
from axolotl_grpo_plugin.processes import alive
from axolotl_grpo_plugin.sandbox import Limits, Sandbox, SandboxError, backends, ready
from tests.conftest import ROOT, script
from tests.serving.marks import until

RUN = "def main(request, channel): exec(request, {'__name__': '__main__', 'channel': channel})"
LIMITS = Limits(seconds=2.0, memory=256 << 20, processes=8, output=1 << 20, disk=8 << 20)


@pytest.fixture(scope="module", params=[backend.name for backend in backends.BACKENDS])
def box(request):
    """Return a sandbox of one kind, found as in a training. A job leaves nothing to the next test."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "user namespaces":
            which = shutil.which
            patch.setattr(shutil, "which", lambda name: None if name == "bwrap" else which(name))
        sandbox._find_backend.cache_clear()
        try:
            box = Sandbox(RUN, LIMITS)
        except SandboxError as error:
            pytest.skip(str(error))
        if box._backend.name != request.param:
            pytest.skip(f"{request.param}: does not work here")
        with box:
            yield box
    sandbox._find_backend.cache_clear()


@pytest.fixture
def restarted(box):
    """The sandbox, not yet started: it finds the interpreter and its packages when it starts."""
    box.close()
    yield box
    box.close()


def run(box, program, **keywords):
    return box.run(textwrap.dedent(program), **keywords)


def tree(box):
    """Return the ids of the processes in and around the sandbox."""
    return [process.pid for process in psutil.Process(box._server._process.pid).children(True)]


def works(box):
    return run(box, "print(1)").stdout == "1\n"


def wait_for_end_of(pids):
    until(lambda: not any(map(alive, pids)))


def test_job_can_use_packages_and_stdin(box):
    ended = run(box, "import sys, psutil; print(sys.stdin.read(), psutil.pid_exists(1))", stdin="a")
    assert (ended.exit, ended.stdout, ended.late, ended.flood) == (0, "a True\n", False, False)


@pytest.mark.parametrize(
    "program, exit, stdout, stderr",
    [
        ("import sys; print(1); sys.exit(3)", 3, "1\n", ""),
        ("import sys; sys.exit('sorry')", 1, "", "sorry"),
        ("1/0", 1, "", "ZeroDivisionError: division by zero\n"),
        ("print(1, end=''); import os; os.kill(os.getpid(), 9)", -9, "", ""),
        ("import os; os._exit(0)", 0, "", ""),
        ("import atexit; atexit.register(print, 'last'); print('first')", 0, "first\nlast\n", ""),
        ("import threading, time\ndef f(): time.sleep(.2); print(1)\nthreading.Thread(target=f).start()", 0, "1\n", ""),
        ("import sys; sys.stdout.buffer.write(b'\\xff\\n')", 0, "�\n", ""),
        ("print(open('/dev/stdin').read(), open(0).read())", 0, "in in\n", ""),
        ("import os; os.close(1); print(1)", 120, "", "Bad file descriptor"),
    ],
)
def test_job_ends_like_a_python_program(box, program, exit, stdout, stderr):
    ended = run(box, program, stdin="in")
    assert (ended.exit, ended.stdout, ended.late) == (exit, stdout, False)
    assert stderr in ended.stderr


def test_job_and_caller_exchange_messages(box):
    job = box.start("channel.send(channel.receive() + 1); channel.receive(); 1/0")
    job.send(1)
    assert job.receive() == 2
    ended = job.end()  # so the job's receive() returns None
    assert "ZeroDivisionError" in ended.stderr
    answer, ended = box.call("channel.send({'a': [1.5, None]}); import time; time.sleep(60)")
    assert (answer, ended.exit) == ({"a": [1.5, None]}, -signal.SIGKILL)


@pytest.mark.parametrize("sent", ["b'nonsense\\n'", "b'1'", "b'[' * 100_000 + b'\\n'"])
def test_invalid_message_is_none(box, sent):
    answer, _ = box.call(f"import os; os.write(3, {sent})")
    assert answer is None


def test_output_is_deterministic(box):
    program = "print(hash('a'), list({'b', 'c', 'd'}))"
    before = run(box, program).stdout
    box.close()
    assert run(box, program).stdout == before


# Escape attempts and limits.


def test_job_has_no_network(box):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as hidden:
        name = f"axolotl-grpo-{os.getpid()}"
        hidden.bind("\0" + name)
        hidden.listen()
        ended = run(
            box,
            f"""
            import socket
            for family, address in (
                (socket.AF_INET, ("1.1.1.1", 53)),
                (socket.AF_INET, {server.getsockname()!r}),
                (socket.AF_INET6, ("::1", {server.getsockname()[1]})),
                (socket.AF_UNIX, "\\0{name}"),
            ):
                try:
                    with socket.socket(family) as client:
                        client.settimeout(1)
                        client.connect(address)
                    print("connected", address)
                except OSError:
                    print("no")
            try:
                socket.getaddrinfo("example.com", 80)
            except OSError:
                print("no")
            """,
        )
        assert ended.stdout == "no\n" * 5
        for listening in (server, hidden):
            listening.settimeout(0)
            with pytest.raises(BlockingIOError):
                listening.accept()


# Programs whose output shows that a limit works, or that an escape fails.
PRINTS = {
    # AF_VSOCK reaches a virtual machine's host. A TCP port stays taken after the job's end.
    "only Unix sockets": (
        """
        import socket
        for family in (socket.AF_VSOCK, socket.AF_ALG, socket.AF_NETLINK, socket.AF_PACKET, socket.AF_TIPC,
                       socket.AF_INET, socket.AF_INET6):
            for make in (socket.socket, socket.socketpair):
                try:
                    make(family)
                except PermissionError:
                    print("no")
        socket.socketpair()
        """,
        "no\n" * 14,
    ),
    "system calls that bypass a limit": (
        """
        import ctypes, os, platform
        def refused(call, *arguments):
            try: call(*arguments)
            except OSError: print("no")
        refused(os.unshare, os.CLONE_NEWUSER)
        refused(os.unshare, os.CLONE_NEWNS)
        refused(os.memfd_create, "x")
        refused(os.setuid, 0)
        refused(os.setgroups, [0])
        refused(os.setpriority, os.PRIO_PROCESS, 1, 19)
        refused(os.setpriority, os.PRIO_USER, 0, 19)
        refused(os.sched_setscheduler, 1, os.SCHED_IDLE, os.sched_param(0))
        refused(os.sched_setaffinity, 1, {0})
        refused(os.mknod, "/tmp/x", 0o60666, os.makedev(8, 0))
        libc = ctypes.CDLL(None, use_errno=True)
        print(libc.shmget(0, 1 << 20, 0o1666), libc.ptrace(0, 0, 0, 0), libc.personality(0))
        print(libc.syscall(*((56, 0x10000011) if platform.machine() == "x86_64" else (220, 0x10000011)), 0, 0, 0, 0))
        print(libc.mount(b"t", b"/tmp", b"tmpfs", 0, b""), libc.setns(0, 0))
        """,
        "no\n" * 10 + "-1 -1 0\n-1\n-1 -1\n",
    ),
    "files outside /tmp": (
        f"""
        import os
        for path in ("/x", "/usr/x", "/usr/lib/x", "/dev/x", "/dev/shm/x", "/proc/x", "/etc/x", "/home/x", "/var/x",
                     {sys.base_prefix!r} + "/lib/x", os.__file__, "/etc/ld.so.cache", "/proc/sys/kernel/hostname",
                     "/proc/sysrq-trigger", "/var/tmp/x", "/run/x", "/sys/x", "/bin/sh"):
            try:
                open(path, "a").close()
                print("wrote", path)
            except OSError:
                pass
        print("tried all")
        """,
        "tried all\n",
    ),
    "times of a device": (
        """
        import os
        before = [os.stat(each)[7:10] for each in ("/dev/null", "/dev/zero")]
        open("/dev/null", "w").write("x")
        open("/dev/zero", "rb").read(9)
        try: os.utime("/dev/null")
        except OSError: print(before == [os.stat(each)[7:10] for each in ("/dev/null", "/dev/zero")])
        """,
        "True\n",
    ),
    "other file descriptors": (
        """
        import os
        def exists(fd):
            try: return bool(os.fstat(fd))
            except OSError: return False
        print([fd for fd in range(64) if exists(fd)])
        """,
        "[0, 1, 2, 3]\n",
    ),
    "size of the disk": (
        """
        import os
        written = 0
        try:
            for number in range(1000):
                with open(f"/tmp/{number}", "wb", buffering=0) as file:
                    written += file.write(bytes(1 << 19))
        except OSError as error:
            print(error.strerror)
        print(written <= 8 << 20, os.statvfs("/tmp").f_blocks * 4096)
        """,
        f"No space left on device\nTrue {8 << 20}\n",
    ),
    # It took seconds to delete millions of files, in the next job's time.
    "number of files": (
        """
        try:
            for number in range(100_000): open(f"/tmp/{number}", "w").close()
        except OSError as error:
            print(error.strerror, number < 1000)
        """,
        "No space left on device True\n",
    ),
    "size of a file": (
        """
        try: open("/tmp/1", "wb").write(bytes(2 << 20))
        except OSError as error: print(error.strerror)
        """,
        "File too large\n",
    ),
    "first to end if memory runs out": ("print(open('/proc/self/oom_score_adj').read())", "1000\n\n"),
}


@pytest.mark.parametrize("program, stdout", PRINTS.values(), ids=PRINTS)
def test_limits_and_escapes_that_print(box, program, stdout):
    ended = run(box, program)
    assert ended.stdout == stdout, ended.stderr


@pytest.mark.parametrize(
    "bomb",
    [
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "import os\nwhile True:\n    try:\n        if os.fork() == 0: os.setsid()\n    except OSError: pass",
        "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(60,)).start()",
    ],
)
def test_fork_bomb_is_limited_and_ended(box, bomb):
    run(box, "")
    (server,) = tree(box)
    job = box.start(bomb, seconds=0.3)
    most, deadline = 0, time.monotonic() + 0.3
    while time.monotonic() < deadline:
        most = max(most, len(tree(box)))
    ended = job.end()
    assert ended.late or "can't start new thread" in ended.stderr
    assert most <= LIMITS.processes + 2  # the server, and the first process of the job's namespace
    assert tree(box) == [server]
    assert works(box)


def test_job_cannot_read_project_home_or_environment(restarted, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    folder = Path.home() if os.access(Path.home(), os.W_OK) else Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".axolotl-grpo-") as secret:
        ended = run(
            restarted,
            f"""
            import os, glob
            for path in ({secret.name!r}, {str(ROOT / "pyproject.toml")!r}, {__file__!r}, "/etc/passwd",
                         "/etc/shadow", "/proc/{os.getpid()}/environ"):
                try:
                    print(path, open(path).read())
                except OSError:
                    print("no")
            seen = "".join(open(each).read() for each in glob.glob("/proc/[0-9]*/environ")
                           if os.access(each, os.R_OK))
            print("sk-secret" in seen + str(os.environ), os.listdir("/home") if os.path.exists("/home") else [])
            print(sorted(each for each in os.listdir("/proc") if each.isdigit())[:2] == ["1", str(os.getpid())])
            """,
        )
    assert ended.stdout == "no\n" * 6 + "False []\nTrue\n", ended.stderr


def test_job_cannot_move_packages_below_tmp(restarted, monkeypatch, tmp_path):
    """A job may own the folders of /tmp in which packages are mounted."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(packages)
    above = "/".join(str(packages).split("/")[:3])
    run(restarted, f"import os; os.rename({above!r}, '/tmp/moved')")
    assert run(restarted, f"import os; print(os.path.exists({str(packages)!r}))").stdout == "True\n"


def test_job_cannot_kill_or_inspect_other_processes(box):
    run(box, "")
    before = tree(box)
    ended = run(
        box,
        f"""
        import os, resource, signal
        for pid in (os.getppid(), 1, {os.getpid()}, {before[0]}):
            for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGSEGV):
                try: os.kill(pid, number)
                except ProcessLookupError: pass
        def refused(call, *arguments):
            try: call(*arguments)
            except OSError: print("no")
        refused(resource.prlimit, 1, resource.RLIMIT_NOFILE, (0, 0))
        refused(open, "/proc/1/mem", "rb")
        refused(os.listdir, "/proc/1/fd")
        refused(os.kill, -1, signal.SIGKILL)
        """,
    )
    assert ended.stdout == "no\n" * 4
    assert tree(box) == before
    assert works(box)


@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(60)",
        "import signal, time\nfor each in range(1, 32):\n    try: signal.signal(each, signal.SIG_IGN)\n"
        "    except OSError: pass\ntime.sleep(60)",
        "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\ntime.sleep(60)",
        "9 ** 9 ** 9",
        "import re; re.match('(a*)*b', 'a' * 40)",
        "import sys; sys.stdin.read(); channel.receive()",
        "import atexit, time; atexit.register(time.sleep, 60)",
        "import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()",
        "while True:\n    try: 1 / 0\n    except BaseException: pass",
    ],
)
def test_job_and_its_processes_end_at_the_time_limit(box, program):
    run(box, "")
    before = tree(box)
    began = time.monotonic()
    job = box.start(program, seconds=0.15)
    assert job.receive() is None
    ended = job.end() if "receive" not in program else job.end(stop=True)
    assert time.monotonic() - began < 20.0  # a busy machine may need this long
    assert ended.late or ended.exit == 0
    assert tree(box) == before


@pytest.mark.parametrize(
    "program",
    [
        "print('x' * 3_000_000)",
        "import sys; sys.stderr.write('x' * 3_000_000)",
        "import os\nwhile True: os.write(1, bytes(1 << 16))",
        "channel.send('x' * 3_000_000)",
    ],
)
def test_output_is_limited(box, program):
    job = box.start(program)
    job.receive()
    ended = job.end()
    assert ended.flood
    assert len(ended.stdout) <= LIMITS.output and len(ended.stderr) <= 4000


@pytest.mark.parametrize("program", ["bytes(1 << 30)", "x = [0]\nwhile True: x += x"])
def test_memory_is_limited(box, program):
    ended = run(box, program)
    assert ended.exit == 1 and ended.stderr.endswith("MemoryError\n")


def test_job_leaves_no_files_or_processes_to_the_next(box):
    run(
        box,
        """
        import os, time
        os.makedirs("/tmp/deep/er")
        open("/tmp/.hidden", "w").write("from before")
        os.symlink("/usr", "/tmp/usr")
        os.chmod("/tmp/deep", 0)
        os.chmod("/tmp", 0o700) if os.stat("/tmp").st_uid == os.getuid() else None
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                while True:
                    open("/tmp/written", "a").write("x")
        """,
    )
    ended = run(
        box,
        """
        import os, time
        time.sleep(0.2)
        print([each for each in os.listdir("/proc") if each.isdigit()] == ["1", str(os.getpid())])
        print(any(each in os.listdir("/tmp") for each in ("deep", ".hidden", "usr", "written")))
        open("/tmp/x", "w")
        """,
    )
    assert ended.stdout == "True\nFalse\n", ended.stderr


# Programs that print something else if they see a trace of an earlier job.
TRACES = {
    "process ids": "import os; child = os.fork(); child or os._exit(0); print(os.getpid(), child)",
    "times of the scratch folder": "import os; print(all(abs(each - __import__('time').time()) < 0.25 "
    "for each in os.stat('/tmp')[7:] for each in [os.stat('/tmp').st_mtime, os.stat('/tmp').st_atime, "
    "os.stat('/tmp').st_ctime]))",
    "processes outside": "import os; print([each for each in os.listdir('/proc') if each.isdigit()])",
    "the first process's counters": "print(open('/proc/1/stat').read().split()[10:17:2])",
    "the last process id": "print(open('/proc/loadavg').read().split()[-1])",
    "files": "import os; print(os.listdir('/tmp'), os.statvfs('/tmp')[2:8])",
    "a busy port": "import socket\n"
    "try: socket.socket().bind(('127.0.0.1', 4242)); print('bound')\nexcept OSError: print('no')",
}


@pytest.mark.parametrize("program", TRACES.values(), ids=TRACES)
def test_job_sees_no_trace_of_an_earlier_one(box, program):
    first = run(box, program)
    run(
        box,
        """
        import os, socket
        for each in range(20):
            if os.fork() == 0: os._exit(sum(range(300_000)) & 0)
            os.wait()
        open("/tmp/x", "w").write("x" * 10_000)
        os.utime("/tmp/x", (1, 1))
        os.listdir("/tmp")
        try:
            server = socket.create_server(("127.0.0.1", 4242))
            socket.create_connection(server.getsockname())
            server.accept()[0].close()
        except OSError:
            pass
        """,
    )
    if "time.time()" in program:
        time.sleep(0.3)
    assert run(box, program).stdout == first.stdout != "", first.stderr


@pytest.mark.parametrize("how", ["prefix", "packages"])
def test_job_cannot_read_this_package_under_any_path(restarted, monkeypatch, tmp_path, how):
    """The package contains expected outputs. Symlinks make it visible under several paths."""
    real, link = tmp_path / "python-3.12.1", tmp_path / "python"
    packages = Path("lib", "site-packages")
    secret = packages / sandbox.__package__.partition(".")[0] / "secret"
    (real / secret).parent.mkdir(parents=True)
    (real / secret).touch()
    (real / packages / "other").touch()
    if how == "prefix":
        monkeypatch.setattr(sys, "base_prefix", str(link))
    else:
        monkeypatch.syspath_prepend(real / packages)
    link.symlink_to(real)
    monkeypatch.syspath_prepend(link / packages)
    paths = [str(base / inner) for base in (real, link) for inner in (packages / "other", secret)]
    seen = eval(run(restarted, f"import os; print([os.path.exists(each) for each in {paths!r}])").stdout)
    assert seen[1::2] == [False, False] and True in seen[::2]


def test_all_processes_of_a_job_share_its_time(box):
    began = time.monotonic()
    assert run(box, "import os\nfor _ in range(3): os.fork()\nwhile True: pass", seconds=0.3).late
    assert time.monotonic() - began < 3.0


def test_job_does_not_pay_while_it_waits_for_messages(box):
    """A program waits while its tests run."""
    job = box.start("while (message := channel.receive()): channel.send(message)", seconds=0.2)
    for _ in range(3):
        time.sleep(0.1)
        job.send(1)
        assert job.receive() == 1
    assert not job.end(stop=True).late


def test_imported_module_may_write_to_tmp(box, monkeypatch, tmp_path):
    """Reasoning-gym imports matplotlib, which does so."""
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "writes.py").write_text("open('/tmp/written', 'w').write('x')")
    monkeypatch.syspath_prepend(packages)
    with Sandbox(RUN, LIMITS, imports=["writes"]) as box:
        assert run(box, "import os; print(os.path.exists('/tmp/written'))").stdout == "False\n"


def test_first_job_does_not_pay_for_the_start(box):
    with Sandbox(RUN, LIMITS, imports=["numpy"]) as cold:
        ended = run(cold, "print(1)", seconds=0.1)
    assert (ended.stdout, ended.late) == ("1\n", False)


def test_close_ends_all_processes(box):
    run(box, "")
    job = box.start("import os, time; os.fork(); os.fork(); time.sleep(60)")
    until(lambda: len(tree(box)) >= 6)
    inside = [box._server._process.pid, *tree(box)]
    assert len(inside) == 7
    box.close()
    wait_for_end_of(inside)
    with pytest.raises(SandboxError):
        job.end()
    assert works(box)


def test_abandoned_job_does_not_leak_into_the_next(box):
    box.start("print(1)")
    assert run(box, "print(2)").stdout == "2\n"
    box.start("import time; time.sleep(60)")
    assert run(box, "print(3)").stdout == "3\n"


def test_killed_sandbox_is_replaced(box):
    run(box, "")
    for pid in tree(box):
        os.kill(pid, signal.SIGKILL)
    wait_for_end_of([box._server._process.pid])
    assert works(box)


def test_sandbox_ends_with_a_killed_caller(box):
    program = f"""
    import os, time
    import axolotl_grpo_plugin.sandbox as sandbox
    sandbox._find_backend = lambda _: sandbox.BACKENDS[{backends.BACKENDS.index(box._backend)}]
    box = sandbox.Sandbox({RUN!r})
    box.run("")
    job = box.start("import os, time; os.fork() or os.setsid(); time.sleep(60)")
    time.sleep(0.3)
    print("started", flush=True)
    time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as ours:
        assert ours.stdout.readline() == b"started\n"
        pids = [process.pid for process in psutil.Process(ours.pid).children(recursive=True)]
        ours.kill()
    assert len(pids) == 5
    wait_for_end_of(pids)


# Machines without a sandbox.


@pytest.fixture
def no_tools(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    sandbox._find_backend.cache_clear()
    yield
    sandbox._find_backend.cache_clear()


def test_refused_if_no_sandbox_works(no_tools):
    message = (
        r"No sandbox works here \(bubblewrap: not installed; user namespaces: not installed\)\. "
        "Install bubblewrap .* or set allow_unsafe: true"
    )
    with pytest.raises(SandboxError, match=message) as raised:
        ready()
    assert "\n" not in str(raised.value)
    with pytest.raises(SandboxError):
        Sandbox(RUN)


def test_error_quotes_the_message_of_a_failing_tool(no_tools, monkeypatch, tmp_path):
    for name in ("bwrap", "unshare"):
        script(tmp_path / name, "echo $0: No permissions to create new namespace >&2\nexit 1")
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name))
    with pytest.raises(SandboxError, match=r"\(bubblewrap: .*/bwrap: No permissions to create"):
        ready()


def test_allow_unsafe_warns_and_keeps_the_limits(no_tools, caplog, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        ready(allow_unsafe=True)
        box = Sandbox(RUN, LIMITS, allow_unsafe=True)
    (warning,) = caplog.messages
    assert "all files and processes of this user" in warning
    with box:
        assert run(box, "print(input() * 2)", stdin="a").stdout == "aa\n"
        assert run(box, "import time; time.sleep(60)", seconds=0.3).late
        began = time.monotonic()
        box.start("import time; time.sleep(60)").end(stop=True)
        assert time.monotonic() - began < 1.5
        assert "MemoryError" in run(box, "bytes(1 << 30)").stderr
        run(box, "open('left', 'w')")
        assert run(box, "import os; print(os.listdir('.'))").stdout == "[]\n"
    assert not list(tmp_path.iterdir())


# Limits and namespaces differ for root, so run the tests as another user too.


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_all_tests_pass_as_another_user():
    """Mount the interpreter elsewhere, because its folder may be readable for root only."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    packages = [str(ROOT), *filter(backends.is_visible, sys.path)]
    python = f"{folder}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    script = f"""
    become="setpriv --reuid 65534 --regid 65534 --clear-groups env -i"
    mount --bind {sys.base_prefix} {folder} && $become ls {" ".join(packages)} > /dev/null || exit 77
    exec $become HOME=/nonexistent PATH=/usr/bin:/bin PYTHONPATH={":".join(packages)} LD_LIBRARY_PATH={folder}/lib \\
        {python} -m pytest -q -rs -n0 -p no:cacheprovider {__file__}
    """
    try:
        done = subprocess.run(["unshare", "--mount", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True)
    finally:
        folder.rmdir()
    if done.returncode == 77 or "unshare: " in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr
