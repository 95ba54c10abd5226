"""The values that this machine lays over a config for a machine to rent."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from math import ceil, gcd, lcm
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.checks.batch import Batch, batch_of
from axolotl_grpo_plugin.config import Config, mapping_of, whole_of
from axolotl_grpo_plugin.data import hub
from axolotl_grpo_plugin.data.rows import sources
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.load import is_model, reward_refs
from axolotl_grpo_plugin.serving.placement import mode_of, serving

STEPS = 2  # with a checkpoint after the last
ROWS = 64
TEST_ROWS = 8
HELD_OUT = 2
COMPLETION = 16  # tokens
WITH_TOOLS = 512  # tokens, because a call of a tool must fit
MICRO = 16  # the most completions per forward pass
COMPLETIONS = 32  # about as many per step
THREADS = 4

ENGINES = ("deepspeed", "fsdp")  # beginnings of the keys of engines that shard the model
# Beginnings of the keys that are left out.
LEFT_OUT = (
    "deepcompile",
    # They count the GPUs of the machine to rent.
    "dp_shard",
    "dp_replicate",
    "tensor_parallel",
    "context_parallel",
    "sequence_parallel",
    "expert_parallel",
    "heads_k_stride",
    "ring_attn",
    "device_map",
    "max_memory",
    "gpu_memory_limit",
    "use_ray",
    "ray_",
    "resources_per_worker",
    "dataset_processes",
    # transformers generates.
    "vllm",
    # Weights have 32 bits.
    "bf16",
    "bfloat16",
    "fp16",
    "float16",
    "fp8",
    "tf32",
    "load_in_",
    "bnb_",
    "nf4_",
    "gptq",
    "loftq_",
    "model_quantization",
    "qlora_sharded",
    "quantize_moe",
    # Kernels of GPUs.
    "flash_",
    "xformers_",
    "sdp_",
    "flex_",
    "sage_",
    "eager_",
    "s2_attention",
    "lora_mlp_kernel",
    "lora_qkv_kernel",
    "lora_o_kernel",
    "lora_embedding_kernel",
    "liger_",
    "cut_cross_entropy",
    "torch_compile",
    "use_kernels",
    "activation_offloading",
    "layer_offloading",
    # No tracker, and no hub.
    "use_wandb",
    "wandb_",
    "use_mlflow",
    "mlflow_",
    "hf_mlflow_",
    "use_comet",
    "comet_",
    "use_swanlab",
    "swanlab_",
    "use_trackio",
    "trackio_",
    "use_otel",
    "otel_",
    "hub_",
    "push_dataset_to_hub",
    # A new run begins, from random weights.
    "resume_from_checkpoint",
    "auto_resume",
    "lora_model_dir",
)
LEFT_OUT_OF_TRL = ("vllm_", "use_liger_loss", "generation_batch_size")
GPU_PLUGINS = ("liger", "cut_cross_entropy", "kernels", "swanlab")
GPU_OPTIMIZERS = ("4bit", "8bit", "paged", "bnb", "fp8", "ao_")
OF_GPUS = ("bf16", "fp16", "tf32", "load_in_4bit", "load_in_8bit", "deepspeed", "fsdp_config")
ENGINE_KEYS = ("deepspeed", "fsdp_config")
# Of a DeepSpeed file. Its optimizers are compiled.
OF_GPUS_IN_DEEPSPEED = ("bf16", "fp16", "amp", "optimizer", "scheduler")
OF_HUB = ("name", "split", "ds_type", "data_files", "revision", "trust_remote_code")
# Numbers that a rehearsal does not exceed.
AT_MOST = {
    "eval_steps": STEPS,
    "grpo_eval_steps": STEPS,
    "grpo_held_out_rows": HELD_OUT,
    "val_set_size": TEST_ROWS,
}
FIXED = {
    "attn_implementation": "sdpa",
    "max_steps": STEPS,
    "save_strategy": "steps",
    "save_steps": STEPS,
    "saves_per_epoch": None,
    "logging_steps": 1,
    "dataset_num_proc": 0,  # no process pool for 64 rows
    "grpo_rollouts": None,  # the default folder, in the rehearsal's output_dir
    "grpo_show_steps": 0,
    "bf16": False,
    "fp16": False,
    "tf32": False,
}


def overlay_of(cfg: Config, ranks: int) -> dict[str, Any]:
    """Return the values for this machine that are not the config's. None: the key is left out.

    cfg: raw, with resolved paths and limited prompts.
    """
    overlay = _left_out(cfg.raw, LEFT_OUT)
    overlay |= FIXED
    overlay |= _engine(cfg, ranks)
    batch = small_batch(batch_of(cfg, ranks) or Batch(1, 1, 1, ranks))
    overlay["micro_batch_size"] = batch.micro_batch_size
    overlay["gradient_accumulation_steps"] = batch.gradient_accumulation_steps
    if batch.evaluated:
        overlay["eval_batch_size"] = batch.group_in_evaluation
    overlay["trl"] = _trl(cfg)
    if arguments := _left_out(cfg.grpo_trl_args.raw, ("vllm_",)):
        overlay["grpo_trl_args"] = arguments
    cores = len(os.sched_getaffinity(0)) // ranks
    overlay["grpo_cpu_threads"] = min(max(cores, 1), THREADS)
    for key, most in AT_MOST.items():
        if (whole_of(cfg.value_at(key)) or 0) > most:
            overlay[key] = most
    for key, entries, rows in (
        ("datasets", cfg.datasets, ROWS),
        ("test_datasets", cfg.test_datasets, TEST_ROWS),
    ):
        if entries:
            most = max(rows // len(entries), 4)
            overlay[key] = [_first_rows(entry, most) for entry in entries]
    if cfg.adapter == "qlora":
        overlay["adapter"] = "lora"
    if _has(cfg.optimizer, GPU_OPTIMIZERS):
        overlay["optimizer"] = "adamw_torch"
    if isinstance(cfg.gradient_checkpointing, str):
        overlay["gradient_checkpointing"] = True
    if plugins := cfg.plugins:
        overlay["plugins"] = [name for name in plugins if not _has(name, GPU_PLUGINS)]
    return _differing(cfg.raw, overlay)


def _has(name: object, parts: tuple[str, ...]) -> bool:
    return any(part in str(name).lower() for part in parts)


def _differing(values: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in overlay.items() if value != values.get(key)}


def _left_out(values: Mapping[str, Any], beginnings: tuple[str, ...]) -> dict[str, Any]:
    return dict.fromkeys(key for key in values if str(key).startswith(beginnings))


def untried_engine(cfg: Config, ranks: int) -> tuple[str, str] | None:
    """Return the key of an engine that this machine cannot try, with its reason; None if it can try the config's."""
    for key in ENGINE_KEYS:
        if not cfg.value_at(key):
            continue
        if ranks == 1:
            return key, "one process does not shard a model"
        if key == "deepspeed" and not find_spec("deepspeed"):
            return key, "deepspeed is not installed"
    return None


