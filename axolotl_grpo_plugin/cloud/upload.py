"""The files of the working folder that go to the container."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from modal import FilePatternMatcher

from axolotl_grpo_plugin.cloud.settings import WORK, Mounts
from axolotl_grpo_plugin.findings import Finding, stop

# Endings of text files, which may hold a key. A text file whose name or folder says so is not sent.
_TEXT = (".yaml", ".yml", ".toml", ".json", ".csv", ".tsv", ".txt", ".md")
_CREDENTIALS = re.compile(
    r"key|secret|cred|passw|account|kaggle|vault|kubeconfig|(^|[_-])(o?auth|env|pwd)\.|"
    r"(^|[_-])(?<!special_)(?<!added_)(?<!max_)(?<!num_)tokens?\.",  # not those of a tokenizer
    re.IGNORECASE,
)
_SECRET_FOLDER = re.compile("secrets?|passwords?|credentials?|creds?|keys", re.IGNORECASE)
# Only files with these endings are sent: code, configs, data and models.
KINDS = (*_TEXT, ".py", ".jinja", ".jsonl", ".parquet", ".arrow", ".safetensors", ".model")
_OUTPUTS = ("outputs", "model-out", "last_run_prepared", "wandb", "trackio", "mlruns")
_BUILT = ("build", "dist", "venv", "**/*.egg-info", "**/__pycache__", "**/site-packages")
USUAL = (*_OUTPUTS, *_BUILT, "**/node_modules")  # patterns of files that are not sent
LISTED = 20  # files to name


@dataclass
class Upload:
    """The files of a folder that are sent.

    Attributes:
        folder: The working folder.
        sizes: The files that are sent, as relative paths, with their bytes.
        held: The files that no pattern ignores, but that have another kind or the name of credentials.
    """

    folder: Path
    sizes: dict[str, int] = field(default_factory=dict)
    held: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.megabytes:,.1f} MB in {len(self.sizes)} files"

    @property
    def megabytes(self) -> float:
        """The size of all files, in 1e6 bytes."""
        return sum(self.sizes.values()) / 1e6

    def largest(self) -> Iterator[str]:
        """Yield a line for each file that is sent, the largest first, and one line for the rest."""
        paths = sorted(self.sizes, key=lambda path: -self.sizes[path])
        for path in paths[:LISTED]:
            yield f"{self.sizes[path] / 1e6:9,.3f} MB  {path}"
        if paths[LISTED:]:
            rest = sum(self.sizes[path] for path in paths[LISTED:])
            yield f"{rest / 1e6:9,.3f} MB  in {len(paths) - LISTED} smaller files"

    def not_sent(self) -> str:
        """Return the names of held files, and the line that sends one; "" if no file is held."""
        if not self.held:
            return ""
        names = ", ".join(self.held[:LISTED])
        if self.held[LISTED:]:
            names += f" and {len(self.held) - LISTED} more"
        return f'{names}. To send one: ignore: ["!{self.held[0]}"] in cloud.yaml'

    def ignore(self, path: Path) -> bool:
        """Return whether Modal's `add_local_dir` leaves out a file. It sends the listed files only."""
        return path.as_posix() not in self.sizes

    def has(self, path: str) -> bool:
        """Return whether a file, or at least one file of a folder, is sent."""
        return path == "." or any(PurePosixPath(file).is_relative_to(path) for file in self.sizes)

    def check(self, most: float) -> Iterator[Finding]:
        """Check that at most `most` MB (1e6 bytes) are sent."""
        if self.megabytes > most:
            yield Finding(
                f"cloud.yaml: max_size ({most:g} MB)",
                f"{self.megabytes:,.1f} MB would be sent",
                "Ignore some of it, put it on a Volume, or raise max_size",
            )


def pack(folder: Path, ignore: Sequence[str], mounts: Mounts) -> Upload:
    """List the files to send: those of KINDS that are not hidden and have no name of credentials.

    The last matching pattern of USUAL, .gitignore and `ignore` counts. Hidden files, links and folders
    with a Volume are never sent.

    Args:
        folder: The working folder.
        ignore: The patterns of cloud.yaml. "!pattern" sends files of every kind. A file with the
            name of credentials needs its exact path, "!path".
        mounts: Mount point -> name of the Volume.

    Raises:
        FindingError: The folder contains the user's home folder.
    """
    folder = folder.absolute()
    if Path.home().is_relative_to(folder):
        what = "it contains your home folder"
        stop("home-folder", str(folder), what, "Start in the project's folder")
    patterns = [_pattern(line) for line in ignore]
    ignored = FilePatternMatcher(*USUAL, *_git_patterns(folder), *patterns)
    wanted = FilePatternMatcher(*(line[1:] for line in patterns if line.startswith("!")))
    volumes = {os.path.relpath(mount, WORK) for mount in mounts}
    upload = Upload(folder)
    for root, folders, files in os.walk(folder):
        inside = os.path.relpath(root, folder)
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.normpath(f"{inside}/{name}") not in volumes
        ]
        for name in files:
            file = Path(root, name)
            path = os.path.normpath(f"{inside}/{name}")
            # Modal refuses a name that is not text.
            is_plain = file.is_file() and not file.is_symlink() and name.isprintable()
            if name.startswith(".") or not is_plain or ignored(Path(path)):
                continue
            names_secret = _CREDENTIALS.search(name) or any(
                _SECRET_FOLDER.fullmatch(part) for part in Path(inside).parts
            )
            is_credential = name.lower().endswith(_TEXT) and names_secret
            if is_credential:
                is_sent = f"!{path}" in ignore
            else:
                is_sent = name.lower().endswith(KINDS) or wanted(Path(path))
            if is_sent:
                upload.sizes[path] = file.stat().st_size
            else:
                upload.held.append(path)
    upload.held.sort()
    return upload


def _git_patterns(folder: Path) -> Iterator[str]:
    """Yield the patterns of the folder's .gitignore in Modal's form."""
    file = folder / ".gitignore"
    if not file.is_file():
        return
    for line in file.read_text(errors="replace").splitlines():
        pattern = line.strip().removeprefix("!").rstrip("/")
        if not pattern or line.startswith("#"):
            continue
        sign = "!" if line.startswith("!") else ""
        # A pattern without a slash matches at any depth.
        yield _pattern(f"{sign}{pattern}" if "/" in pattern else f"{sign}**/{pattern}")


def _pattern(line: str) -> str:
    """Return a line as a pattern of Modal, without slashes at its ends."""
    sign = "!" if line.startswith("!") else ""
    return sign + os.path.normpath(line.strip().removeprefix("!").strip("/"))
