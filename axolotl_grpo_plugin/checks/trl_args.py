"""Check `grpo_trl_args`: fields of TRL's GRPOConfig that no key of Axolotl sets."""

from dataclasses import fields
from functools import cache
from inspect import formatannotation
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from axolotl_grpo_plugin.config import Config, block
from axolotl_grpo_plugin.findings import Findings, fault, nearest
from axolotl_grpo_plugin.load import plain

KEY = "grpo_trl_args"
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
        if field.name not in _of_transformers() and not key_of_axolotl(field.name):
            free[field.name] = hints[field.name]
    return free


@cache
def _of_transformers() -> set[str]:
    from transformers import TrainingArguments

    return {field.name for field in fields(TrainingArguments)}


def trl_args(cfg: Config) -> dict[str, Any]:
    """Return the values of `grpo_trl_args` with TRL's types. YAML reads 1e-6 as text."""
    return {
        name: TypeAdapter(free_fields()[name]).validate_python(value)
        for name, value in plain(block(cfg, KEY)).items()
    }


def check_trl_args(cfg: Config) -> Findings:
    """Check that `grpo_trl_args` has fields that Axolotl leaves to TRL, with values of their types."""
    for name, value in plain(block(cfg, KEY)).items():
        where = f"{KEY}.{name}"
        if name in free_fields():
            kind = free_fields()[name]
            try:
                TypeAdapter(kind).validate_python(value)
            except ValidationError:
                yield fault(
                    "wrong-type",
                    where,
                    f"{value!r} is not of type {formatannotation(kind)}",
                    "Correct the value",
                )
        elif name in _of_transformers() or key_of_axolotl(name):
            key = key_of_axolotl(name) or "Axolotl's own key"
            yield fault("field-with-key", where, "Axolotl sets this field", f"Set {key} instead")
        else:
            yield fault(
                "unknown-key",
                where,
                "TRL's GRPOConfig has no such field",
                nearest(name, free_fields()),
            )
