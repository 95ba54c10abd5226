"""The files of the working folder that go to the container, and why the others do not."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from modal import FilePatternMatcher

from axolotl_grpo_plugin.cloud.credentials import looks_like_credentials
from axolotl_grpo_plugin.cloud.settings import WORK, Mounts
from axolotl_grpo_plugin.findings import Finding, stop

# Tools' own folders, also those with logins. No pattern brings them back; case is ignored.
NEVER = FilePatternMatcher.from_file(Path(__file__).with_name("ignore.txt"))
USUAL = (
    "build dist **/*.egg-info **/.cache outputs model-out last_run_prepared wandb trackio mlruns"
).split()
FILES = (".gitignore", ".dockerignore")
NAMED = 10  # held files to name
ENVIRONMENT = ("pyvenv.cfg", "conda-meta")  # in the folder of a Python environment


class Skipped(NamedTuple):
    """Why something is not sent, and how to send it. held: it looks like credentials."""

    why: str
    fix: str
    held: bool = False


@dataclass
class Upload:
    """Files of a folder that are sent (path -> bytes), and why the others are not."""

    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, Skipped] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.megabytes:,.1f} MB in {len(self.sizes)} files"

    @property
    def held(self) -> list[str]:
        """The files that would be sent if they did not look like credentials."""
        return [path for path, skipped in self.skipped.items() if skipped.held]

    def named(self) -> str:
        """Return the names of held files, and the line that sends one; "" if no file is held."""
        if not self.held:
            return ""
        names = ", ".join(self.held[:NAMED])
        more = len(self.held) - NAMED
        if more > 0:
            names += f" and {more} more"
        return f'{names}, named like credentials. To send one: ignore: ["!{self.held[0]}"] in cloud.yaml'

    @property
    def megabytes(self) -> float:
        """The size of all files, in 1e6 bytes."""
        return sum(self.sizes.values()) / 1e6

    def ignore(self, path: Path) -> bool:
        """Return whether Modal's `add_local_dir` leaves out a file. It sends the listed files only."""
        return path.as_posix() not in self.sizes

    def why_not(self, path: str) -> Skipped | None:
        """Return why a path is not sent; None if it, or a file in it, is."""
        wanted = PurePosixPath(path)
        is_sent = (PurePosixPath(file).is_relative_to(wanted) for file in self.sizes)
        if path == "." or any(is_sent):
            return None
        for parent in (wanted, *wanted.parents):
            if str(parent) in self.skipped:
                return self.skipped[str(parent)]
        for inner, skipped in self.skipped.items():
            if inner.startswith(f"{path}/"):
                return skipped
        return Skipped("no file is in it", "Check what is missing")

    def check(self, most: float) -> Iterator[Finding]:
        """Check that at most `most` MB (1e6 bytes) are sent."""
        if self.megabytes > most:
            yield Finding(
                f"cloud.yaml: max_size ({most:g} MB)",
                f"{self.megabytes:,.1f} MB would be sent",
                "Ignore some of it, put it on a Volume, or raise max_size",
            )


def pack(folder: Path, ignore: Sequence[str], mounts: Mounts) -> Upload:
    """List the files to send. The last matching pattern of USUAL, FILES and `ignore` counts.

    A file that looks like credentials is sent only if `ignore` has exactly its path, as "!path".
    """
    folder = folder.absolute()
    if Path.home().is_relative_to(folder):
        what = "it contains your home folder"
        stop("home-folder", str(folder), what, "Start in the project's folder")
    ignored = FilePatternMatcher(*_patterns(folder), *(_pattern(line, False) for line in ignore))
    volumes = {os.path.relpath(mount, WORK): name for mount, name in mounts.items()}
    upload = Upload(folder)
    for root, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            real = os.path.join(root, name)
            path = os.path.relpath(real, folder)
            # The same path, if it is no link.
            target = os.path.relpath(os.path.realpath(real), folder.resolve())
            is_folder = name in folders
            skipped = _never(path, real, target, volumes)
            if skipped and is_folder:
                folders.remove(name)
            if not skipped and ignored(Path(path)):
                skipped = Skipped(
                    f"a pattern of the plugin, {' or '.join(FILES)} matches it", _line(path)
                )
            if not skipped and not is_folder and f"!{path}" not in ignore:
                skipped = _held(path, target)
            if skipped:
                upload.skipped[path] = skipped
            elif not is_folder:
                upload.sizes[path] = os.path.getsize(real)
    return upload


def _line(path: str) -> str:
    """Return the fix that sends a path."""
    return f'Add "!{path}" to ignore in cloud.yaml'


def _held(path: str, target: str) -> Skipped | None:
    """Return why a file that looks like credentials, or a link to one, is held."""
    if not looks_like_credentials(path) and not looks_like_credentials(target):
        return None
    return Skipped(
        "its name is that of credentials",
        f"Use secrets. {_line(path)} to send it anyway",
        held=True,
    )


def _never(path: str, real: str, target: str, volumes: Mounts) -> Skipped | None:
    """Return why a file, or a whole folder, cannot or must not be sent."""
    if NEVER(Path(path.lower())):
        return Skipped("its name is a tool's own", "Rename it, or use secrets")
    if path in volumes:
        return Skipped(
            f"the Volume {volumes[path]} is mounted there",
            f"Use `modal volume put {volumes[path]}`",
        )
    if any(os.path.exists(f"{real}/{name}") for name in ENVIRONMENT):
        return Skipped("it is a Python environment", "Name its packages in pip_install")
    if os.path.isdir(real) and os.path.islink(real):
        return Skipped("it is a linked folder", "Copy the folder in place of the link")
    if target.startswith("../") or NEVER(Path(target.lower())):
        return Skipped("it is a link that leads outside", "Copy the file here")
    # A broken link, a pipe and a socket are neither.
    is_plain = os.path.isfile(real) or os.path.isdir(real)
    if not is_plain or not os.access(real, os.R_OK):
        return Skipped("it is not a readable file", "Correct or ignore it")
    if not path.isprintable():
        return Skipped("its name is not text", "Rename it")
    return None


def _patterns(folder: Path) -> list[str]:
    """Return USUAL and the patterns of the ignore files in a folder."""
    patterns = list(USUAL)
    for name in FILES:
        file = folder / name
        if not file.is_file():
            continue
        for line in file.read_text(errors="replace").splitlines():
            is_empty = not line.strip("!/ \t")
            if not is_empty and not line.startswith("#"):
                patterns.append(_pattern(line, name == ".gitignore"))
    return patterns


def _pattern(line: str, at_any_depth: bool) -> str:
    """Return a line as a Modal pattern. In .gitignore, a line without a slash matches at any depth."""
    line = line.strip()
    sign = "!" if line.startswith("!") else ""
    pattern = line.removeprefix("!").rstrip("/")
    if at_any_depth and "/" not in pattern:
        return f"{sign}**/{os.path.normpath(pattern)}"
    return sign + os.path.normpath(pattern.lstrip("/"))
