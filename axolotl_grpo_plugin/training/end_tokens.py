"""Let TRL 1.14.1 stop and mask at every end token of a model. It knows the tokenizer's only (trl#7039).

TRL 1.14.2 reads `eos_token_ids` itself. tests/e2e/test_upstream.py then says what to remove here.
"""

from copy import copy
from typing import Any

import torch

from axolotl_grpo_plugin.stats.end_tokens import end_tokens


class _AnyOf(list[int]):
    """Equals each of its tokens, so that TRL's comparisons with one end token find all of them."""

    def __eq__(self, other: object) -> Any:
        tokens = torch.as_tensor(other)
        return torch.isin(tokens, torch.tensor(self, device=tokens.device))


def stop_at_end_tokens(cfg: Any, trainer: Any) -> None:
    """Let completions stop, be masked and count as ended at the first of all end tokens."""
    ends = end_tokens(cfg, trainer._tokenizer, trainer.model.generation_config.to_dict())
    trainer.eos_token_ids = ends
    if trainer.use_vllm:
        trainer.vllm_generation.generation_kwargs |= {"stop_token_ids": ends}
    else:
        trainer.generation_kwargs["eos_token_id"] = trainer.generation_config.eos_token_id = ends
    # TRL cuts a chat with tools at the tokenizer's own token. Others also begin turns, in GLM's template.
    trainer._get_tool_suffix_ids = copy(trainer)._get_tool_suffix_ids
    trainer._tokenizer = copy(trainer._tokenizer)
    vars(trainer._tokenizer)["eos_token_id"] = _AnyOf(ends)
