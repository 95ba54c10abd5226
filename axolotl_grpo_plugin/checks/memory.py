"""What a run takes of a training GPU's memory and of a serving one's: an estimate, its assumptions told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks.batch import batch_of, number_of
from axolotl_grpo_plugin.checks.config import check_deepspeed
from axolotl_grpo_plugin.checks.lengths import context_of, tokens_of
from axolotl_grpo_plugin.checks.modules import at
from axolotl_grpo_plugin.checks.shapes import Shape, shape_of
from axolotl_grpo_plugin.checks.traps import beta_of
from axolotl_grpo_plugin.paths import block
from axolotl_grpo_plugin.serving.placement import Placement

GIB = 2**30
OVERHEAD = (
    1.0  # GiB of a process on a GPU: CUDA's context, libraries, what fragments. Not measured.
)
QUANTIZED = 0.516  # bytes of a 4-bit number with its share of the blocks' scales
TILE = 2048 * 8192  # logits that TRL's chunked loss holds at a time (trl/trainer/utils.py)
FULL = 0.9  # the share of a GPU above which an estimate is no comfort
# Bytes of optimizer state a parameter, where they do not follow the parameter's own.
STATES = {"adafactor": 0.0, "sgd": 0.0, "lion_8bit": 1.0, "paged_lion_8bit": 1.0}


class Memory(NamedTuple):
    """GiB of one training GPU and of one serving GPU, by part; without vLLM nothing serves.

    serve: weights, what vLLM needs beside them, and one sequence of the longest length. kv_sequence:
    GiB of the latter alone. utilization: the share of a GPU that vLLM takes for all of it. shared:
    vLLM and the trainer are on the same GPU (colocate). resting: what of `train` stays while vLLM
    generates, where it sleeps in between; None: it never sleeps. error: how far off this is.
    """

    train: dict[str, float]
    serve: dict[str, float]
    kv_sequence: float
    utilization: float
    shared: bool
    resting: float | None
    assumptions: tuple[str, ...]
    error: str = "not measured"

    def __str__(self) -> str:
        lines = []
        for name, parts in (("training", self.train), ("serving", self.serve)):
            if parts:
                each = ", ".join(f"{part} {size:.1f}" for part, size in parts.items())
                lines.append(f"{sum(parts.values()):.1f} GiB on a {name} GPU ({each})")
        together = "the same GPU; " if self.shared else ""
        return f"about {' and '.join(lines)}; {together}error: {self.error}"

    def peak(self, gib: float) -> float:
        """GiB at most in use on a training GPU of that size."""
        trains = sum(self.train.values())
        if not self.shared:
            return trains
        served = self.utilization * gib
        return trains + served if self.resting is None else max(trains, self.resting + served)

    @property
    def least(self) -> float:
        """GiB that a training GPU holds for certain: weights and optimizer."""
        return self.train["weights"] + self.train["optimizer"]

    def sequences(self, gib: float) -> int:
        """How many sequences of the longest length a serving GPU of that size holds at a time."""
        room = self.utilization * gib - sum(self.serve.values()) + self.kv_sequence
        return max(0, int(room / self.kv_sequence)) if self.serve else 0


def estimate(cfg: Any, placement: Placement, longest: int | None = None) -> Memory | Finding:
    """The estimate for a raw config, or the finding that says what it would need.

    longest: tokens of the longest prompt, where they are counted.
    """
    shape, batch = shape_of(cfg), batch_of(cfg, placement.processes)
    if isinstance(shape, Finding):
        return shape
    completion = tokens_of(block(cfg, "trl").get("max_completion_length"))
    context = context_of(cfg)
    if not completion or not context or batch is None:
        missing = "trl.max_completion_length and vllm.max_model_len (or sequence_len)"
        where = at(cfg, "trl.max_completion_length")
        return Finding(where, "memory is not estimated", f"needs {missing}", level="skipped")
    assumptions: list[str] = []
    micro = batch.micro_batch_size
    train = _states(cfg, shape, placement.processes, assumptions)
    resting = train["weights"] + train["optimizer"] + OVERHEAD
    train["logits"] = _logits(cfg, shape, micro * completion, assumptions)
    prompts = filter(None, (longest, tokens_of(cfg.get("grpo_max_prompt_length"))))
    most = min(context[1], min(prompts, default=context[1]) + completion)
    train["activations"] = _activations(cfg, shape, micro * most, assumptions)
    train["process"] = OVERHEAD
    assumptions.append(f"{OVERHEAD:g} GiB for CUDA and fragmentation")
    vllm, trl = block(cfg, "vllm"), block(cfg, "trl")
    shared = placement.mode == "colocate"
    serve, sequence = {}, 0.0
    if placement.mode != "none":
        parallel = tokens_of(vllm.get("tensor_parallel_size")) or 1
        longest = tokens_of(vllm.get("max_model_len")) or shape.positions or context[1]
        sequence = longest * shape.kv_token_bytes() / parallel / GIB
        serve = {
            "weights": 2 * shape.parameters / parallel / GIB,
            "process": OVERHEAD,
            "one sequence": sequence,
        }
        assumptions.append("vLLM holds weights and KV cache in 16 bits")
    return Memory(
        train,
        serve,
        sequence,
        number_of(vllm.get("gpu_memory_utilization")) or (0.3 if shared else 0.9),
        shared,
        resting if shared and trl.get("vllm_enable_sleep_mode") else None,
        tuple(assumptions),
    )


def check_memory(cfg: Any, memory: Memory | Finding, gib: float | None) -> Iterator[Finding]:
    """The estimate fits GPUs of `gib` GiB, each serving one holds a sequence. None: no verdict.

    Errors only where weights and optimizer alone do not fit: how far off the rest is is not measured.
    """
    if isinstance(memory, Finding):
        yield memory
    elif gib:
        if memory.serve and not memory.sequences(gib):
            what = (
                f"{memory.utilization:g} of {gib:g} GiB, where vLLM needs {sum(memory.serve.values()):.1f} GiB "
                "for the weights and one sequence of the longest length (estimated)"
            )
            mend = "Raise it, or lower vllm.max_model_len"
            yield Finding(
                at(cfg, "vllm.gpu_memory_utilization"),
                what,
                mend,
                level="error" if memory.serve["weights"] > memory.utilization * gib else "warning",
            )
        peak = memory.peak(gib)
        if peak > FULL * gib:
            parts = ", ".join(f"{name} {size:.1f}" for name, size in memory.train.items())
            vllm = f", vLLM {memory.utilization * gib:.1f}" if memory.shared else ""
            yield Finding(
                at(cfg, "micro_batch_size"),
                f"training takes about {peak:.1f} of {gib:g} GiB (estimated, in GiB: {parts}{vllm})",
                _mend(cfg, memory),
                level="error" if memory.least > gib else "warning",
            )


def _mend(cfg: Any, memory: Memory) -> str:
    largest = max(memory.train, key=lambda part: memory.train[part])
    if largest == "logits":
        return "Lower micro_batch_size and raise gradient_accumulation_steps, or set trl.use_liger_loss: true"
    if largest == "activations":
        lower = "Lower micro_batch_size and raise gradient_accumulation_steps"
        return lower if _checkpoints(cfg) else f"{lower}, or set gradient_checkpointing: true"
    shared = (
        "set trl.vllm_enable_sleep_mode: true, " if memory.shared and memory.resting is None else ""
    )
    return f"Train an adapter, {shared}take an 8-bit optimizer, or shard over more GPUs (deepspeed, fsdp_config)"


def _states(cfg: Any, shape: Shape, ranks: int, assumptions: list[str]) -> dict[str, float]:
    """GiB of weights, gradients and optimizer on one of the ranks."""
    stage, offloads = _zero(cfg)
    fsdp = bool(cfg.get("fsdp_config") or cfg.get("fsdp"))
    # Axolotl loads weights in 16 bits, unless the YAML switches both off, and its FSDP2 keeps them so.
    half = not (cfg.get("bf16") is False and not cfg.get("fp16"))
    size = 2.0 if half else 4.0
    base, trained = size * shape.parameters, shape.parameters
    adapter = bool(cfg.get("adapter"))
    if adapter:
        trained = _adapter_parameters(cfg, shape)
        if cfg.get("load_in_4bit") or cfg.get("load_in_8bit"):
            each = QUANTIZED if cfg.get("load_in_4bit") else 1.0
            base = each * shape.matrices + size * (shape.parameters - shape.matrices)
        assumptions.append("the adapter's weights, gradients and optimizer states in 32 bits")
    master = 4.0 if adapter else size
    weights = base + master * trained if adapter else master * trained
    gradients, states = master * trained, _optimizer_bytes(cfg, master, assumptions) * trained
    if stage and half:
        states = (4.0 + _optimizer_bytes(cfg, 4.0, [])) * trained
        assumptions.append(
            "DeepSpeed keeps a 32-bit copy of what trains beside the optimizer's states"
        )
    if number_of(beta_of(cfg)) and not adapter:
        weights += size * shape.parameters
        assumptions.append("a beta above 0 keeps a second copy of the weights")
    if ranks > 1 and (fsdp or stage):
        weights = weights / ranks if fsdp or stage == 3 else weights
        gradients = gradients / ranks if fsdp or stage >= 2 else gradients
        states /= ranks
        assumptions.append(f"sharded over {ranks} GPUs by {'FSDP2' if fsdp else f'ZeRO-{stage}'}")
        if fsdp or stage == 3:
            weights += size * shape.vocab * shape.hidden
            assumptions.append("of the sharded weights, the embedding is whole at the peak")
    parts = {"weights": weights, "gradients": gradients, "optimizer": states}
    if offloads:
        parts["optimizer"] = 0.0
        assumptions.append("the optimizer is on the CPU")
    return {name: number / GIB for name, number in parts.items()}


def _zero(cfg: Any) -> tuple[int, bool]:
    """The ZeRO stage of the DeepSpeed config that a raw config names, and whether it offloads the optimizer."""
    said = cfg.get("deepspeed")
    if not said:
        return 0, False
    if isinstance(said, str) and not list(check_deepspeed(cfg)):
        said = json.loads(Path(said).read_text(encoding="utf-8"))
    if isinstance(said, str):  # by the names of Axolotl's own files
        return next((stage for stage in (3, 2, 1) if f"zero{stage}" in said), 0), "offload" in said
    zero = block(said, "zero_optimization") if isinstance(said, dict) else {}
    return tokens_of(zero.get("stage")) or 0, block(zero, "offload_optimizer").get(
        "device"
    ) == "cpu"


def _adapter_parameters(cfg: Any, shape: Shape) -> int:
    named = cfg.get("lora_target_modules")
    every = cfg.get("lora_target_linear") or not isinstance(named, list)
    chosen = [sizes for name, sizes in shape.linear.items() if every or name in named]
    layers = cfg.get("peft_layers_to_transform")
    count = len(layers) if isinstance(layers, list) else shape.layers
    return (
        count * (tokens_of(cfg.get("lora_r")) or 8) * sum(taken + given for taken, given in chosen)
    )


def _optimizer_bytes(cfg: Any, size: float, assumptions: list[str]) -> float:
    """Bytes of optimizer state a parameter of `size` bytes."""
    name = str(cfg.get("optimizer") or "adamw_torch_fused")
    if name in STATES:
        return STATES[name]
    if "8bit" in name or "4bit" in name:
        return 2.0 if "8bit" in name else 1.0
    if "32bit" in name:
        return 4.0 if "lion" in name else 8.0
    if not name.startswith("adamw_torch"):
        assumptions.append(f"{name} keeps two 32-bit numbers a parameter")
        return 8.0
    assumptions.append(
        f"AdamW's two states have the type of what trains: {2 * size:g} bytes a parameter"
    )
    return 2 * size


def _logits(cfg: Any, shape: Shape, tokens: int, assumptions: list[str]) -> float:
    """GiB of a forward pass's logits over `tokens` completion tokens, and of their gradient."""
    if block(cfg, "trl").get("use_liger_loss"):
        assumptions.append(
            "use_liger_loss: logits a tile at a time, and a 32-bit gradient of the head"
        )
        return (6 * TILE + 4 * shape.vocab * shape.hidden) / GIB
    scaled = (number_of(block(cfg, "trl").get("temperature")) or 1.0) != 1.0
    copies = 3 if scaled else 2
    beside = "its copy by temperature, " if scaled else ""
    assumptions.append(
        f"logits [micro_batch_size x completion tokens x vocab] in 32 bits, {beside}and their gradient"
    )
    return 4.0 * copies * tokens * shape.vocab / GIB


def _activations(cfg: Any, shape: Shape, tokens: int, assumptions: list[str]) -> float:
    """GiB of a forward pass's activations over `tokens` tokens of prompts and completions."""
    attention = (shape.heads + 2 * shape.kv_heads) * shape.head_dim
    layer = 2 * (
        6 * shape.hidden + 2 * attention + 4 * shape.intermediate
    )  # 16 bits, flash or sdpa
    if _checkpoints(cfg):
        assumptions.append(
            "gradient checkpointing: each layer's input, and one layer's activations twice"
        )
        return tokens * (2 * shape.hidden * shape.layers + 2 * layer) / GIB
    assumptions.append("all layers' activations, for there is no gradient_checkpointing")
    return tokens * layer * shape.layers / GIB


def _checkpoints(cfg: Any) -> bool:
    fsdp = block(cfg, "fsdp_config")
    return bool(cfg.get("gradient_checkpointing") or fsdp.get("activation_checkpointing"))
