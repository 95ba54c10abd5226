"""Which files of a rollout log count: those that can be read, if a run was resumed or began anew in the same folder.

The name of a file tells its attempt and its step. A folder counts as the run that its last attempt
continues: of an attempt, only the steps before the first step of every later attempt count.
"""

import re
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.runlog.reader import why_unreadable

# Below a run's output_dir.
_FOLDERS = ("train", "rollouts/train", "completions", ".")
_NAME = re.compile(r"(\d+)-(\d+)-\d+-\d+\.parquet")


class RolloutFiles(NamedTuple):
    """The Parquet files of a run's training rollouts.

    Attributes:
        counted: The files that count.
        left_out: The files whose steps a later attempt repeated.
        unreadable: Why each other file cannot be read, for example after a power cut.
    """

    counted: list[Path]
    left_out: list[Path]
    unreadable: dict[Path, str]

    def note(self) -> str:
        """Return sentences on the rollouts that are left out, "" if there are none."""
        import pyarrow.parquet as pq

        sentences = [
            f"{file} is left out, because it cannot be read: {why}."
            for file, why in self.unreadable.items()
        ]
        rows = sum(pq.read_metadata(file).num_rows for file in self.left_out)
        if rows:
            sentences.append(
                f"{rows:,} rollouts of earlier attempts are left out, "
                "because a later attempt repeated their steps."
            )
        return " ".join(sentences)


def rollout_files(path: Path) -> RolloutFiles:
    """Return the files of a run.

    Args:
        path: The output_dir of the run, a folder within it, or one Parquet file, which counts in any case.
    """
    if path.is_file():
        return RolloutFiles([path], [], {})
    files = RolloutFiles([], [], {})
    steps = {file: _attempt_and_step(file) for file in _files_in(path)}
    starts: dict[int, int] = {}  # the first step of each attempt
    for attempt, step in steps.values():
        starts.setdefault(attempt, step)
    for file, (attempt, step) in steps.items():
        repeated = any(later > attempt and start <= step for later, start in starts.items())
        if why := why_unreadable(file):
            files.unreadable[file] = why
        elif repeated:
            files.left_out.append(file)
        else:
            files.counted.append(file)
    return files


def _files_in(folder: Path) -> list[Path]:
    for name in _FOLDERS:
        files = sorted((folder / name).glob("*.parquet"))
        if files:
            return files
    return []


def _attempt_and_step(file: Path) -> tuple[int, int]:
    """Return the attempt and the step of a file. TRL's files count as one attempt and one step."""
    match = _NAME.fullmatch(file.name)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def next_attempt(folder: Path) -> int:
    """Return the number of the attempt that starts now in a log's folder."""
    attempts = [_attempt_and_step(file)[0] for file in folder.glob("*/*.parquet")]
    return max(attempts, default=0) + 1
