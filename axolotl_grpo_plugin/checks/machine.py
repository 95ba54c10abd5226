"""Check the machine that this process runs on: GPUs, packages, memory, disk, ports and the hub."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin import hub
from axolotl_grpo_plugin.checks.batch import batch_of
from axolotl_grpo_plugin.checks.memory import checkpoint_bytes
from axolotl_grpo_plugin.checks.parameters import parameters_of
from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, first_line
from axolotl_grpo_plugin.load import is_model, reward_refs
from axolotl_grpo_plugin.serving.address import check_free, settle_address
from axolotl_grpo_plugin.serving.placement import mode_of
from axolotl_grpo_plugin.stats.rows import sources

GIB = 2**30
GROUP_PORT = 51216  # TRL's default, for the weights that go to vLLM's server
SHARED_PER_GPU = 1.0  # GiB of /dev/shm. Docker gives 0.06 in all unless it is told otherwise.
CHECKPOINTS = 4  # Axolotl's default of save_total_limit
CHARACTERS_PER_TOKEN = 4

_TORCH = """
import json, torch
found = {"cuda": torch.version.cuda, "error": "", "gpus": []}
try:
    torch.cuda.init()
    for number in range(torch.cuda.device_count()):
        each = torch.cuda.get_device_properties(number)
        free, total = torch.cuda.mem_get_info(number)
        torch.ones(8, device=f"cuda:{number}").sum().item()
        found["gpus"].append([each.name, free / 2**30, total / 2**30])
except Exception as error:
    found["error"] = str(error)
print(json.dumps(found))
"""


class Fact(NamedTuple):
    """One line about the machine."""

    name: str
    text: str


class Repository(NamedTuple):
    """A model or dataset on the hub. kind: "model" or "dataset"."""

    kind: str
    name: str
    revision: str | None = None


Lines = Iterator[Fact | Finding]


def check_gpus(gpus: list[str]) -> Lines:
    """Check that torch computes on each visible GPU, and that no other process fills its memory."""
    if not gpus:
        yield Fact("GPUs", "0 visible")
        return
    found = json.loads(_run([sys.executable, "-c", _TORCH], 180).stdout or "{}")
    if found.get("error") or len(found.get("gpus", ())) < len(gpus):
        built = f"torch {version('torch')} (CUDA {found.get('cuda')})"
        error = first_line(found.get("error", "it crashed"))
        what = f"{built} cannot use the visible GPUs ({', '.join(gpus)}): {error}"
        fix = "Install a driver for that CUDA version, or a torch for this driver (https://pytorch.org)"
        yield Finding("GPUs", what, fix)
        return
    driver = _run(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"], 30).stdout
    kinds = ", ".join(dict.fromkeys(name for name, _, _ in found["gpus"]))
    memory = min(total for _, _, total in found["gpus"])
    which = f"{len(gpus)} x {kinds}, {memory:.0f} GiB each"
    yield Fact("GPUs", f"{which}, driver {driver.split()[0] if driver else 'unknown'}")
    for number, (_, free, total) in zip(gpus, found["gpus"], strict=False):
        if free < 0.9 * total:
            what = f"other processes hold {total - free:.1f} of its {total:.0f} GiB"
            fix = "End them (`nvidia-smi` lists them), or leave it out of CUDA_VISIBLE_DEVICES"
            yield Finding(f"GPU {number}", what, fix, level="warning")


def check_collective(gpus: int, backend: str = "nccl") -> Lines:
    """Check that the GPUs exchange a tensor, as data parallel training and vLLM's weights do."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus)]
    module = "axolotl_grpo_plugin.checks.collective"
    done = _run([sys.executable, *words, "-m", module, backend], 180)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if "Error" in line]
        what = (
            f"{gpus} GPUs cannot exchange a tensor: {errors[-1].strip() if errors else 'timeout'}"
        )
        fix = "Set NCCL_DEBUG=INFO and run this again. NCCL_P2P_DISABLE=1 helps if the GPUs cannot reach each other"
        yield Finding(backend.upper(), what, fix)
    else:
        yield Fact(backend.upper(), f"{gpus} processes exchange {done.stdout.strip()} GB/s")


