"""Check the machine that this process runs on: GPUs, packages, memory, disk and ports."""

import json
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Generator
from importlib.metadata import version
from importlib.util import find_spec
from subprocess import CompletedProcess
from typing import NamedTuple

from axolotl_grpo_plugin.checks.memory import checkpoint_bytes
from axolotl_grpo_plugin.checks.parameters import parameters_of
from axolotl_grpo_plugin.checks.repositories import Repository, is_cached
from axolotl_grpo_plugin.checks.reuse import check_output
from axolotl_grpo_plugin.config import Config, output_dir
from axolotl_grpo_plugin.data import hub
from axolotl_grpo_plugin.findings import Fact, Finding, Lines, fault, warning
from axolotl_grpo_plugin.output.files import existing
from axolotl_grpo_plugin.processes import answer_of
from axolotl_grpo_plugin.serving.address import check_free, server_address, settle_address
from axolotl_grpo_plugin.serving.placement import Words, mode_of

GIB = 2**30
GROUP_PORT = 51216  # TRL's default, for the weights that go to vLLM's server
SHARED_PER_GPU = 1.0  # GiB of /dev/shm. Docker gives 0.06 in all unless it is told otherwise.
CHECKPOINTS = 4  # Axolotl's default of save_total_limit

# A package may print lines of its own before or after the one that begins with PROBE.
PROBE = "axolotl-grpo-probe "
_TORCH = f"""
import json, torch
found = {{"cuda": torch.version.cuda, "error": "", "gpus": []}}
try:
    torch.cuda.init()
    for number in range(torch.cuda.device_count()):
        name = torch.cuda.get_device_properties(number).name
        free, total = torch.cuda.mem_get_info(number)
        torch.ones(8, device=f"cuda:{{number}}").sum().item()
        found["gpus"].append([name, free / 2**30, total / 2**30])
except Exception as error:
    found["error"] = str(error)
print("\\n{PROBE}" + json.dumps(found))
"""


class Probe(NamedTuple):
    """What torch says of the GPUs. gpus: name, free and total GiB of each. error: why it cannot use them."""

    cuda: str | None
    error: str
    gpus: list[tuple[str, float, float]]


def _probe() -> Probe:
    done = answer_of([sys.executable, "-c", _TORCH], 180.0)
    for line in done.stdout.splitlines():
        if line.startswith(PROBE):
            return Probe(**json.loads(line.removeprefix(PROBE)))
    return Probe(None, _last_line(done), [])


def _last_line(done: CompletedProcess[str]) -> str:
    """Return the last line that a process which failed wrote to stderr."""
    lines = done.stderr.strip().splitlines() or [f"it ended with exit code {done.returncode}"]
    return lines[-1]


def check_gpus(gpus: Words) -> Generator[Fact | Finding, None, float | None]:
    """Check that torch computes on each visible GPU, and that no other process fills its memory.

    Returns the GiB of the smallest GPU, None if torch cannot use them.
    """
    if not gpus:
        yield Fact("GPUs", "0 visible")
        return None
    cuda, error, seen = _probe()
    if error or len(seen) < len(gpus):
        why = error.partition("\n")[0] or f"it sees {len(seen)}"
        yield fault(
            "unusable-gpus",
            "GPUs",
            f"torch {version('torch')} (CUDA {cuda}) cannot use the visible GPUs "
            f"({', '.join(gpus)}): {why}",
            "Install a driver for that CUDA version, or a torch for this driver (https://pytorch.org)",
        )
        return None
    names, _, totals = zip(*seen, strict=True)
    yield Fact(
        "GPUs", f"{len(gpus)} x {', '.join(dict.fromkeys(names))}, {min(totals):.0f} GiB each"
    )
    for number, (_, free, total) in zip(gpus, seen, strict=False):
        if free < 0.9 * total:
            yield warning(
                "busy-gpu",
                f"GPU {number}",
                f"other processes hold {total - free:.1f} of its {total:.0f} GiB",
                "End them (`nvidia-smi` lists them), or leave it out of CUDA_VISIBLE_DEVICES",
            )
    return float(min(totals))


def check_imports(cfg: Config, gpus: int) -> Lines:
    """Check that vLLM and FlashAttention can be imported, if they are installed or the config needs them."""
    attention = cfg.attn_implementation == "flash_attention_2"
    yield from _check_import("vllm", mode_of(cfg) != "none", gpus)
    yield from _check_import("flash_attn", attention or bool(cfg.flash_attention), gpus)


