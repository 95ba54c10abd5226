"""Build the command that starts the server process in a sandbox.

`unshare` runs on Linux 5.12 or newer, and with fewer rights than bubblewrap. Bubblewrap runs on older kernels too.
"""

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

# Without site packages, user site and current folder: the server adds the visible packages itself.
_PYTHON = [os.path.realpath(sys.executable), "-sSP", "-c"]
_SERVER = Path(__file__).with_name("inside.py")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_LINKS = {
    "/dev/stdin": "/proc/self/fd/0",
    "/dev/stdout": "/proc/self/fd/1",
    "/dev/stderr": "/proc/self/fd/2",
}
# Some modules write to /tmp during import. Jobs get another /tmp.
_BUBBLEWRAP = """
    --die-with-parent --as-pid-1 --unshare-pid --unshare-net --unshare-ipc --unshare-uts
    --unshare-cgroup-try --cap-add CAP_SYS_ADMIN --size 16777216 --tmpfs /tmp
""".split()
_UNSHARE = "--net --pid --mount --ipc --uts --cgroup --fork --kill-child".split()


class Backend(NamedTuple):
    """A way to make a sandbox.

    name: for messages.
    command(uid): return the command that runs the server in the sandbox. uid: the user id that jobs take, or
        None if they keep the current one. Raises OSError if a tool is missing.
    """

    name: str
    command: Callable[[int | None], list[str]]


def is_visible(path: str) -> bool:
    """Return True if jobs can see this folder of `sys.path`: they see packages, but no project."""
    return Path(path).name in ("site-packages", "dist-packages") and os.path.isdir(path)


def visible_packages() -> list[str]:
    return [path for path in sys.path if is_visible(path)]


def _visible_paths() -> tuple[list[str], dict[str, str]]:
    """Return the visible folders and files, without folders inside others, and the visible symlinks."""
    own = str(Path(_PYTHON[0]).parents[1])
    parts = {"/etc/ld.so.cache", "/etc/alternatives", *visible_packages()}
    links = {}
    for prefix in (
        "/",
        "/usr",
        "/usr/local",
        sys.base_prefix,
        os.path.realpath(sys.base_prefix),
        own,
    ):
        for name in ("bin", "lib", "lib32", "lib64", "libexec"):
            part = os.path.join(prefix, name)
            if prefix == "/" and os.path.islink(part):
                links[part] = os.readlink(part)
            else:
                parts.add(part)
    paths: list[str] = []
    for part in sorted(parts):
        inside_another = any(part.startswith(f"{outer}/") for outer in paths)
        if os.path.exists(part) and not inside_another:
            paths.append(part)
    return paths, links


def below_tmp() -> list[str]:
    """Return the visible folders below /tmp. Each job has its own /tmp, which must show them too."""
    return [path for path in _visible_paths()[0] if path.startswith("/tmp/")]


def _hidden() -> list[str]:
    """Return all paths under which this package would be visible. It contains expected outputs.

    The package has several paths if a visible folder is a symlink or lies behind one.
    """
    own = Path(__file__).resolve().parents[1]
    packages = {str(own)}
    for path in visible_packages():
        packages.add(os.path.realpath(os.path.join(path, own.name)))
    hidden = set()
    for path in _visible_paths()[0]:
        real = os.path.realpath(path)
        for package in packages:
            if package.startswith(f"{real}/") and os.path.isdir(package):
                hidden.add(path + package.removeprefix(real))
    return sorted(hidden)


def unused_user() -> int | None:
    """Return a random user id that no other process has; None if this process cannot change its user.

    The limit on processes does not apply to root, and counts all processes of a user.
    """
    if os.geteuid() != 0:
        return None
    spans = []
    for line in Path("/proc/self/uid_map").read_text().splitlines():
        start, _, count = map(int, line.split())
        spans.append((count, start))
    widest, start = max(spans)
    if widest < 1000:
        return None
    return start + widest - 1 - random.SystemRandom().randrange(1, widest // 2)


def _bubblewrap(uid: int | None) -> list[str]:
    paths, links = _visible_paths()
    command = [_find_tool("bwrap"), *_BUBBLEWRAP]
    if uid is None:
        command.append("--unshare-user")
    else:
        command += "--cap-add CAP_SETUID --cap-add CAP_SETGID --cap-add CAP_KILL".split()
    # Without --dir, bwrap makes the folders above the paths for root alone.
    parents = [Path(path).parents for path in paths]
    for folder in sorted({*chain(*parents)}):
        command += ["--dir", str(folder)]
    for path in paths:
        command += ["--ro-bind", path, path]
    command += ["--proc", "/proc", "--dir", "/dev"]
    for path in _DEVICES:
        command += ["--dev-bind", path, path]
    for path, destination in (links | _LINKS).items():
        command += ["--symlink", destination, path]
    for path in _hidden():
        command += ["--tmpfs", path, "--remount-ro", path]
    return [*command, "--remount-ro", "/", "--chdir", "/tmp", *_server()]


def _unshare(uid: int | None) -> list[str]:
    """Return a command with the plan of the root folder, which inside.py builds.

    The plan has `binds` (pairs of source and target), `hidden` (folders to show empty), `devices`, `links`
    (path: target) and `command` (the server's).
    """
    paths, links = _visible_paths()
    plan = {
        "binds": [(os.path.realpath(path), path) for path in paths],
        "hidden": _hidden(),
        "devices": _DEVICES,
        "links": links | _LINKS,
        "command": _server(),
    }
    command = [_find_tool("unshare"), *_UNSHARE]
    if uid is None:
        command += ["--user", "--map-current-user", "--keep-caps"]
    return [*command, *_server(), json.dumps(plan)]


@cache
def _server() -> list[str]:
    return [*_PYTHON, _SERVER.read_text()]


def _find_tool(name: str) -> str:
    path = shutil.which(name)
    if not path:
        raise FileNotFoundError("not installed")
    return path


BACKENDS = (Backend("bubblewrap", _bubblewrap), Backend("user namespaces", _unshare))
UNSAFE = Backend("none", lambda uid: _server())  # plain processes
