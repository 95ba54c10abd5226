"""Let TRL 1.14.1 stop and mask at every end token of a model. It knows the tokenizer's only (trl#7039).

TRL 1.14.2 reads `eos_token_ids` itself. tests/e2e/test_upstream.py then says what to remove here.
"""

import torch
from trl import GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.end_tokens import end_tokens
from axolotl_grpo_plugin.repairs import upstream


class _AnyOf(list[int]):
    """Equals each of its tokens, so that TRL's comparisons with one end token find all of them."""

    def __eq__(self, other: object) -> torch.Tensor:  # type: ignore[override]
        tokens = torch.as_tensor(other)
        return torch.isin(tokens, torch.tensor(self, device=tokens.device))


def stop_at_end_tokens(cfg: Config, trainer: GRPOTrainer) -> None:
    """Let completions stop, be masked and count as ended at the first of all end tokens."""
    ends = end_tokens(cfg, trainer._tokenizer, trainer.model.generation_config.to_dict())
    upstream.stop_at_tokens(trainer, ends, _AnyOf(ends))
