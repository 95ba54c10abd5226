"""The prompt's share of the model length, from what the YAML itself sets."""

from typing import Any

from axolotl_grpo_plugin.checks import Finding, stop_on
from axolotl_grpo_plugin.paths import block


def context_of(cfg: Any) -> tuple[str, int] | None:
    """The key and the tokens that prompt and completion share, None where a raw config sets none.

    vLLM's where it is set, for vLLM refuses what is longer in the middle of a run, else `sequence_len`.
    """
    lengths = {
        "vllm.max_model_len": block(cfg, "vllm").get("max_model_len"),
        "sequence_len": cfg.get("sequence_len"),
    }
    return next(((key, length) for key, length in lengths.items() if isinstance(length, int)), None)


def limit_prompts(cfg: Any) -> None:
    """Set `grpo_max_prompt_length` in a raw config, where the YAML sets a length and not this.

    Before Axolotl's validation, which gives every config a sequence_len of 512.
    Raises ConfigError where no room is left for a prompt.
    """
    context = context_of(cfg)
    completion = block(cfg, "trl").get("max_completion_length")
    if cfg.get("grpo_max_prompt_length") or not context or not isinstance(completion, int):
        return
    key, length = context
    if length <= completion:
        what = f"{length} leaves no room for a prompt beside trl.max_completion_length {completion}"
        stop_on([Finding(key, what, f"Raise {key}, or lower trl.max_completion_length")])
    cfg["grpo_max_prompt_length"] = length - completion