def _check_import(name: str, needed: bool, gpus: int) -> Lines:
    if not find_spec(name):
        if needed and name == "flash_attn":  # check_versions knows vLLM
            yield fault(
                "not-installed",
                name,
                "not installed, but this config uses it",
                "Install it with `pip install flash-attn --no-build-isolation`, or set attn_implementation: sdpa",
            )
        return
    if not gpus:  # both are built for a GPU
        yield Finding(
            name,
            "not imported, because no GPU is visible",
            "Run this on the GPU machine",
            level="skipped",
            code="no-gpu",
        )
        return
    done = answer_of([sys.executable, "-c", f"import {name}"], 300.0)
    if done.returncode:
        finding = fault(
            "broken-package",
            name,
            f"it cannot be imported: {_last_line(done)}",
            f"Install a build for torch {version('torch')}",
        )
        yield finding if needed else finding._replace(level="warning")


def check_shared_memory(gpus: int, folder: str = "/dev/shm") -> Lines:
    """Check that NCCL has room for its buffers between processes."""
    free, needed = shutil.disk_usage(folder).free / GIB, gpus * SHARED_PER_GPU
    yield Fact("/dev/shm", f"{free:.1f} GiB free")
    if gpus > 1 and free < needed:
        yield warning(
            "small-shm",
            folder,
            f"{free:.2f} GiB free, and {gpus} GPUs need about {needed:.0f}",
            "Start the container with --ipc=host or --shm-size=16g",
        )


def check_disk(cfg: Config) -> Lines:
    """Check that the model to download and the checkpoints fit their disks."""
    from huggingface_hub import constants

    needs = {constants.HF_HUB_CACHE: 0.0}
    if cfg:
        output = str(output_dir(cfg))
        needs[output] = 0.0
        count = parameters_of(cfg)
        if isinstance(count, Finding):
            yield count
        else:
            model = Repository("model", cfg.base_model or "", cfg.revision_of_model)
            if hub.is_on_hub(model.name) and not is_cached(cfg, model):
                needs[constants.HF_HUB_CACHE] = 2.0 * count  # published in 16 bits
            needs[output] = _output_bytes(cfg, count)
        yield from check_output(cfg)
    wanted: Counter[int] = Counter()  # by disk, because two folders may share one
    for folder, size in needs.items():
        path = existing(folder)
        disk = os.stat(path).st_dev
        free = shutil.disk_usage(path).free
        wanted[disk] += round(size)
        shown = f", {size / GIB:.1f} needed at most" if size else ""
        yield Fact("disk", f"{folder}: {free / GIB:.0f} GiB free{shown}")
        if wanted[disk] > free:
            yield warning(
                "full-disk",
                folder,
                f"{free / GIB:.1f} GiB free, and this run needs up to {wanted[disk] / GIB:.1f}",
                "Set HF_HOME or output_dir to a larger disk, or lower save_total_limit",
            )


def _output_bytes(cfg: Config, count: int) -> float:
    """Return the most bytes that checkpoints and the final model of `count` parameters take at a time."""
    final = checkpoint_bytes(cfg.changed(save_only_model=True), count)
    if cfg.save_strategy in ("no", False):
        return final
    # One more, because the newest is written before the oldest is deleted.
    saves = (cfg.save_total_limit or CHECKPOINTS) + 1
    return saves * checkpoint_bytes(cfg, count) + final


def check_ports(cfg: Config) -> Lines:
    """Check that vLLM's server can listen where the config says."""
    if mode_of(cfg) != "server":
        return
    settle_address(cfg)
    host, port = server_address(cfg)
    group_port = cfg.grpo_trl_args.vllm_group_port or GROUP_PORT
    found = list(check_free(host, port))
    try:
        socket.create_server(("", group_port)).close()
    except OSError as error:
        found.append(
            fault(
                "taken-port",
                f"grpo_trl_args.vllm_group_port ({group_port})",
                f"the trainer cannot send weights here: {os.strerror(error.errno or 0)}",
                "End the process that listens there, or set another port",
            )
        )
    yield from found
    if not found:
        yield Fact("ports", f"{port} (vLLM) and {group_port} (weights) are free")
