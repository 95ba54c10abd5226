"""Replace the parts of a config that only the machine to rent has, and say so."""

import os
import re
from collections.abc import Sequence
from math import gcd, lcm
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin import hub
from axolotl_grpo_plugin.checks.batch import Batch, batch_of
from axolotl_grpo_plugin.config import block, completion_of, dicts, plugins_of, tokens_of
from axolotl_grpo_plugin.environments.names import uses_tools
from axolotl_grpo_plugin.findings import Finding, stop_on
from axolotl_grpo_plugin.load import is_model, reward_refs
from axolotl_grpo_plugin.serving.placement import mode_of, serving
from axolotl_grpo_plugin.stats.rows import sources

STEPS = 2  # with a checkpoint after the last
ROWS, TEST_ROWS, HELD_OUT = 64, 8, 2
COMPLETION, WITH_TOOLS = 16, 512  # tokens; a call of a tool must fit
MICRO, COMPLETIONS = 16, 32  # the most per forward pass, and about as many per step
THREADS = 4

# Keys that are left out, by the reason.
LEFT_OUT = {
    "one process on the CPU": r"deepspeed|deepcompile|fsdp.*|dp_\w+_size|\w+_parallel_size"
    r"|sequence_parallel_degree|heads_k_stride|ring_attn_func|device_map|max_memory|gpu_memory_limit"
    r"|use_ray|ray_\w+|resources_per_worker|dataset_processes",
    "transformers generates": r"vllm",
    "weights in 32 bits": r"bf16|fp16|tf32|load_in_[48]bit|bnb_config_kwargs|nf4_backend|gptq|loftq_\w+|fp8\w*"
    r"|model_quantization_config\w*|qlora_sharded_model_loading|quantize_moe_experts|bfloat16|float16",
    "kernels of GPUs": r"(flash|xformers|sdp|flex|sage|eager)_attention|flash_\w+|s2_attention"
    r"|lora_\w+_kernel|liger_\w+|cut_cross_entropy|torch_compile\w*|use_kernels|\w+_offloading",
    "no tracker and no hub": r"(use_)?(wandb|mlflow|comet|swanlab|trackio)\w*|\w*otel_metrics\w*"
    r"|hub_\w+|push_dataset_to_hub|hf_mlflow_log_artifacts",
    "a new run from random weights": r"(auto_)?resume_from_checkpoints?|lora_model_dir"
    r"|dataset_prepared_path",
}
OF_TRL = r"vllm_\w+|use_liger_loss|generation_batch_size"
GPU_PLUGINS = r".*(liger|cut_cross_entropy|kernels|swanlab).*"
OF_GPUS = ("bf16", "fp16", "tf32", "load_in_4bit", "load_in_8bit", "deepspeed", "fsdp_config")
OF_HUB = ("name", "split", "ds_type", "data_files", "revision", "trust_remote_code")
GPU_OPTIMIZERS = r".*(4bit|8bit|paged|bnb|fp8|ao_).*"


