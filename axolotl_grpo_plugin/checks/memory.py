"""Check that weights, gradients and optimizer fit the GPUs: a lower bound, not an estimate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks.batch import number_of
from axolotl_grpo_plugin.checks.config import check_deepspeed
from axolotl_grpo_plugin.checks.parameters import parameters_of
from axolotl_grpo_plugin.checks.traps import beta_of
from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.serving.placement import Placement

GIB = 2**30


class Memory(NamedTuple):
    """GiB that one GPU holds for certain: three parts on a training GPU, vLLM's weights on a serving one.

    Activations, logits, the KV cache and CUDA itself come on top. reserved: share of a training GPU,
    0 to 1, that colocated vLLM keeps while the trainer works.
    """

    weights: float
    gradients: float
    optimizer: float
    served: float
    reserved: float

    @property
    def trained(self) -> float:
        """GiB on a training GPU."""
        return self.weights + self.gradients + self.optimizer

    def __str__(self) -> str:
        parts = f"weights {self.weights:.1f}, gradients {self.gradients:.1f}, optimizer {self.optimizer:.1f}"
        line = f"at least {self.trained:.1f} GiB on a training GPU ({parts})"
        return f"{line}, {self.served:.1f} GiB on a serving GPU (weights)" if self.served else line


def least_memory(cfg: Any, placement: Placement) -> Memory | Finding:
    """Return the lower bound for a raw config, or a skipped finding if the model's size is not known."""
    count = parameters_of(cfg)
    if isinstance(count, Finding):
        return count
    # Axolotl loads weights in 16 bits unless the YAML switches both off. Its FSDP2 keeps them so.
    size = 4.0 if cfg.get("bf16") is False and not cfg.get("fp16") else 2.0
    stage, offloaded = _deepspeed(cfg)
    fsdp = block(cfg, "fsdp_config")
    if cfg.get("adapter"):  # its own states are less than one percent
        quantized = 0.5 if cfg.get("load_in_4bit") else 1.0 if cfg.get("load_in_8bit") else size
        weights, gradients, states = quantized * count, 0.0, 0.0
    else:
        copies = 2 if number_of(beta_of(cfg)) else 1  # the reference model
        weights, gradients = copies * size * count, size * count
        states = _state_bytes(cfg, size) * count
        if stage and size == 2:  # DeepSpeed keeps a 32-bit copy of the weights beside the states
            states = (4 + _state_bytes(cfg, 4)) * count
    ranks = placement.processes
    if fsdp or cfg.get("fsdp") or stage == 3:
        weights /= ranks
    if fsdp or cfg.get("fsdp") or stage >= 2:
        gradients /= ranks
    if fsdp or cfg.get("fsdp") or stage:
        states /= ranks
    if offloaded or fsdp.get("offload_params"):
        states = 0.0
    if fsdp.get("offload_params"):
        weights = gradients = 0.0
    vllm, mode = block(cfg, "vllm"), placement.mode
    parallel = tokens_of(vllm.get("tensor_parallel_size")) or 1
    asleep = block(cfg, "trl").get("vllm_enable_sleep_mode")
    return Memory(
        weights / GIB,
        gradients / GIB,
        states / GIB,
        2 * count / parallel / GIB if mode != "none" else 0.0,
        utilization(cfg, placement) if mode == "colocate" and not asleep else 0.0,
    )


def utilization(cfg: Any, placement: Placement) -> float:
    """Return the share of a GPU, 0 to 1, that vLLM takes. The defaults are TRL's and vLLM's."""
    default = 0.3 if placement.mode == "colocate" else 0.9
    return number_of(block(cfg, "vllm").get("gpu_memory_utilization")) or default


def check_memory(
    cfg: Any, placement: Placement, memory: Memory | Finding, gib: float | None
) -> Iterator[Finding]:
    """Check that the lower bound fits GPUs of `gib` GiB. Without a size there is no verdict."""
    if isinstance(memory, Finding):
        yield memory
        return
    if not gib:
        return
    share = utilization(cfg, placement)
    if memory.served > share * gib:
        what = f"{share:g} of {gib:g} GiB is too little for vLLM's weights, {memory.served:.1f} GiB"
        fix = "Raise it, or serve on more GPUs (vllm.tensor_parallel_size)"
        yield Finding(at(cfg, "vllm.gpu_memory_utilization"), what, fix)
    if memory.trained + memory.reserved * gib > gib:
        vllm = f" beside vLLM's {memory.reserved * gib:.1f} GiB" if memory.reserved else ""
        what = f"weights and optimizer do not fit a training GPU of {gib:g} GiB{vllm}: {memory}"
        sleep = "set trl.vllm_enable_sleep_mode: true, " if memory.reserved else ""
        fix = f"Train an adapter, {sleep}use an 8-bit optimizer, or shard over more GPUs (deepspeed, fsdp_config)"
        yield Finding(at(cfg, "base_model"), what, fix)


def _deepspeed(cfg: Any) -> tuple[int, bool]:
    """Return the ZeRO stage, 0 without DeepSpeed, and whether the optimizer is offloaded to the CPU."""
    config = cfg.get("deepspeed")
    if isinstance(config, str) and config and not list(check_deepspeed(cfg)):
        config = json.loads(Path(config).read_text(encoding="utf-8"))
    if isinstance(config, str):  # one of Axolotl's own files, by its name
        stage = next((stage for stage in (3, 2, 1) if f"zero{stage}" in config), 0)
        return stage, "offload" in config
    zero = block(config, "zero_optimization") if isinstance(config, dict) else {}
    offload = block(zero, "offload_optimizer").get("device")
    return tokens_of(zero.get("stage")) or 0, offload in ("cpu", "nvme")


def _state_bytes(cfg: Any, size: float) -> float:
    """Return the bytes of optimizer state per parameter of `size` bytes. Unknown optimizers count 0."""
    name = str(cfg.get("optimizer") or "adamw_torch_fused")
    if "4bit" in name or "8bit" in name:
        each = 0.5 if "4bit" in name else 1.0
    elif name.startswith("adamw_torch"):
        each = size  # its two states have the type of the weights
    else:
        each = 4.0 if "32bit" in name else 0.0
    return each if "lion" in name else 2 * each
