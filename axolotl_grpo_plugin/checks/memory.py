"""Estimate the memory of the training GPUs: docs/gpus.md has the formula. It was not measured on a GPU."""

import json
import re
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.checks.config import check_deepspeed
from axolotl_grpo_plugin.checks.parameters import shape_of
from axolotl_grpo_plugin.checks.traps import beta_of
from axolotl_grpo_plugin.config import Config, context_of, mapping_of, whole_of
from axolotl_grpo_plugin.findings import Finding, Findings, fault, warning
from axolotl_grpo_plugin.serving.placement import Placement
from axolotl_grpo_plugin.training.packed_step.settings import (
    LOGITS_PER_CHUNK,
    may_pack,
    why_no_budget,
)

GIB = 2**30
# accelerate casts the logits to 32 bits, and TRL's kernel writes a gradient as large.
_BYTES_PER_LOGIT = 4 + 4
# The packed step's backward pass has five 32-bit tensors of one chunk at a time. torch's profiler counted them on a
# CPU, for weights of 32 and 16 bits.
_BYTES_PER_LOGIT_OF_A_CHUNK = 5 * 4


class Memory(NamedTuple):
    """The memory that a training GPU needs, in GiB.

    model: weights, gradients and optimizer. logits, activations: of one micro-batch whose sequences have the
    full length. vllm: what vLLM holds while the trainer trains on the same GPU.
    """

    model: float
    logits: float
    activations: float
    vllm: float

    @property
    def least(self) -> float:
        """Return the part that no batch size lowers."""
        return self.model + self.vllm

    @property
    def total(self) -> float:
        return sum(self)

    def __str__(self) -> str:
        model = f"{self.model:.1f} weights, gradients and optimizer"
        batch = f"{self.logits:.1f} logits, {self.activations:.1f} activations"
        text = f"estimate {self.total:.1f} GiB per GPU: {model}, {batch}"
        return f"{text}, {self.vllm:.1f} vLLM" if self.vllm else text


def memory_of(cfg: Config, placement: Placement, gib: float | None) -> Memory | Finding:
    """Return the memory of a training GPU of `gib` GiB, None if its size is unknown.

    CUDA's own memory comes on top. Returns a skipped finding if the model's size is not known.
    """
    shape = shape_of(cfg)
    if isinstance(shape, Finding):
        return shape
    rows = cfg.micro_batch_size or 1
    completion = cfg.trl.max_completion_length or 0
    _, length = context_of(cfg) or ("", completion)
    count = rows * (completion or length) * shape.vocabulary
    logits = count * _BYTES_PER_LOGIT
    if may_pack(cfg):
        logits = min(count, LOGITS_PER_CHUNK) * _BYTES_PER_LOGIT_OF_A_CHUNK
    if cfg.trl.use_liger_loss:
        logits = 0  # Liger makes them in small parts
    # The inputs of a layer's norms, attention and MLP. Its attention keeps no scores (SDPA).
    layer = 16 * shape.hidden + 4 * shape.inner
    # A pass of the packed step has at most as many tokens.
    tokens = rows * length
    if cfg.grpo_tokens_per_pass and not why_no_budget(cfg):
        tokens = max(cfg.grpo_tokens_per_pass, length)
    values = shape.layers * layer  # of a token, for the backward pass
    if cfg.gradient_checkpointing:
        values = shape.layers * shape.hidden + layer  # one layer is computed again
    served = 0.0
    if placement.mode == "colocate" and not cfg.trl.vllm_enable_sleep_mode:
        share = cfg.vllm.gpu_memory_utilization or 0.3  # TRL's default
        served = share * (gib or 0.0)
    return Memory(
        shape.parameters * _bytes_per_parameter(cfg, placement.processes) / GIB,
        logits / GIB,
        tokens * values * _weight_bytes(cfg) / GIB,
        served,
    )