def replaced(
    cfg: Any, model: str, tokenizer: str, folder: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a raw config for this machine, and a line on each replacement by its name.

    cfg: whose paths are resolved and whose prompts are limited. model: the tiny one. tokenizer: its
    folder or hub name. folder: for all files of the rehearsal.
    """
    keys, lines = dict(cfg), dict[str, str]()
    keys.pop("axolotl_config_path", None)
    for reason, pattern in LEFT_OUT.items():
        if names := _take(keys, pattern):
            lines[reason] = f"without {', '.join(names)}"
    batch = batch_of(cfg, 1) or Batch(1, 1, 1, 1)
    small = small_batch(batch)
    trl = keys["trl"] = {**block(cfg, "trl")}
    taken = _take(trl, OF_TRL)
    if taken or trl.get("use_vllm"):
        left_out = ", ".join(f"trl.{name}" for name in ("use_vllm", *taken))
        lines["transformers generates"] = f"without {left_out}"
    models = [each.key for each in reward_refs(cfg) if is_model(each.key)]
    if models:
        kept = [number for number, key in enumerate(trl["reward_funcs"]) if key not in models]
        for key in ("reward_funcs", "reward_weights"):
            trl[key] = trl.get(key) and [trl[key][number] for number in kept]
        lines["reward models"] = f"without {', '.join(models)}"
    most = COMPLETION
    if uses_tools(cfg):
        most, lines["tools"] = WITH_TOOLS, "made and described, but the random model calls none"
    length = min(completion_of(cfg) or most, most)
    lines["completions"] = f"{length} tokens in place of {completion_of(cfg) or 'no limit'}"
    trl |= {"use_vllm": False, "max_completion_length": length, "num_completions_to_print": 0}
    if arguments := block(cfg, "grpo_trl_args"):
        keys["grpo_trl_args"] = {k: v for k, v in arguments.items() if not re.match("vllm_", k)}
    if small != batch:
        lines["batch"] = (
            f"{small.completions} completions per step: micro_batch_size {small.micro_batch_size} x "
            f"gradient_accumulation_steps {small.gradient_accumulation_steps}"
        )
    if batch.evaluates:
        keys["eval_batch_size"] = small.group_in_evaluation
    for name, rows in (("datasets", ROWS), ("test_datasets", TEST_ROWS)):
        if entries := dicts(cfg.get(name)):
            each = max(rows // len(entries), 4)
            keys[name] = [{**entry, "split": first(entry.get("split"), each)} for entry in entries]
            lines[f"rows of {name}"] = f"the first {each} of each"
    keys |= {
        "base_model": model,
        "base_model_config": model,
        "tokenizer_config": tokenizer,
        "micro_batch_size": small.micro_batch_size,
        "gradient_accumulation_steps": small.gradient_accumulation_steps,
        **{"bf16": False, "fp16": False, "tf32": False, "attn_implementation": "sdpa"},
        **{"max_steps": STEPS, "save_strategy": "steps", "save_steps": STEPS},
        **{"saves_per_epoch": None, "logging_steps": 1},
        "dataset_num_proc": 0,  # no process pool for 64 rows
        "grpo_rollouts": True,
        "grpo_show_steps": 0,
        "grpo_cpu_threads": min(len(os.sched_getaffinity(0)), THREADS),
        "output_dir": str(folder / "run"),
        "dataset_prepared_path": str(folder / "prepared"),
    }
    lines["steps"] = f"{STEPS}, then a checkpoint, and 1 from there. Each is logged"
    attention = cfg.get("attn_implementation") or "sdpa"
    if attention != "sdpa":
        lines["attention"] = f"sdpa in place of {attention}"
    _shorten_evaluation(keys)
    if cfg.get("adapter") == "qlora":
        keys["adapter"], lines["adapter"] = "lora", "lora in place of qlora"
    if re.fullmatch(GPU_OPTIMIZERS, str(cfg.get("optimizer"))):
        keys["optimizer"] = "adamw_torch"
        lines["optimizer"] = f"adamw_torch in place of {cfg['optimizer']}"
    if isinstance(cfg.get("gradient_checkpointing"), str):
        keys["gradient_checkpointing"] = True
    plugins = [str(name) for name in plugins_of(cfg)]
    if of_gpus := [name for name in plugins if re.fullmatch(GPU_PLUGINS, name.lower())]:
        keys["plugins"] = [name for name in plugins if name not in of_gpus]
        lines["plugins"] = f"without {', '.join(of_gpus)}"
    return {key: value for key, value in keys.items() if value is not None}, lines


def _take(keys: dict[str, Any], pattern: str) -> list[str]:
    """Remove the keys of a pattern. Return the names of those with a value."""
    found = [key for key in keys if re.fullmatch(pattern, str(key))]
    return [key for key in found if keys.pop(key)]


def _shorten_evaluation(keys: dict[str, Any]) -> None:
    """Evaluate and answer held-out rows at the checkpoint, if the config ever does."""
    if tokens_of(keys.get("eval_steps")):
        keys["eval_steps"] = STEPS
    if keys.get("grpo_held_out_rows"):
        keys["grpo_held_out_rows"] = HELD_OUT
    if keys.get("grpo_eval_steps"):
        keys["grpo_eval_steps"] = STEPS
    size = keys.get("val_set_size")
    if isinstance(size, int) and size > TEST_ROWS:
        keys["val_set_size"] = TEST_ROWS


def small_batch(batch: Batch) -> Batch:
    """Return a batch of whole prompt groups for one process, as near to the config's as memory allows."""
    micro = batch.micro_batch_size
    micro = micro if micro <= MICRO else gcd(micro, MICRO)
    least = lcm(micro, batch.num_generations)
    most = max(least, min(batch.completions, COMPLETIONS) // least * least)
    return batch._replace(
        micro_batch_size=micro,
        gradient_accumulation_steps=most // micro,
        generation_batch_size=None,
        eval_batch_size=None,
    )


def first(split: Any, rows: int) -> str:
    """Return the split cut to its first rows, if it is a name with at most one range of rows.

    >>> first(None, 64), first("train[10:]", 64), first("train[:8]", 64), first("a+b", 64)
    ('train[:64]', 'train[10:74]', 'train[:8]', 'a+b')
    """
    match = re.fullmatch(r"(\w+)(?:\[(\d*):(\d*)\])?", str(split or "train"))
    if not match:
        return str(split)
    name, begin, end = match.groups()
    last = min(int(begin or 0) + rows, int(end) if end else 1 << 62)
    return f"{name}[{begin or ''}:{last}]"


def least_gpus(cfg: Any) -> int:
    """Return the fewest GPUs that can run a config."""
    mode = mode_of(cfg)
    if mode == "server":
        return serving(cfg) + 1
    return int(mode == "colocate" or any(cfg.get(key) for key in OF_GPUS))


def local_rows(cfg: Any, files: Sequence[str]) -> dict[str, Any]:
    """Return datasets and test_datasets with files in place of names on the hub.

    One file per name, in the order of the config. Raises: ConfigError if there are more files.
    """
    names = list(dict.fromkeys(each.path for each in sources(cfg) if hub.is_on_hub(each.path)))
    if len(files) > len(names):
        what = f"{len(files)} files for {len(names)} datasets of the hub ({', '.join(names)})"
        stop_on([Finding("--data-file", what, "Give one for each, in the order of the config")])
    file_of = dict(zip(names, files, strict=False))
    kinds = {".parquet": "parquet", ".csv": "csv"}
    options: dict[str, Any] = {}
    for key in ("datasets", "test_datasets") if files else ():
        options[key] = []
        for entry in dicts(cfg.get(key)):
            if file := file_of.get(entry.get("path")):
                kept = {name: value for name, value in entry.items() if name not in OF_HUB}
                kind = kinds.get(Path(file).suffix, "json")
                entry = {**kept, "path": file, "ds_type": kind, "split": "train"}
            options[key].append(dict(entry))
    return {key: value for key, value in options.items() if value}
