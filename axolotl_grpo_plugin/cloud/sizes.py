"""How much is sent, and what the most of it is."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from axolotl_grpo_plugin.findings import Finding

NAMED = 5  # how many things one message names


def check_size(
    folder: Path, sizes: Mapping[str, int], max_mb: float, mounts: Mapping[str, str]
) -> Iterator[Finding]:
    """No more is sent than allowed. sizes: file -> bytes. max_mb: 1e6 bytes. mounts: point -> Volume."""
    total = sum(sizes.values())
    if total <= max_mb * 1e6:
        return
    first, *rest = biggest(sizes)
    most = [first, *(each for each in rest if 100 * each[1] >= first[1])]
    said = ", ".join(f"{shown(path)} ({mb(size)})" for path, size in most)
    what = f"{mb(total)} in {shown(str(folder))} would be sent, most of it in {said}"
    fix = "Name what the run does not read in `ignore`, or raise max_size"
    if mounts:
        put = shlex.join(["modal", "volume", "put", next(iter(mounts.values())), shown(first[0])])
        fix += f", or put it on a Volume: `{put} REMOTE`"
    yield Finding(f"cloud.yaml: max_size ({max_mb:g} MB)", what, fix)


def biggest(sizes: Mapping[str, int]) -> list[tuple[str, int]]:
    """The biggest files and folders, at most NAMED of them, the biggest first; no two overlap.

    sizes: file -> bytes. A folder is one thing unless something in it has more than half of it.

    >>> biggest({"data/a/1": 5, "data/a/2": 5, "data/b": 1, "x.py": 2})
    [('data/a/', 10), ('x.py', 2), ('data/b', 1)]
    """
    total, inside = Counter[str](), defaultdict[str, set[str]](set)
    for file, size in sizes.items():
        path = PurePosixPath(file)
        for each in (path, *path.parents[:-1]):
            total[str(each)] += size
            inside[str(each.parent)].add(str(each))
    found, todo = list[tuple[str, int]](), list(inside["."])
    while todo:
        here = todo.pop()
        within = inside.get(here, set())
        if 2 * max((total[each] for each in within), default=0) > total[here]:
            todo += within
        else:
            found.append((here + "/" * bool(within), total[here]))
    return sorted(found, key=lambda each: (-each[1], each[0]))[:NAMED]


def mb(size: int) -> str:
    """Bytes as a person reads them."""
    return f"{size / 1e6:,.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"


def shown(path: str) -> str:
    """A path as a terminal can show it: a name may be no text at all."""
    return path.encode(errors="backslashreplace").decode()