def check_memory(memory: Memory, gib: float) -> Findings:
    """Check that the memory fits a GPU of `gib` GiB. An estimate that does not fit is a warning."""
    beside = ""
    sleep = ""
    if memory.vllm:
        beside = f", of which vLLM takes {memory.vllm:.1f}"
        sleep = "set trl.vllm_enable_sleep_mode: true, "
    if memory.least > gib:
        yield fault(
            "too-little-memory",
            "base_model",
            f"weights, gradients and optimizer need {memory.model:.1f} GiB on each training GPU, "
            f"which has {gib:g} GiB{beside}",
            f"Train an adapter, {sleep}use an 8-bit optimizer, or shard over more GPUs (deepspeed, fsdp_config)",
        )
    elif memory.total > gib:
        yield warning(
            "tight-memory",
            "micro_batch_size",
            f"a training GPU of {gib:g} GiB may be too small ({memory})",
            "Halve it and double gradient_accumulation_steps. If it is off, also set gradient_checkpointing: true",
        )


def checkpoint_bytes(cfg: Config, count: int) -> float:
    """Return the bytes of one checkpoint of a model of `count` parameters, with the optimizer if it is saved."""
    size = _weight_bytes(cfg)
    if not cfg.save_only_model:
        size += _optimizer_bytes(cfg)
    if cfg.adapter:
        count //= 100  # an adapter is less than one percent
    return count * size


def _weight_bytes(cfg: Config) -> float:
    # Axolotl loads weights in 16 bits unless the YAML switches both off. Its FSDP2 keeps them so.
    if cfg.bf16 is False and not cfg.fp16:
        return 4.0
    return 2.0


def _bytes_per_parameter(cfg: Config, ranks: int) -> float:
    """Return the bytes per parameter on one of `ranks` training GPUs."""
    size = _weight_bytes(cfg)
    stage, offloads = _deepspeed(cfg)
    if cfg.fsdp_config:
        stage = 3  # FSDP shards everything, too
        if cfg.fsdp_config.offload_params:
            return 0.0
    weights = gradients = size
    if cfg.adapter:  # its gradients and optimizer are less than one percent
        gradients = states = 0.0
        if cfg.load_in_4bit:
            weights = 0.5
        elif cfg.load_in_8bit:
            weights = 1.0
    else:
        states = _optimizer_bytes(cfg)
        if beta_of(cfg):
            # TRL loads its reference model in 32 bits. DeepSpeed casts it.
            weights += size if cfg.deepspeed else 4.0
    if offloads:
        states = 0.0
    if stage >= 1:
        states /= ranks
    if stage >= 2:
        gradients /= ranks
    if stage == 3:
        weights /= ranks
    return weights + gradients + states


def _deepspeed(cfg: Config) -> tuple[int, bool]:
    """Return the ZeRO stage, 0 without DeepSpeed, and whether the optimizer is offloaded to the CPU."""
    config = cfg.deepspeed
    if isinstance(config, str) and config and not any(check_deepspeed(cfg)):
        config = json.loads(Path(config).read_text(encoding="utf-8"))
    if isinstance(config, dict):
        zero = mapping_of(config.get("zero_optimization"))
        offload = mapping_of(zero.get("offload_optimizer")).get("device")
        return whole_of(zero.get("stage")) or 0, offload in ("cpu", "nvme")
    name = str(config)  # one of Axolotl's own files
    stage = re.search("zero([1-3])", name)
    return (int(stage[1]), "offload" in name) if stage else (0, False)


def _optimizer_bytes(cfg: Config) -> float:
    """Return the bytes per parameter that the optimizer keeps and a checkpoint saves. Unknown ones count 0."""
    name = cfg.optimizer or "adamw_torch_fused"
    size = _weight_bytes(cfg)
    copies = 0.0
    if size == 2 and _deepspeed(cfg)[0]:
        size = copies = 4.0  # DeepSpeed keeps a 32-bit copy of the weights beside the states
    # The two states of adamw_torch have the type of the weights.
    state = size if name.startswith("adamw_torch") else 0.0
    for bits, stored in (("4bit", 0.5), ("8bit", 1.0), ("32bit", 4.0)):
        if bits in name:
            state = stored
            break
    if "lion" in name:
        return copies + state
    return copies + 2 * state
