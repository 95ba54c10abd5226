"""The parcel: which files of the working folder travel to the container."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from axolotl_grpo_plugin.cloud.keys import holds_key, names_key
from axolotl_grpo_plugin.cloud.names import LINKED, Left, Names
from axolotl_grpo_plugin.cloud.sizes import NAMED, biggest, check_size, mb, shown
from axolotl_grpo_plugin.findings import Finding, stop_on

HEAD = 1 << 13  # bytes of a file in which a key is looked for
BIG = 10_000_000  # bytes; the start of a run that sends more says what the most of it is


@dataclass
class Parcel:
    """What is sent of a folder. Paths are from there, with `/`.

    sizes: file -> bytes. left: file or folder -> why it stays here. lost: the same, of what cannot
    be sent. findings: too much of it, or something lost.
    """

    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    left: dict[str, Left] = field(default_factory=dict)
    lost: dict[str, Left] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def __str__(self) -> str:
        said = f"{mb(self.bytes)} in {len(self.sizes)} files"
        if self.bytes > BIG:
            first, size = biggest(self.sizes)[0]
            said += f" (most of it {shown(first)}, {mb(size)})"
        return said

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())

    @cached_property
    def sent(self) -> frozenset[str]:
        """The files, and the folders that hold one."""
        above = {str(each) for file in self.sizes for each in PurePosixPath(file).parents}
        return frozenset(self.sizes) | above

    @cached_property
    def ignore(self) -> Any:
        """For modal's `add_local_dir`: what is listed is sent, and no folder walked that holds none of it."""
        from modal import FilePatternMatcher

        sent = self.sent

        class Unlisted(FilePatternMatcher):  # Modal skips whole folders for this class only
            def __call__(self, path: Path) -> bool:
                return path.as_posix() not in sent

        return Unlisted()

    def why_not(self, path: str) -> Left | None:
        """Why a path is not sent; None where it is."""
        if path in self.sent:
            return None
        stays = self.left | self.lost
        for each in (path, *map(str, PurePosixPath(path).parents)):
            if each in stays:
                return stays[each]
        below = (left for each, left in stays.items() if each.startswith(f"{path}/"))
        return next(below, Left("no file is in it", "Look at what should be there"))


def pack(folder: Path, ignore: Sequence[str], max_mb: float, mounts: Mapping[str, str]) -> Parcel:
    """List what is sent of a folder. Nothing is read but the names, and the first bytes of each file.

    ignore: cloud.yaml's patterns, as in a .dockerignore. max_mb: 1e6 bytes. mounts: mount point in
    the container -> Volume. ConfigError: the folder is the whole home or disk, or a pattern is none.
    """
    folder = folder.absolute()
    stop_on(_check_folder(folder))
    names, parcel = Names(ignore, mounts), Parcel(folder)

    def unlisted(error: OSError) -> None:
        _lose(parcel, os.path.relpath(error.filename, folder), str(error.strerror))

    for root, folders, files in os.walk(folder, onerror=unlisted):
        inside = os.path.relpath(root, folder)
        for name in list(folders):
            path, real = os.path.normpath(f"{inside}/{name}"), os.path.join(root, name)
            if left := names.folder(path, real):
                (parcel.lost if left is LINKED else parcel.left)[path] = left
                folders.remove(name)
        for name in files:
            path, real = os.path.normpath(f"{inside}/{name}"), os.path.join(root, name)
            if left := names.file(path, real):
                parcel.left[path] = left
            else:
                _add(parcel, path, real, names)
    parcel.findings = [*_check_lost(parcel), *check_size(folder, parcel.sizes, max_mb, mounts)]
    return parcel


def _add(parcel: Parcel, path: str, real: str, names: Names) -> None:
    if path.encode(errors="ignore").decode() != path:
        return _lose(parcel, path, "its name is not UTF-8")
    try:
        found = os.stat(real)
        if not stat.S_ISREG(found.st_mode):
            return _lose(parcel, path, "not a file")  # to open a pipe would wait for ever
        with open(real, "rb") as file:
            head = file.read(HEAD).decode(errors="replace")
    except OSError as error:
        return _lose(parcel, path, str(error.strerror))
    named = names_key(os.path.basename(path))
    if (named or holds_key(head)) and not names.wanted(path):
        fix = f'Take it out, and name it under `secrets`; `ignore: ["!{path}"]` if it is no secret'
        return _lose(parcel, path, "a secret by its name" if named else "a key is in it", fix)
    parcel.sizes[path] = found.st_size


def _lose(
    parcel: Parcel, path: str, why: str, fix: str = "Mend it, or name it in `ignore` in cloud.yaml"
) -> None:
    parcel.lost[path] = Left(why, fix)


def _check_folder(folder: Path) -> Iterator[Finding]:
    homes = [Path(each) for each in ("/", os.path.expanduser("~")) if os.path.isabs(each)]
    if any(home.resolve().is_relative_to(folder.resolve()) for home in homes):
        fix = "Start in a folder that holds only the project"
        yield Finding(str(folder), "it holds your home folder, and would be sent", fix)


def _check_lost(parcel: Parcel) -> Iterator[Finding]:
    if parcel.lost:
        said = [f"{shown(path)} ({left.why})" for path, left in sorted(parcel.lost.items())]
        more = f", and {len(said) - NAMED} more" * (len(said) > NAMED)
        what = f"not sent: {', '.join(said[:NAMED])}{more}"
        fix = "Mend what the run reads, and name the rest in `ignore` in cloud.yaml"
        yield Finding(shown(str(parcel.folder)), what, fix, level="warning")
