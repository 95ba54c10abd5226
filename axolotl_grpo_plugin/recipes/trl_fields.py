"""The fields of TRL's GRPOConfig, and the keys of Axolotl that set them."""

from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

# Fields that Axolotl sets from a key of another name. All others have the name of a key under `trl`.
# tests/e2e/test_check.py compares both lists with Axolotl's code.
RENAMED = {
    "batch_flattening": "batch_flattening",
    "context_parallel_size": "context_parallel_size",
    "steps_per_generation": "trl.generation_batch_size",  # TRL takes one of the two
    "use_liger_kernel": "trl.use_liger_loss",
    "vllm_gpu_memory_utilization": "vllm.gpu_memory_utilization",
    "vllm_max_model_length": "vllm.max_model_len",
    "vllm_structured_outputs_regex": "trl.vllm_guided_decoding_regex",
    "vllm_tensor_parallel_size": "vllm.tensor_parallel_size",
}
# Keys of Axolotl's schema that have a field's name, but do not reach TRL.
UNPASSED = ("chat_template_kwargs", "generation_kwargs")


def key_of_axolotl(field: str) -> str | None:
    """Return the key of Axolotl that sets a field of GRPOConfig, None if there is none."""
    from axolotl.utils.schemas.trl import TRLConfig

    if field in RENAMED:
        return RENAMED[field]
    is_key = field in TRLConfig.model_fields and field not in UNPASSED
    return f"trl.{field}" if is_key else None


@cache
def free_fields() -> dict[str, Any]:
    """Return the fields of TRL's GRPOConfig that no key of Axolotl sets, with their types. Imports TRL."""
    from trl import GRPOConfig

    hints = get_type_hints(GRPOConfig)
    free = {}
    for field in fields(GRPOConfig):
        if field.name not in of_transformers() and not key_of_axolotl(field.name):
            free[field.name] = hints[field.name]
    return free


@cache
def of_transformers() -> set[str]:
    """Return the fields of transformers' TrainingArguments. Imports transformers."""
    from transformers import TrainingArguments

    return {field.name for field in fields(TrainingArguments)}
