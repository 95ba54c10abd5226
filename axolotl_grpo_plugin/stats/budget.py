"""Budgets: settings with enough tokens for the counted prompts and their completions."""

from math import ceil
from typing import Any, NamedTuple

import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.counts import Lengths

STEP = 32  # proposals are multiples of it, because vLLM allocates blocks of 16 tokens
COMPLETION = 512  # the proposal if nothing says how long completions are
KEPT = (1.0, 0.999, 0.99, 0.95, 0.9)


class Budget(NamedTuple):
    """Token counts with prompt + completion <= context. dropped: number of rows with a longer prompt."""

    kept: float
    prompt: int
    dropped: int
    completion: int
    context: int


def budget(prompts: Lengths, completion: int, kept: float = 1.0) -> Budget:
    """Return the smallest budget that keeps at least this share (0 to 1) of the rows."""
    prompt = prompts.at(kept)
    context = STEP * ceil((prompt + completion) / STEP)
    # The context is rounded up, so a few longer prompts fit too.
    return Budget(kept, prompt, prompts.over(context - completion), completion, context)


def settings(cfg: Config, chosen: Budget) -> dict[str, int]:
    """Return the YAML keys to set. vLLM's key is left out if the config does not use vLLM."""
    keys = {"trl.max_completion_length": chosen.completion, "sequence_len": chosen.context}
    if "trl" not in cfg.raw or cfg.trl.use_vllm:
        keys["vllm.max_model_len"] = chosen.context
    if cfg.grpo_max_prompt_length:
        keys["grpo_max_prompt_length"] = chosen.context - chosen.completion
    return keys


def as_yaml(values: dict[str, int]) -> str:
    """Return dotted keys as a YAML block to paste.

    >>> print(as_yaml({"trl.max_completion_length": 512, "sequence_len": 800}))
    trl:
      max_completion_length: 512
    sequence_len: 800
    """
    blocks: dict[str, Any] = {}
    for key, value in values.items():
        parent, _, name = key.rpartition(".")
        holder = blocks.setdefault(parent, {}) if parent else blocks
        holder[name] = value
    return str(yaml.safe_dump(blocks, sort_keys=False)).rstrip()
