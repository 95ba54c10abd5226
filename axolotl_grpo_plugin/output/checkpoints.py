"""Whole checkpoints: one definition for local runs and Modal.

A checkpoint is whole if its STATE can be read, which transformers writes last, and if no other file is missing
or cut. `seal` lists those files when all ranks have written theirs, before STATE (repairs/resume.py). A checkpoint
of another program has no list. There a file counts as cut if its own format says that it should be longer.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

from axolotl_grpo_plugin.output.files import sync, write_text

STATE = "trainer_state.json"
FILES = "files.json"  # name -> bytes of each file that is written before STATE
_NAME = re.compile(r"checkpoint-(\d+)")


class NewestCheckpoint(NamedTuple):
    """The newest whole checkpoint of an output folder.

    Attributes:
        folder: The checkpoint. None if no checkpoint is whole.
        left_out: Why each newer checkpoint is not whole, by its name.
    """

    folder: Path | None
    left_out: dict[str, str]


def newest_whole(output: Path) -> NewestCheckpoint:
    """Return the newest whole checkpoint of an output folder, and the newer ones that are not whole."""
    left_out: dict[str, str] = {}
    for folder in reversed(checkpoints_in(output)):
        why = why_not_whole(folder)
        if not why:
            return NewestCheckpoint(folder, left_out)
        left_out[folder.name] = why
    return NewestCheckpoint(None, left_out)


def checkpoints_in(output: Path) -> list[Path]:
    """Return the checkpoints of an output folder by their step, also those that are not whole."""
    folders = [path for path in output.glob("checkpoint-*/") if _NAME.fullmatch(path.name)]
    return sorted(folders, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the step in the name of a checkpoint."""
    match = _NAME.fullmatch(checkpoint.name)
    return int(match[1]) if match else 0


def why_not_whole(checkpoint: Path) -> str:
    """Return the first file of a checkpoint that is missing or cut, as a sentence; "" for a whole one."""
    if why := _why_unreadable(checkpoint / STATE):
        return why
    listed = checkpoint / FILES
    if listed.exists():
        if why := _why_unreadable(listed):
            return why
        for name, size in _read(listed).items():
            file = checkpoint / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size < size:
                return f"{name} is cut"
        return ""
    for file in sorted(checkpoint.rglob("*")):
        if file.is_file() and _is_cut(file):
            return f"{file.relative_to(checkpoint)} is cut"
    return ""


def state_of(checkpoint: Path) -> dict[str, Any]:
    """Return the trainer's state in a whole checkpoint."""
    return _read(checkpoint / STATE)


def seal(checkpoint: Path) -> None:
    """Bring the files of a checkpoint to the disk, and list them. Call it before STATE is written."""
    sizes = {}
    for file in sorted(checkpoint.rglob("*")):
        sync(file)
        if file.is_file():
            sizes[str(file.relative_to(checkpoint))] = file.stat().st_size
    write_text(checkpoint / FILES, json.dumps(sizes, indent=1))
    sync(checkpoint)


def clear(checkpoint: Path) -> None:
    """Remove a checkpoint of an earlier run, because its files would mix with those of the same step."""
    (checkpoint / STATE).unlink(
        missing_ok=True
    )  # first, so that a kill leaves nothing that looks whole
    if checkpoint.exists():
        shutil.rmtree(checkpoint)


def _why_unreadable(file: Path) -> str:
    try:
        _read(file)
    except OSError:
        return f"{file.name} is missing"
    except ValueError:
        return f"{file.name} is cut"
    return ""


def _read(file: Path) -> dict[str, Any]:
    value = json.loads(file.read_bytes())
    if not isinstance(value, dict):
        raise ValueError(f"{file}: no JSON object")
    return value


def _is_cut(file: Path) -> bool:
    """Return whether the format of a file says that it should be longer."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        start = opened.read(8)
        if file.suffix == ".safetensors":
            header = int.from_bytes(start, "little")
            return size < 8 + header or size < 8 + header + _data_of(opened.read(header))
    if start.startswith(b"PK"):  # torch writes ZIP archives, whose list of members is at the end
        return not is_zipfile(file)
    return size == 0 and file.suffix in (".pt", ".pth", ".bin", ".safetensors", ".json")


def _data_of(header: bytes) -> int:
    """Return the bytes of the tensors that a header of safetensors lists."""
    ends = [
        entry["data_offsets"][1]
        for name, entry in json.loads(header).items()
        if name != "__metadata__"
    ]
    return max(ends, default=0)
