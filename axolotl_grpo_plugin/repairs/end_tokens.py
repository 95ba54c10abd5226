"""Let TRL 1.14.1 stop and mask at every end token of a model. It knows the tokenizer's only (trl#7039).

TRL 1.14.2 reads `eos_token_ids` itself. tests/e2e/test_upstream.py then says what to remove here.
"""

from copy import copy
from typing import Any

import torch
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.end_tokens import end_tokens


class _AnyOf(list[int]):
    """Equals each of its tokens, so that TRL's comparisons with one end token find all of them."""

    def __eq__(self, other: object) -> torch.Tensor:  # type: ignore[override]
        tokens = torch.as_tensor(other)
        return torch.isin(tokens, torch.tensor(self, device=tokens.device))


class EndTokens(GRPOTrainer):
    """TRL's trainer whose completions stop, are masked and count as ended at the first of all end tokens.

    Attributes:
        cfg: The config of the run.
        eos_token_ids: The end tokens.
    """

    cfg: Config
    _tokenizer: Any  # TRL's

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        super().__init__(*arguments, **options)
        ends = end_tokens(self.cfg, self._tokenizer, self.model.generation_config.to_dict())
        self.eos_token_ids = ends
        if self.use_vllm:
            self.vllm_generation.generation_kwargs |= {"stop_token_ids": ends}
        else:
            self.generation_kwargs["eos_token_id"] = ends
            self.generation_config.eos_token_id = ends
        self._given_tokenizer = self._tokenizer
        self._tokenizer = copy(self._tokenizer)
        vars(self._tokenizer)["eos_token_id"] = _AnyOf(ends)

    def _get_tool_suffix_ids(self, tool_messages: list[Any]) -> Any:
        """Return the tokens of tools' answers.

        TRL cuts a chat with tools at the tokenizer's own end token. Others also begin turns, in GLM's template.
        """
        # A copy, because a swap would change the tokenizer for other threads, too.
        own = copy(self)
        own._tokenizer = self._given_tokenizer
        return super(EndTokens, own)._get_tool_suffix_ids(tool_messages)