def check_imports(cfg: Any, gpus: int) -> Lines:
    """Check that vLLM and FlashAttention can be imported, if they are installed or the config needs them."""
    attention = cfg.get("flash_attention") or cfg.get("attn_implementation") == "flash_attention_2"
    wanted = {"vllm": mode_of(cfg) != "none", "flash_attn": bool(attention)}
    for name, needed in wanted.items():
        if not find_spec(name):
            if needed and name == "flash_attn":  # check_versions knows vLLM
                fix = "Install it with `pip install flash-attn --no-build-isolation`, or set attn_implementation: sdpa"
                yield Finding(name, "not installed, but this config uses it", fix)
            continue
        if not gpus:  # both are built for a GPU
            yield Finding(
                name,
                "not imported, because no GPU is visible",
                "Run this on the GPU machine",
                level="skipped",
            )
            continue
        done = _run([sys.executable, "-c", f"import {name}"], 300)
        if done.returncode:
            error = (done.stderr.strip().splitlines() or ["it took over 300 s"])[-1]
            what = f"it cannot be imported: {error}"
            fix = f"Install a build for torch {version('torch')}"
            yield Finding(name, what, fix, level="error" if needed else "warning")


def check_shared_memory(gpus: int, folder: str = "/dev/shm") -> Lines:
    """Check that NCCL has room for its buffers between processes."""
    free = shutil.disk_usage(folder).free / GIB
    yield Fact("/dev/shm", f"{free:.1f} GiB free")
    if gpus > 1 and free < gpus * SHARED_PER_GPU:
        what = f"{free:.2f} GiB free, and {gpus} GPUs need about {gpus * SHARED_PER_GPU:.0f}"
        yield Finding(
            folder, what, "Start the container with --ipc=host or --shm-size=16g", level="warning"
        )


def check_disk(cfg: Any, ranks: int = 1) -> Lines:
    """Check that the model to download and the checkpoints fit their disks. ranks: training processes."""
    from huggingface_hub import constants

    needs, rollouts = {constants.HF_HUB_CACHE: 0.0}, ""
    count = parameters_of(cfg) if cfg else 0
    if isinstance(count, Finding):
        yield count
    elif cfg:
        if any(each.name == cfg["base_model"] for each in _missing(cfg)):
            needs[constants.HF_HUB_CACHE] += 2.0 * count  # published in 16 bits
        # One more, because the newest is written before the oldest is deleted. Then the final model.
        saves = (tokens_of(cfg.get("save_total_limit")) or CHECKPOINTS) + 1
        if cfg.get("save_strategy") in ("no", False):
            saves = 0
        final = checkpoint_bytes({**cfg, "save_only_model": True}, count)
        output = cfg.get("output_dir") or "./model-out"
        needs[output] = saves * checkpoint_bytes(cfg, count) + final
        rollouts = _rollouts(cfg, ranks)
    wanted: Counter[int] = Counter()
    for folder, size in needs.items():
        place = _existing(folder)
        disk, free = os.stat(place).st_dev, shutil.disk_usage(place).free
        wanted[disk] += round(size)
        shown = f", {size / GIB:.1f} needed at most" if size else ""
        logged = rollouts if folder != constants.HF_HUB_CACHE else ""
        yield Fact("disk", f"{folder}: {free / GIB:.0f} GiB free{shown}{logged}")
        if wanted[disk] > free:
            what = f"{free / GIB:.1f} GiB free, and this run needs up to {wanted[disk] / GIB:.1f}"
            fix = "Set HF_HOME or output_dir to a larger disk, or lower save_total_limit"
            yield Finding(folder, what, fix, level="warning")


def _rollouts(cfg: Any, ranks: int) -> str:
    """Return the size of logged completions as text, or "" if none are logged."""
    trl, batch = block(cfg, "trl"), batch_of(cfg, ranks)
    if not batch or not (cfg.get("grpo_rollouts") or trl.get("log_completions")):
        return ""
    longest = tokens_of(trl.get("max_completion_length")) or 256  # TRL's default
    size = 1000 * batch.completions * longest * CHARACTERS_PER_TOKEN
    return f"; rollouts: at most {size / GIB:.1f} GiB per 1,000 steps"


def check_ports(cfg: Any) -> Lines:
    """Check that vLLM's server can listen where the config says."""
    if mode_of(cfg) != "server":
        return
    settle_address(cfg)
    host, port = cfg["vllm"]["host"], cfg["vllm"]["port"]
    found = [*check_free(host, port), *_check_group_port(cfg)]
    yield from found
    if not found:
        yield Fact("ports", f"{port} (vLLM) and {_group_port(cfg)} (weights) are free")


def _group_port(cfg: Any) -> int:
    return tokens_of(block(cfg, "grpo_trl_args").get("vllm_group_port")) or GROUP_PORT