def _engine(cfg: Config, ranks: int) -> dict[str, Any]:
    """Return the values for the engine that shards the model: without GPUs, and with all tensors in shards."""
    if ranks == 1 or untried_engine(cfg, ranks):
        return _left_out(cfg.raw, ENGINES)
    if fsdp := cfg.fsdp_config.raw:
        # Axolotl names "cuda" where it sends the weights from the first rank to the others.
        return {
            "fsdp_config": {**fsdp, "cpu_ram_efficient_loading": False, "offload_params": False}
        }
    given = cfg.deepspeed
    if not given:
        return {}
    deepspeed = json.loads(Path(given).read_text()) if isinstance(given, str) else dict(given)
    for key in OF_GPUS_IN_DEEPSPEED:
        deepspeed.pop(key, None)
    zero = mapping_of(deepspeed.get("zero_optimization"))
    kept = {key: value for key, value in zero.items() if not key.startswith(("offload_", "zero_"))}
    if kept.get("stage") == 3:
        # The tensors of a tiny model would stay whole.
        kept["stage3_param_persistence_threshold"] = 0
    return {"deepspeed": {**deepspeed, "zero_optimization": kept}}


def _trl(cfg: Config) -> dict[str, Any]:
    """Return the values for the block `trl`. Reward models are left out."""
    trl = cfg.trl.raw
    most = WITH_TOOLS if uses_tools(cfg) else COMPLETION
    overlay = _left_out(trl, LEFT_OUT_OF_TRL)
    overlay |= {
        "use_vllm": False,
        "max_completion_length": min(cfg.trl.max_completion_length or most, most),
        "num_completions_to_print": 0,
    }
    names = [ref.key for ref in reward_refs(cfg)]
    for key in ("reward_funcs", "reward_weights"):
        if values := trl.get(key):
            pairs = zip(names, values, strict=False)
            overlay[key] = [value for name, value in pairs if not is_model(name)]
    return _differing(trl, overlay)


