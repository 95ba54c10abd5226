"""Build the command that starts the server process in a sandbox."""

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# Without site packages, user site and current folder: the server adds the visible packages itself.
_PYTHON = [os.path.realpath(sys.executable), "-sSP", "-c"]
_UIDS = Path("/proc/self/uid_map")
_MOUNTS = Path(__file__).with_name("mounts.py")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_LINKS = {
    f"/dev/{name}": f"/proc/self/fd/{fd}" for fd, name in enumerate(("stdin", "stdout", "stderr"))
}


class Backend(NamedTuple):
    """A way to make a sandbox.

    name: for messages.
    command(source): return the command that runs Python source in the sandbox, and the user id that
        jobs must take, or None to keep the current one. Raises OSError if a tool is missing.
    """

    name: str
    command: Callable[[str], tuple[list[str], int | None]]


def is_visible(path: str) -> bool:
    """Return True if jobs can see this folder of `sys.path`: they see packages, but no project."""
    return Path(path).name in ("site-packages", "dist-packages") and os.path.isdir(path)


def _visible_paths() -> tuple[list[str], dict[str, str]]:
    """Return the visible folders and files, without folders inside others, and the visible symlinks."""
    own = str(Path(_PYTHON[0]).parents[1])
    prefixes = ("/", "/usr", "/usr/local", sys.base_prefix, os.path.realpath(sys.base_prefix), own)
    parts = [
        os.path.join(prefix, part)
        for prefix in dict.fromkeys(prefixes)
        for part in ("bin", "lib", "lib32", "lib64", "libexec")
    ]
    links = {
        part: os.readlink(part)
        for part in parts
        if os.path.dirname(part) == "/" and os.path.islink(part)
    }
    parts += ["/etc/ld.so.cache", "/etc/alternatives", *filter(is_visible, sys.path)]
    paths: list[str] = []
    for part in sorted(filter(os.path.exists, set(parts) - set(links))):
        if not any(part.startswith(f"{outer}/") for outer in paths):
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
    packages = {
        os.path.realpath(os.path.join(path, own.name)) for path in filter(is_visible, sys.path)
    }
    hidden = set()
    for path in _visible_paths()[0]:
        real = os.path.realpath(path)
        for package in filter(os.path.isdir, {*packages, str(own)}):
            if package.startswith(f"{real}/"):
                hidden.add(path + package.removeprefix(real))
    return sorted(hidden)


def _unused_user() -> int | None:
    """Return a random user id that no other process has; None if this process cannot change its user.

    The limit on processes does not apply to root, and counts all processes of a user.
    """
    if os.geteuid() != 0:
        return None
    ranges = [list(map(int, line.split())) for line in _UIDS.read_text().splitlines()]
    start, _, count = max(ranges, key=lambda each: each[2])
    if count < 1000:
        return None
    return start + count - 1 - random.SystemRandom().randrange(1, count // 2)


def _bubblewrap(source: str) -> tuple[list[str], int | None]:
    uid = _unused_user()
    paths, links = _visible_paths()
    command = [_find_tool("bwrap"), "--die-with-parent", "--as-pid-1"]
    command += [f"--unshare-{kind}" for kind in ("pid", "net", "ipc", "uts", "cgroup-try")]
    rights = ("SYS_ADMIN", "SETUID", "SETGID", "KILL") if uid else ("SYS_ADMIN",)
    command += [word for right in rights for word in ("--cap-add", f"CAP_{right}")]
    command += [] if uid else ["--unshare-user"]
    # Some modules write to /tmp during import. Jobs get another /tmp.
    command += ["--size", str(16 << 20), "--tmpfs", "/tmp"]
    # Without --dir, bwrap makes the folders above the paths for root alone.
    folders = {str(folder): None for path in paths for folder in reversed(Path(path).parents)}
    command += [word for folder in folders for word in ("--dir", folder)]
    command += [word for path in paths for word in ("--ro-bind", path, path)]
    command += ["--proc", "/proc", "--dir", "/dev"]
    command += [word for path in _DEVICES for word in ("--dev-bind", path, path)]
    command += [word for path, to in (links | _LINKS).items() for word in ("--symlink", to, path)]
    command += [word for path in _hidden() for word in ("--tmpfs", path, "--remount-ro", path)]
    return [*command, "--remount-ro", "/", "--chdir", "/tmp", *_PYTHON, source], uid


def _unshare(source: str) -> tuple[list[str], int | None]:
    uid = _unused_user()
    paths, links = _visible_paths()
    user = [] if uid else ["--user", "--map-current-user", "--keep-caps"]
    kinds = ("net", "pid", "mount", "ipc", "uts", "cgroup", "fork", "kill-child")
    spec = {
        "binds": [(os.path.realpath(path), path) for path in paths],
        "hidden": _hidden(),
        "devices": _DEVICES,
        "links": links | _LINKS,
        "command": [*_PYTHON, source],
    }
    command = [_find_tool("unshare"), *user, *(f"--{kind}" for kind in kinds)]
    return [*command, *_PYTHON, _MOUNTS.read_text(), json.dumps(spec)], uid


def _find_tool(name: str) -> str:
    path = shutil.which(name)
    if not path:
        raise FileNotFoundError("not installed")
    return path


BACKENDS = (
    Backend("bubblewrap", _bubblewrap),
    Backend("user namespaces", _unshare),
)
UNSAFE = Backend("none", lambda source: ([*_PYTHON, source], None))  # plain processes
