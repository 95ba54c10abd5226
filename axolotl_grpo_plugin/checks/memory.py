"""Check that weights, gradients and optimizer fit the training GPUs: a lower bound, not an estimate."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.checks.config import check_deepspeed
from axolotl_grpo_plugin.checks.parameters import parameters_of
from axolotl_grpo_plugin.checks.traps import beta_of
from axolotl_grpo_plugin.config import block, number_of, tokens_of
from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.serving.placement import Placement

GIB = 2**30


def least_memory(cfg: Any, placement: Placement) -> float | Finding:
    """Return the GiB that weights, gradients and optimizer take on each training GPU.

    Activations, logits and CUDA itself come on top. Returns a skipped finding if the model's size is
    not known.
    """
    count = parameters_of(cfg)
    return count if isinstance(count, Finding) else count * _bytes_each(cfg, placement) / GIB


def check_memory(cfg: Any, placement: Placement, least: float, gib: float) -> Iterator[Finding]:
    """Check that `least` GiB fit a GPU of `gib` GiB, beside vLLM if it shares the GPU and does not sleep."""
    trl = block(cfg, "trl")
    shared = placement.mode == "colocate" and not trl.get("vllm_enable_sleep_mode")
    share = number_of(block(cfg, "vllm").get("gpu_memory_utilization")) or 0.3  # TRL's default
    served = share * gib if shared else 0.0
    if least + served > gib:
        beside = f", of which vLLM takes {served:.1f}" if shared else ""
        sleep = "set trl.vllm_enable_sleep_mode: true, " if shared else ""
        what = f"weights, gradients and optimizer need {least:.1f} GiB on each training GPU, which has {gib:g} GiB{beside}"
        fix = f"Train an adapter, {sleep}use an 8-bit optimizer, or shard over more GPUs (deepspeed, fsdp_config)"
        yield Finding(at(cfg, "base_model"), what, fix)


def checkpoint_bytes(cfg: Any, count: int) -> float:
    """Return the bytes of one checkpoint of a model of `count` parameters, with the optimizer if it is saved."""
    trained = 0.01 * count if cfg.get("adapter") else count  # an adapter is less than one percent
    states = 0.0 if cfg.get("save_only_model") else _saved_states(cfg)
    return trained * (_weight_bytes(cfg) + states)


def _weight_bytes(cfg: Any) -> float:
    # Axolotl loads weights in 16 bits unless the YAML switches both off. Its FSDP2 keeps them so.
    return 4.0 if cfg.get("bf16") is False and not cfg.get("fp16") else 2.0


def _bytes_each(cfg: Any, placement: Placement) -> float:
    """Return the bytes per parameter on one training GPU."""
    size = _weight_bytes(cfg)
    stage, offloads = _deepspeed(cfg)
    if cfg.get("adapter"):  # its gradients and optimizer are less than one percent
        weights = 0.5 if cfg.get("load_in_4bit") else 1.0 if cfg.get("load_in_8bit") else size
        gradients = states = 0.0
    else:
        copies = 2 if number_of(beta_of(cfg)) else 1  # the reference model
        weights, gradients, states = copies * size, size, _saved_states(cfg)
    if fsdp := block(cfg, "fsdp_config"):
        stage = 3  # FSDP shards everything, too
        if fsdp.get("offload_params"):
            return 0.0
    ranks = placement.processes
    return (
        weights / (ranks if stage == 3 else 1)
        + gradients / (ranks if stage >= 2 else 1)
        + (0.0 if offloads else states / (ranks if stage else 1))
    )


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


def _saved_states(cfg: Any) -> float:
    """Return the bytes per parameter that the optimizer keeps and a checkpoint saves."""
    size = _weight_bytes(cfg)
    if (
        _deepspeed(cfg)[0] and size == 2
    ):  # DeepSpeed keeps a 32-bit copy of the weights beside the states
        return 4 + _state_bytes(cfg, 4)
    return _state_bytes(cfg, size)


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
