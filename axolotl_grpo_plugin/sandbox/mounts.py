"""Build the sandbox's root folder in new namespaces, then run the server there.

`unshare` runs this script. Its argument is JSON: `binds` (pairs of source and target), `hidden` (folders
to show empty), `devices`, `links` (path: target) and `command` (the server's).
"""

import ctypes
import json
import os
import sys

NOSUID, NODEV, NOEXEC, BIND, REC = 2, 4, 8, 4096, 16384
ATTRIBUTES = 1 | 2  # read-only, no set-user-id
MOUNT_SETATTR, HERE, RECURSIVE, DETACH = 442, -100, 0x8000, 2
libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, call: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = (word.encode() for word in (source, target, kind))
    check(libc.mount(*words, ctypes.c_ulong(flags), data.encode()), f"mount {target}")


def read_only(target: str, flags: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(ATTRIBUTES, 0, 0, 0)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    arguments = (ctypes.c_long(HERE), target.encode(), ctypes.c_uint(flags), attributes, size)
    check(libc.syscall(ctypes.c_long(MOUNT_SETATTR), *arguments), f"mount_setattr {target}")


def bind(source: str, target: str) -> None:
    os.makedirs(target if os.path.isdir(source) else os.path.dirname(target), exist_ok=True)
    if not os.path.isdir(source):
        open(target, "x").close()
    mount(source, target, "", BIND | REC)


def main() -> None:
    spec = json.loads(sys.argv[1])
    os.umask(0o022)
    # Visible folders may lie below /tmp, so keep the old root within reach of the new one.
    mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV, "mode=755")
    os.mkdir("/tmp/old")
    os.mkdir("/tmp/new")
    check(libc.pivot_root(b"/tmp", b"/tmp/old"), "pivot_root")
    os.chdir("/")
    mount("tmpfs", "/new", "tmpfs", NOSUID | NODEV, "mode=755,size=1m")
    os.makedirs("/new/tmp")
    # Some modules write to /tmp during import. Jobs get another /tmp.
    mount("tmpfs", "/new/tmp", "tmpfs", NOSUID | NODEV, "mode=755,size=16m")
    for source, target in spec["binds"]:
        bind(f"/old{source}", f"/new{target}")
        read_only(f"/new{target}", RECURSIVE)
    for folder in spec["hidden"]:
        mount("tmpfs", f"/new{folder}", "tmpfs", NOSUID | NODEV, "mode=755")
        read_only(f"/new{folder}", 0)
    for device in spec["devices"]:
        bind(f"/old{device}", f"/new{device}")
    for path, to in spec["links"].items():
        os.symlink(to, f"/new{path}")
    os.mkdir("/new/proc")
    mount("proc", "/new/proc", "proc", NOSUID | NODEV | NOEXEC)
    read_only("/new", 0)
    os.chdir("/new")
    check(libc.pivot_root(b".", b"."), "pivot_root")
    check(libc.umount2(b".", DETACH), "umount")
    os.chdir("/tmp")
    os.execv(spec["command"][0], spec["command"])


main()
