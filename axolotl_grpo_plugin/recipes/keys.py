"""The keys of TRL's recipes, and the keys of Axolotl that have their meaning."""

from collections.abc import Mapping

# A key without a dot is at the top of Axolotl's YAML. Keys that are equal in both are not listed.
RENAMED = {
    "model_name_or_path": "base_model",
    "model_revision": "revision_of_model",
    "per_device_train_batch_size": "micro_batch_size",
    "per_device_eval_batch_size": "eval_batch_size",
    "num_train_epochs": "num_epochs",
    "lr_scheduler_type": "lr_scheduler",
    "optim": "optimizer",
    "run_name": "wandb_name",
    "max_prompt_length": "grpo_max_prompt_length",
    "system_prompt": "grpo_system_prompt",
    "use_rslora": "peft_use_rslora",
    "use_dora": "peft_use_dora",
    "vllm_gpu_memory_utilization": "vllm.gpu_memory_utilization",
    "vllm_max_model_len": "vllm.max_model_len",
    "vllm_max_model_length": "vllm.max_model_len",
    "vllm_tensor_parallel_size": "vllm.tensor_parallel_size",
    "vllm_dtype": "vllm.dtype",
    "vllm_enable_prefix_caching": "vllm.enable_prefix_caching",
    "use_liger_loss": "trl.use_liger_loss",
}
# These keys become other keys and values. The texts tell a user who wrote one into an Axolotl YAML.
REPLACED = {
    "dataset_name": "Write datasets: - path:",
    "dataset_config": "Write datasets: - name:",
    "dataset_train_split": "Write datasets: - split:",
    "dataset_test_split": "Write test_datasets: - split:",
    "torch_dtype": "Write bf16: true, fp16: true or neither",
    "dtype": "Write bf16: true, fp16: true or neither",
    "report_to": "Write wandb_project, use_tensorboard or use_mlflow",
    "push_to_hub": "Write hub_model_id",
    "use_peft": "Write adapter: lora",
    "reward_funcs": "Write trl.reward_funcs, with dotted paths",
}
_OF_RECIPES = {
    *RENAMED,
    *REPLACED,
    "num_generations",
    "max_completion_length",
    "reward_weights",
    "use_vllm",
} - {"dtype"}


def is_recipe(keys: Mapping[str, object]) -> bool:
    """Return whether the keys of a YAML are a recipe of TRL, open-r1 or X-R1, and no Axolotl config."""
    if "base_model" in keys or "rl" in keys:
        return False
    return "model_name_or_path" in keys or len(_OF_RECIPES & keys.keys()) > 2


def fix_of(key: str) -> str | None:
    """Return the fix for a key of TRL at the top of an Axolotl YAML, None for any other key."""
    if key in RENAMED:
        return f"Write {RENAMED[key]}"
    return REPLACED.get(key)
