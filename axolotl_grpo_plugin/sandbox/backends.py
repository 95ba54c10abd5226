"""How a sandbox is made: the command that starts the process in it."""

import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# No site, user site or current folder: what the modules are is said by `visible`.
_PYTHON = [os.path.realpath(sys.executable), "-sSP", "-c"]
_UIDS = Path("/proc/self/uid_map")
_MOUNTS = Path(__file__).with_name("mounts.py")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_LINKS = {
    f"/dev/{name}": f"/proc/self/fd/{fd}" for fd, name in enumerate(("stdin", "stdout", "stderr"))
}


class Backend(NamedTuple):
    """name: in messages. isolated: whether it is a sandbox at all.

    command(source): return the command that runs that Python source in the sandbox, and the user that
    its jobs must become (None: they are one already). OSError if a tool is missing.
    """

    name: str
    isolated: bool
    command: Callable[[str], tuple[list[str], int | None]]


def visible(path: str) -> bool:
    """Whether a folder of `sys.path` can be seen inside: the packages, not the project."""
    return Path(path).name in ("site-packages", "dist-packages") and os.path.isdir(path)


def _places() -> tuple[list[str], dict[str, str]]:
    """Folders and files that are seen inside, outer ones first, and symlinks."""
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
    parts += ["/etc/ld.so.cache", "/etc/alternatives", *filter(visible, sys.path)]
    found: list[str] = []
    for part in sorted(filter(os.path.exists, set(parts) - set(links))):
        if not any(part.startswith(f"{outer}/") for outer in found):
            found.append(part)
    return found, links


def below_tmp() -> list[str]:
    """Return the visible folders below /tmp, which each job's own /tmp must show as well."""
    return [place for place in _places()[0] if place.startswith("/tmp/")]


def _hidden() -> list[str]:
    """Return all paths under which this package is visible: it holds expected outputs.

    One folder has several when a visible folder is, or is reached through, a symlink.
    """
    own = Path(__file__).resolve().parents[1]
    packages = {
        os.path.realpath(os.path.join(path, own.name)) for path in filter(visible, sys.path)
    }
    found = set()
    for place in _places()[0]:
        real = os.path.realpath(place)
        for package in filter(os.path.isdir, {*packages, str(own)}):
            if package.startswith(f"{real}/"):
                found.add(place + package.removeprefix(real))
    return sorted(found)


def _other_user() -> int | None:
    """A user that nobody else is, where this process may become one.

    The limit on processes never holds for root, and counts all that its user has.
    """
    if os.geteuid() != 0:
        return None
    ranges = [list(map(int, line.split())) for line in _UIDS.read_text().splitlines()]
    start, _, count = max(ranges, key=lambda each: each[2])
    return (
        None if count < 1000 else start + count - 1 - random.SystemRandom().randrange(1, count // 2)
    )


def _bubblewrap(source: str) -> tuple[list[str], int | None]:
    uid = _other_user()
    places, links = _places()

    def bind(paths: list[str]) -> list[str]:
        folders = {str(folder): None for path in paths for folder in reversed(Path(path).parents)}
        # Said, since those that are not are made for root alone.
        command = [word for folder in folders for word in ("--dir", folder)]
        return command + [word for path in paths for word in ("--ro-bind", path, path)]

    command = [_tool("bwrap"), "--die-with-parent", "--as-pid-1"]
    command += [f"--unshare-{kind}" for kind in ("pid", "net", "ipc", "uts", "cgroup-try")]
    rights = ("SYS_ADMIN", "SETUID", "SETGID", "KILL") if uid else ("SYS_ADMIN",)
    command += [word for right in rights for word in ("--cap-add", f"CAP_{right}")]
    command += [] if uid else ["--unshare-user"]
    # For modules that write when they are imported; a job's /tmp is another.
    command += ["--size", str(16 << 20), "--tmpfs", "/tmp", *bind(places)]
    command += ["--proc", "/proc", "--dir", "/dev"]
    command += [word for path in _DEVICES for word in ("--dev-bind", path, path)]
    command += [word for path, to in (links | _LINKS).items() for word in ("--symlink", to, path)]
    command += [word for path in _hidden() for word in ("--tmpfs", path, "--remount-ro", path)]
    return [*command, "--remount-ro", "/", "--chdir", "/tmp", *_PYTHON, source], uid


def _unshare(source: str) -> tuple[list[str], int | None]:
    uid = _other_user()
    places, links = _places()
    user = [] if uid else ["--user", "--map-current-user", "--keep-caps"]
    kinds = ("net", "pid", "mount", "ipc", "uts", "cgroup", "fork", "kill-child")
    spec = {
        "binds": [(os.path.realpath(path), path) for path in places],
        "hidden": _hidden(),
        "devices": _DEVICES,
        "links": links | _LINKS,
        "then": [*_PYTHON, source],
    }
    command = [_tool("unshare"), *user, *(f"--{kind}" for kind in kinds)]
    return [*command, *_PYTHON, _MOUNTS.read_text(), json.dumps(spec)], uid


def _tool(name: str) -> str:
    found = shutil.which(name)
    if not found:
        raise FileNotFoundError("not installed")
    return found


BACKENDS = (
    Backend("bubblewrap", True, _bubblewrap),
    Backend("user namespaces", True, _unshare),
)
UNSAFE = Backend("none", False, lambda source: ([*_PYTHON, source], None))
