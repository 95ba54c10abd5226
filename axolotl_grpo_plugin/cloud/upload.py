"""The files of the working folder that go to the container, and why the others do not."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from modal import FilePatternMatcher

from axolotl_grpo_plugin.cloud.settings import WORK
from axolotl_grpo_plugin.findings import ConfigError, Finding

# Credentials and tools' own folders. No pattern of the user brings them back; case is ignored.
NEVER = FilePatternMatcher.from_file(Path(__file__).with_name("ignore.txt"))
USUAL = (
    "build dist **/*.egg-info **/.cache outputs model-out last_run_prepared wandb trackio mlruns"
).split()
FILES = (".gitignore", ".dockerignore")


class Skipped(NamedTuple):
    """Why something is not sent, and how to send it. odd: the user may not expect it."""

    why: str
    fix: str
    odd: bool = False


@dataclass
class Upload:
    """Files of a folder that are sent (path -> bytes), and why the others are not."""

    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, Skipped] = field(default_factory=dict)

    def __str__(self) -> str:
        total = sum(self.sizes.values()) / 1e6
        return f"{total:,.1f} MB in {len(self.sizes)} files, most of it in {self._largest(1)}"

    def ignore(self, path: Path) -> bool:
        """Return whether Modal's `add_local_dir` leaves out a file. It sends the listed files only."""
        return path.as_posix() not in self.sizes

    def why_not(self, path: str) -> Skipped | None:
        """Return why a path is not sent; None if it, or a file in it, is."""
        if path == "." or any(f"{file}/".startswith(f"{path}/") for file in self.sizes):
            return None
        below = (each for each in self.skipped if each.startswith(f"{path}/"))
        for each in (path, *map(str, PurePosixPath(path).parents), *below):
            if each in self.skipped:
                return self.skipped[each]
        return Skipped("no file is in it", "Check what is missing")

    def _largest(self, number: int) -> str:
        total = Counter[str]()
        for file, size in self.sizes.items():
            total["".join(file.partition("/")[:2])] += size
        return ", ".join(f"{k} ({size / 1e6:,.1f} MB)" for k, size in total.most_common(number))

    def check(self, max_mb: float) -> Iterator[Finding]:
        """Check that at most max_mb (1e6 bytes) is sent, and name files that cannot be sent."""
        total = sum(self.sizes.values()) / 1e6
        odd = sorted(f"{path!a} ({why.why})" for path, why in self.skipped.items() if why.odd)
        if odd:
            what = f"not sent: {', '.join(odd[:5])}{', …' * (len(odd) > 5)}"
            yield Finding(str(self.folder), what, "Correct or ignore it", level="warning")
        if total > max_mb:
            what = f"{total:,.1f} MB would be sent, most of it in {self._largest(5)}"
            fix = "Ignore some of it, put it on a Volume, or raise max_size"
            yield Finding(f"cloud.yaml: max_size ({max_mb:g} MB)", what, fix)


def pack(folder: Path, ignore: Sequence[str], mounts: Mapping[str, str]) -> Upload:
    """List the files to send. The last matching pattern of USUAL, FILES and `ignore` counts."""
    folder = folder.absolute()
    if Path.home().is_relative_to(folder):
        raise ConfigError(f"{folder}: it contains your home folder. Start in the project's folder.")
    patterns = list(USUAL)
    for file in (folder / name for name in FILES if (folder / name).is_file()):
        lines = file.read_text(errors="replace").splitlines()
        kept = (line for line in lines if line.strip("!/ \t") and line[0] != "#")
        patterns += [_pattern(line, file.name == ".gitignore") for line in kept]
    ignored = FilePatternMatcher(*patterns, *(_pattern(each, False) for each in ignore))
    volumes = {os.path.relpath(mount, WORK): name for mount, name in mounts.items()}
    upload = Upload(folder)
    for root, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            real, is_folder = os.path.join(root, name), name in folders
            path = os.path.relpath(real, folder)
            skipped = _never(path, real, folder, volumes)
            if skipped and is_folder:
                folders.remove(name)
            if ignored(Path(path)) and (not skipped or skipped.odd):
                fix = f'Add "!{path}" to ignore in cloud.yaml'
                skipped = Skipped(f"a pattern of the plugin, {' or '.join(FILES)} matches it", fix)
            if skipped:
                upload.skipped[path] = skipped
            elif not is_folder:
                upload.sizes[path] = os.path.getsize(real)
    return upload


def _never(path: str, real: str, folder: Path, volumes: Mapping[str, str]) -> Skipped | None:
    """Return why a file, or a whole folder, cannot or must not be sent."""
    target = os.path.relpath(os.path.realpath(real), folder.resolve())
    if NEVER(Path(path.lower())):
        return Skipped("its name is a credential's or a tool's", "Rename it, or use secrets")
    if volume := volumes.get(path):
        return Skipped(f"the Volume {volume} is mounted there", f"Use `modal volume put {volume}`")
    if os.path.exists(f"{real}/pyvenv.cfg") or os.path.exists(f"{real}/conda-meta"):
        return Skipped("it is a Python environment", "Name its packages in pip_install")
    if os.path.isdir(real) and os.path.islink(real):
        return Skipped("it is a linked folder", "Copy the folder in place of the link", odd=True)
    if target.startswith("../") or NEVER(Path(target.lower())):
        return Skipped("it is a link that leads outside", "Copy the file here", odd=True)
    kind = stat.S_IFMT(os.stat(real).st_mode) if os.path.exists(real) else 0
    if kind not in (stat.S_IFREG, stat.S_IFDIR) or not os.access(real, os.R_OK):
        return Skipped("it is not a readable file", "Correct or ignore it", odd=True)
    return None if path.isprintable() else Skipped("its name is not text", "Rename it", odd=True)


def _pattern(line: str, at_any_depth: bool) -> str:
    """Return a line as a Modal pattern. In .gitignore, a line without a slash matches at any depth."""
    pattern = line.strip().removeprefix("!").rstrip("/")
    depth = "**/" if at_any_depth and "/" not in pattern else ""
    return "!" * line.strip().startswith("!") + depth + os.path.normpath(pattern.lstrip("/"))
