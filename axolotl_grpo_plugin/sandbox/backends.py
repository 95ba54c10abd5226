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

    command(source, disk): what runs that Python source in it with a scratch folder of so many bytes,
    and the user that it must become (None: it is one already). OSError where a tool is missing.
    """

    name: str
    isolated: bool
    command: Callable[[str, int], tuple[list[str], int | None]]


def visible(path: str) -> bool:
    """Whether a folder of `sys.path` can be seen inside: the packages, not the project."""
    return Path(path).name in ("site-packages", "dist-packages") and os.path.isdir(path)


def _places() -> tuple[list[str], dict[str, str]]:
    """Folders and files that are seen inside, outer ones first, and symlinks."""
    prefixes = ("/", "/usr", "/usr/local", sys.base_prefix, os.path.realpath(sys.base_prefix))
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


def _hidden() -> list[str]:
    """This package, where it is among those that are seen: it has data with expected outputs."""
    own = Path(__file__).parents[1].name
    found = [os.path.join(path, own) for path in dict.fromkeys(filter(visible, sys.path))]
    return [path for path in found if os.path.isdir(path) and not os.path.islink(path)]


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


def _bubblewrap(source: str, disk: int) -> tuple[list[str], int | None]:
    uid = _other_user()
    places, links = _places()
    above = [place for place in places if not place.startswith("/tmp/")]
    below = [place for place in places if place.startswith("/tmp/")]

    def bind(paths: list[str]) -> list[str]:
        folders = {str(folder): None for path in paths for folder in reversed(Path(path).parents)}
        # Said, since those that are not are made for root alone.
        command = [word for folder in folders for word in ("--dir", folder)]
        return command + [word for path in paths for word in ("--ro-bind", path, path)]

    command = [_tool("bwrap"), "--die-with-parent", "--as-pid-1"]
    command += [f"--unshare-{kind}" for kind in ("pid", "net", "ipc", "uts", "cgroup-try")]
    command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if uid else ["--unshare-user"]
    command += bind(above)
    command += ["--proc", "/proc", "--dir", "/dev"]
    command += [word for path in _DEVICES for word in ("--dev-bind", path, path)]
    command += [word for path, to in (links | _LINKS).items() for word in ("--symlink", to, path)]
    command += ["--perms", "1777", "--size", str(disk), "--tmpfs", "/tmp", *bind(below)]
    command += [word for path in _hidden() for word in ("--tmpfs", path, "--remount-ro", path)]
    return [*command, "--remount-ro", "/", "--chdir", "/tmp", *_PYTHON, source], uid


def _unshare(source: str, disk: int) -> tuple[list[str], int | None]:
    uid = _other_user()
    places, links = _places()
    user = [] if uid else ["--user", "--map-root-user"]
    kinds = ("net", "pid", "mount", "ipc", "uts", "cgroup", "fork", "kill-child")
    spec = {
        "binds": [(os.path.realpath(path), path) for path in places],
        "hidden": _hidden(),
        "devices": _DEVICES,
        "links": links | _LINKS,
        "disk": disk,
        "nested": uid is None,
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
UNSAFE = Backend("none", False, lambda source, disk: ([*_PYTHON, source], None))