def small_batch(batch: Batch) -> Batch:
    """Return a batch of whole prompt groups, as near to the config's as memory allows."""
    micro = batch.micro_batch_size
    if micro > MICRO:
        micro = gcd(micro, MICRO)
    group = batch.num_generations
    share = lcm(micro, group)  # completions of a rank
    if batch.generated // batch.ranks % group:  # ranks share prompt groups, and go on to do so
        share = lcm(micro * batch.ranks, group) // batch.ranks
    shares = min(batch.completions, COMPLETIONS) // (share * batch.ranks)
    least = ceil(group / share)  # Axolotl's rule
    return batch._replace(
        micro_batch_size=micro,
        gradient_accumulation_steps=max(shares, least) * share // micro,
        generation_batch_size=None,
    )


def _first_rows(entry: dict[str, Any], rows: int) -> dict[str, Any]:
    """Return a dataset cut to its first rows. A part of a split stays as it is."""
    split = str(entry.get("split") or "train")
    if not split.isidentifier():
        return entry
    return {**entry, "split": f"{split}[:{rows}]"}


def merged(values: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with an overlay on them, block by block. None in the overlay removes a key.

    >>> merged({"trl": {"beta": 0, "top_k": 1}, "bf16": True}, {"trl": {"top_k": 2}, "bf16": None})
    {'trl': {'beta': 0, 'top_k': 2}}
    """
    result = dict(values)
    for key, value in overlay.items():
        if isinstance(value, dict):
            value = merged(mapping_of(values.get(key)), value) or None
        if value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


def least_gpus(cfg: Config, ranks: int) -> int:
    """Return the fewest GPUs that can run a config with that many ranks."""
    mode = mode_of(cfg)
    if mode == "server":
        return serving(cfg) + ranks
    if mode == "colocate" or any(map(cfg.value_at, OF_GPUS)):
        return ranks
    return 0


def local_rows(cfg: Config, files: Sequence[str]) -> dict[str, Any]:
    """Return datasets and test_datasets with files in place of names on the hub.

    One file per name, in the order of the config. Raises: FindingError if there are more files.
    """
    names = dict.fromkeys(source.path for source in sources(cfg) if hub.is_on_hub(source.path))
    if len(files) > len(names):
        stop(
            "options",
            "--data",
            f"{len(files)} files for {len(names)} datasets of the hub ({', '.join(names)})",
            "Give one for each, in the order of the config",
        )
    file_of = dict(zip(names, files, strict=False))
    options: dict[str, Any] = {}
    for key, entries in (("datasets", cfg.datasets), ("test_datasets", cfg.test_datasets)):
        if files and entries:
            options[key] = [_local(entry, file_of) for entry in entries]
    return options


def _local(entry: dict[str, Any], file_of: Mapping[str, str]) -> dict[str, Any]:
    file = file_of.get(entry.get("path", ""))
    if not file:
        return dict(entry)
    kept = {name: value for name, value in entry.items() if name not in OF_HUB}
    kind = Path(file).suffix[1:].replace("jsonl", "json")
    return {**kept, "path": file, "ds_type": kind, "split": "train"}
