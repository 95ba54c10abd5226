"""The prompt's share of the model length, from what the YAML itself sets."""

from typing import Any

from axolotl_grpo_plugin.checks import Finding, stop_on
from axolotl_grpo_plugin.paths import block


def limit_prompts(cfg: Any) -> None:
    """Set `grpo_max_prompt_length` in a raw config, where the YAML sets a length and not this.

    The length is vLLM's where it is set, for vLLM refuses what is longer in the middle of a run, else
    `sequence_len`. Before Axolotl's validation, which gives every config a sequence_len of 512.
    Raises ConfigError where no room is left for a prompt.
    """
    if cfg.get("grpo_max_prompt_length"):
        return
    lengths = {
        "vllm.max_model_len": block(cfg, "vllm").get("max_model_len"),
        "sequence_len": cfg.get("sequence_len"),
    }
    completion = block(cfg, "trl").get("max_completion_length")
    for key, length in lengths.items():
        if isinstance(length, int) and isinstance(completion, int):
            if length <= completion:
                what = f"{length} leaves no room for a prompt beside trl.max_completion_length {completion}"
                stop_on([Finding(key, what, f"Raise {key}, or lower trl.max_completion_length")])
            cfg["grpo_max_prompt_length"] = length - completion
            return
