"""Token limits that a YAML sets: completion, context, and the prompt's share."""

from typing import Any

from axolotl_grpo_plugin.checks import Finding, stop_on
from axolotl_grpo_plugin.paths import block


def tokens_of(value: Any) -> int | None:
    """Return a number of tokens as Axolotl's validation reads it, None for anything else."""
    if isinstance(value, str) and value.strip().isdigit():
        return int(value)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if number and value % 1 == 0 else None  # infinity and NaN leave no 0


def completion_of(cfg: Any) -> int | None:
    """Return a raw config's trl.max_completion_length, None if it sets none."""
    return tokens_of(block(cfg, "trl").get("max_completion_length"))


def context_of(cfg: Any) -> tuple[str, int] | None:
    """Return the key and the tokens that prompt and completion share, None if a raw config sets none.

    `vllm.max_model_len` comes first, because vLLM ends a run at a longer prompt; else `sequence_len`.
    """
    lengths = {
        "vllm.max_model_len": block(cfg, "vllm").get("max_model_len"),
        "sequence_len": cfg.get("sequence_len"),
    }
    found = ((key, tokens_of(said)) for key, said in lengths.items())
    return next(((key, tokens) for key, tokens in found if tokens), None)


def limit_prompts(cfg: Any) -> None:
    """Set `grpo_max_prompt_length` in a raw config that sets a context but not this key.

    Call it before Axolotl's validation, which gives every config a sequence_len of 512.
    Raises ConfigError if no room is left for a prompt.
    """
    context = context_of(cfg)
    completion = completion_of(cfg)
    if cfg.get("grpo_max_prompt_length") or not context or not completion:
        return
    key, length = context
    if length <= completion:
        what = f"{length} leaves no room for a prompt beside trl.max_completion_length {completion}"
        stop_on([Finding(key, what, f"Raise {key}, or lower trl.max_completion_length")])
    cfg["grpo_max_prompt_length"] = length - completion