def _check_group_port(cfg: Any) -> Iterator[Finding]:
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", _group_port(cfg)))
    except OSError as error:
        where = f"grpo_trl_args.vllm_group_port ({_group_port(cfg)})"
        yield Finding(
            where,
            f"the trainer cannot send weights here: {error.strerror}",
            "End the process that listens there, or set another port",
        )


def repositories(cfg: Any) -> list[Repository]:
    """Return the models and datasets that a config takes from the hub, each once."""
    named = [
        Repository("model", cfg.get("base_model"), cfg.get("revision_of_model")),
        Repository("model", cfg.get("tokenizer_config")),
        *(Repository("model", ref.key) for ref in reward_refs(cfg) if is_model(ref.key)),
        *(Repository("dataset", each.path, each.entry.get("revision")) for each in sources(cfg)),
    ]
    first: dict[tuple[str, str], Repository] = {}
    for each in named:
        first.setdefault(each[:2], each)
    return [each for each in first.values() if hub.is_on_hub(each.name)]


def _missing(cfg: Any) -> list[Repository]:
    """Return the repositories that the hub's cache lacks."""
    return [each for each in repositories(cfg) if not _is_cached(each)]


def check_hub(cfg: Any) -> Lines:
    """Check that the hub gives this machine each model and dataset, or that its cache has them."""
    from huggingface_hub import auth_check, constants
    from huggingface_hub.errors import HfHubHTTPError

    reachable = not constants.HF_HUB_OFFLINE and hub.answers()
    wanted = repositories(cfg)
    missing = _missing(cfg)
    state = "answers" if reachable else "does not answer"
    if constants.HF_HUB_OFFLINE:
        state = "is not asked (HF_HUB_OFFLINE)"
    cached = f"; the cache has {len(wanted) - len(missing)} of {len(wanted)} repositories"
    yield Fact("hub", f"{constants.ENDPOINT} {state}{cached * bool(wanted)}")
    for kind, name, _ in missing:
        if not reachable:
            what = f"this {kind} is not in the cache, and the hub {state}"
            fix = "Run `axolotl-grpo doctor CONFIG --prefetch` with a network, and with the same HF_HOME"
            yield Finding(name, what, fix)
            continue
        try:
            auth_check(name, repo_type=kind)
        except HfHubHTTPError as error:  # gated, private, or no such name: the hub's text says it
            fix = (
                f"Log in with `hf auth login`, and accept its terms at {constants.ENDPOINT}/{name}"
            )
            yield Finding(name, f"the hub refuses this {kind}: {first_line(error)}", fix)


def prefetch(cfg: Any) -> Lines:
    """Download the models and datasets of a config into the hub's cache."""
    from datasets import load_dataset
    from huggingface_hub import snapshot_download

    # The weights in other formats than safetensors are as large again.
    others = ["*.bin", "*.pth", "*.gguf", "*.onnx", "*.msgpack", "*.h5", "original/*"]
    for kind, name, revision in repositories(cfg):
        try:
            if kind == "model":
                text = snapshot_download(name, revision=revision, ignore_patterns=others)
            else:
                entries = [each.entry for each in sources(cfg) if each.path == name]
                rows = [
                    load_dataset(name, each.get("name"), split=each.get("split"), revision=revision)
                    for each in entries
                ]
                text = f"{sum(map(len, rows)):,} rows"
        except (OSError, ValueError) as error:  # missing, gated, or no network
            what = f"this {kind} cannot be downloaded: {first_line(error)}"
            yield Finding(name, what, "Follow the findings on the hub below")
        else:
            yield Fact("download", f"{name}: {text}")


def _is_cached(repository: Repository) -> bool:
    """Return whether the hub's cache has a dataset, or a model with all files of its weights."""
    from huggingface_hub import constants, snapshot_download, try_to_load_from_cache
    from huggingface_hub.errors import LocalEntryNotFoundError

    kind, name, revision = repository
    if kind == "dataset":
        return Path(
            constants.HF_HUB_CACHE, f"datasets--{name.replace('/', '--')}", "snapshots"
        ).is_dir()
    try:
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return False
    index = folder / "model.safetensors.index.json"
    files = {"model.safetensors"}
    if index.exists():
        files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return all(
        isinstance(try_to_load_from_cache(name, file, revision=revision), str)
        for file in ("config.json", *files)
    )


def _existing(folder: str) -> Path:
    """Return the folder, or its nearest parent that exists."""
    path = Path(folder).absolute()
    return next(each for each in (path, *path.parents) if each.exists())


def _run(words: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command. One that is missing or takes too long has exit code 127 or 124."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=seconds)
    except FileNotFoundError:
        return subprocess.CompletedProcess(words, 127, "", "")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, 124, "", "")
