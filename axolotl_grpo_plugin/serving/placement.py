"""Decide which visible GPUs serve and which train."""

import os
import subprocess
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Literal, NamedTuple

from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, at, stop_on

DEVICES = ("/dev/nvidia0", "/dev/kfd")  # NVIDIA's and AMD's, if a driver has found a GPU
Mode = Literal["server", "colocate", "none"]


class Placement(NamedTuple):
    """The GPUs of a run's parts.

    mode: vLLM runs in a server, in the trainer's processes (colocate), or not at all. serve, train: GPU
    ids as in CUDA_VISIBLE_DEVICES, empty on a CPU. processes: number of trainer ranks.
    """

    mode: Mode
    serve: tuple[str, ...]
    train: tuple[str, ...]
    processes: int


def mode_of(cfg: Any) -> Mode:
    """Return where a raw config's vLLM runs. An unset `vllm_mode` means server, as in Axolotl."""
    trl = block(cfg, "trl")
    if str(trl.get("use_vllm") or "").lower() in ("", "false", "no", "off", "0", "n", "f"):
        return "none"  # these are pydantic's words for false; the config is not validated yet
    return "colocate" if trl.get("vllm_mode") == "colocate" else "server"


def serving(cfg: Any) -> int:
    """Return the number of GPUs that the config's server takes."""
    vllm = block(cfg, "vllm")
    sizes = (vllm.get("tensor_parallel_size"), vllm.get("data_parallel_size"))
    tensor, data = (tokens_of(size) or 1 for size in sizes)
    return tensor * data


def place(cfg: Any, gpus: Sequence[str], processes: int | None = None) -> Placement:
    """Let the last GPUs serve, and the first `processes` of the others train (by default all).

    cfg: a raw config. gpus: ids of the visible GPUs, empty for a CPU.
    Raises: ConfigError if there are too few GPUs.
    """
    mode = mode_of(cfg)
    if not gpus:
        return Placement(mode, (), (), processes or 1)
    reserved = serving(cfg) if mode == "server" else 0
    left = len(gpus) - reserved
    ranks = processes or max(left, 1)
    if left < ranks:
        needs = f"{reserved + ranks} GPUs ({reserved} for vLLM, {ranks} for the trainer)"
        what = (
            f"this run needs {needs}, and {len(gpus)} {'is' if len(gpus) == 1 else 'are'} visible"
        )
        fix = "Make more visible (CUDA_VISIBLE_DEVICES), or lower --num-processes"
        if reserved:
            fix = "Make more visible (CUDA_VISIBLE_DEVICES), or set trl.vllm_mode: colocate"
        stop_on([Finding(at(cfg, "vllm" if reserved else "--num-processes"), what, fix)])
    return Placement(mode, tuple(gpus[left:]), tuple(gpus[:ranks]), ranks)


def visible_gpus() -> list[str]:
    """Return the ids of the GPUs that a process started here sees, without initializing CUDA.

    Raises: ConfigError if there are GPUs that cannot be counted.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        ids = [each.strip() for each in listed.split(",")]
        return list(takewhile(lambda each: each not in ("", "-1"), ids))  # as CUDA reads them
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()
    except (FileNotFoundError, subprocess.CalledProcessError):
        if any(map(os.path.exists, DEVICES)):
            what = "it is unset, and nvidia-smi cannot count the GPUs of this machine"
            stop_on([Finding("CUDA_VISIBLE_DEVICES", what, "Set it, to 0,1 for two GPUs")])
        return []
