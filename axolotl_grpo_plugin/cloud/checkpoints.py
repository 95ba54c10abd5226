"""Which checkpoints of a run are complete.

transformers' Trainer._save_checkpoint writes trainer_state.json last, after the weights, the optimizer
(whose DeepSpeed and FSDP shards all ranks have written by then) and the random states. A Volume's
background commit is no snapshot of one moment: it may hold a file cut off in mid-writing beside a later
one that is whole. So each file's own end is looked at too, where its format has one.
"""

import json
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open

LAST = "trainer_state.json"
_OLD_PICKLE = b"\x80"  # torch.save before its files were ZIPs; their end can't be told


def newest_first(names: Iterable[str]) -> list[str]:
    """Of the names in an output_dir, those of checkpoints.

    >>> newest_first(["checkpoint-9", "checkpoint-10", "checkpoint-best", "rollouts"])
    ['checkpoint-10', 'checkpoint-9']
    """
    found = filter(re.compile(r"checkpoint-[0-9]+").fullmatch, names)
    return sorted(found, key=lambda name: int(name.partition("-")[2]), reverse=True)


def holds_model(names: Iterable[str]) -> bool:
    """Whether weights are among the names in an output_dir itself: a training saves them at its end.

    >>> holds_model(["adapter_config.json", "adapter_model.safetensors"])
    True
    """
    weights = re.compile(r".*\.safetensors|(pytorch|adapter)_model.*\.bin")
    return any(map(weights.fullmatch, names))


def missing(checkpoint: Path) -> str:
    """What a checkpoint lacks, in words; empty where it is complete."""
    if not (checkpoint / LAST).is_file():
        return f"it has no {LAST}, which is written last"
    return next((f"{name} is cut off" for name in _cut_off(checkpoint)), "")


def _cut_off(checkpoint: Path) -> Iterator[str]:
    for file in sorted(checkpoint.rglob("*")):
        if file.is_file() and not _CHECKS.get(file.suffix, _any)(file):
            yield str(file.relative_to(checkpoint))


def _json(file: Path) -> bool:
    """All of it is there, and so are the shards that an index of weights names."""
    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        return False
    named = found.get("weight_map", {}) if file.name.endswith(".index.json") else {}
    return all((file.parent / shard).is_file() for shard in named.values())


def _safetensors(file: Path) -> bool:
    """Its header says how long it is, and the library compares."""
    try:
        with safe_open(file, framework="np"):
            return True
    except SafetensorError:
        return False


def _torch(file: Path) -> bool:
    """A ZIP, whose directory is at its end."""
    with file.open("rb") as opened:
        return opened.read(1) == _OLD_PICKLE or zipfile.is_zipfile(file)


def _distcp(file: Path) -> bool:
    """A shard of torch.distributed.checkpoint; `.metadata` is written once all of them are."""
    return file.stat().st_size > 0 and (file.parent / ".metadata").is_file()


def _any(file: Path) -> bool:
    return True


_CHECKS = {
    ".json": _json,
    ".safetensors": _safetensors,
    ".bin": _torch,
    ".pt": _torch,
    ".pth": _torch,
    ".distcp": _distcp,
}
