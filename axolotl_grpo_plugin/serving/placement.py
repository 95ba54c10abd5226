"""Decide which visible GPUs serve and which train."""

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import takewhile
from typing import Literal, NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.processes import LATE, answer_of

DEVICES = ("/dev/nvidia0", "/dev/kfd")  # NVIDIA's and AMD's, if a driver has found a GPU
_QUERY = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")
_SECONDS = 60.0  # that it may take; on a machine of 8 GPUs it may take 20
Mode = Literal["server", "colocate", "none"]
Words = Sequence[str]


class Placement(NamedTuple):
    """The GPUs of a run's parts.

    mode: vLLM runs in a server, in the trainer's processes (colocate), or not at all. serve, train: GPU
    ids as in CUDA_VISIBLE_DEVICES, empty on a CPU. per_node: trainer ranks on each node that trains.
    nodes: the number of nodes that train.
    """

    mode: Mode
    serve: tuple[str, ...]
    train: tuple[str, ...]
    per_node: int
    nodes: int = 1

    @property
    def processes(self) -> int:
        """The number of trainer ranks."""
        return self.per_node * self.nodes


def mode_of(cfg: Config) -> Mode:
    """Return where a raw config's vLLM runs. An unset `vllm_mode` means server, as in Axolotl."""
    if not cfg.trl.use_vllm:
        return "none"
    return "colocate" if cfg.trl.vllm_mode == "colocate" else "server"


def serving(cfg: Config) -> int:
    """Return the number of GPUs that the config's server takes."""
    return (cfg.vllm.tensor_parallel_size or 1) * (cfg.vllm.data_parallel_size or 1)


def place(cfg: Config, gpus: Words, processes: int | None = None) -> Placement:
    """Let the last GPUs serve, and the first `processes` of the others train (by default all).

    cfg: a raw config. gpus: ids of the visible GPUs, empty for a CPU.
    Raises: FindingError if there are too few GPUs.
    """
    mode = mode_of(cfg)
    if not gpus:
        return Placement(mode, (), (), processes or 1)
    reserved = serving(cfg) if mode == "server" else 0
    left = len(gpus) - reserved
    ranks = processes or max(left, 1)  # at least one, so that too few GPUs are refused below
    if left < ranks:
        needed = f"{reserved + ranks} GPUs ({reserved} for vLLM, {ranks} for the trainer)"
        what = f"this run needs {needed}, and {len(gpus)} visible"
        key, other = "--num-processes", "lower --num-processes"
        if reserved:
            key, other = "vllm", "set trl.vllm_mode: colocate"
        stop(
            "too-few-gpus",
            cfg.at(key),
            what,
            f"Make more visible (CUDA_VISIBLE_DEVICES), or {other}",
        )
    return Placement(mode, tuple(gpus[left:]), tuple(gpus[:ranks]), ranks)


def visible_gpus() -> list[str]:
    """Return the ids of the GPUs that a process started here sees, without initializing CUDA.

    Raises: FindingError if there are GPUs that cannot be counted.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = map(str.strip, listed.split(","))
        return list(takewhile(lambda name: name not in ("", "-1"), names))  # CUDA reads no further
    reason = "there is no nvidia-smi"
    late = False
    with suppress(FileNotFoundError):
        listed_here = answer_of(_QUERY, _SECONDS)
        if listed_here.returncode == 0:
            return listed_here.stdout.split()
        late = listed_here.returncode == LATE
        # It writes its own errors to standard output.
        reason = f"nvidia-smi: {(listed_here.stderr or listed_here.stdout).strip()}"
    if late or any(map(os.path.exists, DEVICES)):
        stop(
            "uncounted-gpus",
            "CUDA_VISIBLE_DEVICES",
            f"it is unset, and the GPUs of this machine cannot be counted: {' '.join(reason.split())}",
            "Repair the driver, or set the variable, to 0,1 for two GPUs",
        )
    return []
