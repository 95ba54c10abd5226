"""One batch of a training, from TRL's call of the rewards to the rollout log."""

from dataclasses import dataclass

import torch

from axolotl_grpo_plugin.completions import Texts
from axolotl_grpo_plugin.reward import Completions, Rows
from axolotl_grpo_plugin.scoring.worker import OutcomesOf

Tokens = list[list[int]]  # of each completion: ids, or masks


@dataclass
class ScoredBatch:
    """The completions of one rank that TRL scores together. They may be a part of a generation batch.

    Attributes:
        rows: The dataset's row of each completion.
        prompts: Texts or chats.
        completions: Texts or chats.
        ids: The token ids of each completion.
        truncated: Whether each completion reached the token limit.
        outcomes: Of this rank, by the logged name of the reward function. Reward models have none.
        names: The logged names of all reward functions.
        weights: One per reward function.
        scores: Of all ranks, without gaps (`fill_missing_scores`), shaped (completions, functions).
        group: Completions per prompt group. A group may lie on two ranks.
        copies: How often `scores` has each completion. Above 1 if Axolotl's prefetch gives all ranks the same ones.
        rank: The number of this rank.
        step: The first step that trains on the batch, or the last step before an evaluation.
        training: False in an evaluation.
        tool_masks: Per token 1 if the model wrote it, and 0 if a tool did. None without tools.
        advantages: Of this rank, once they are known.
        opens: The mark of thinking that each prompt opens, or "". None if no prompt does.
        discarded: Whether no step trains on each completion. None without dynamic sampling.
    """

    rows: Rows
    prompts: Completions
    completions: Completions
    ids: Tokens
    truncated: list[bool]
    outcomes: OutcomesOf
    names: Texts
    weights: torch.Tensor
    scores: torch.Tensor
    group: int
    rank: int = 0
    copies: int = 1
    step: int = 0
    training: bool = True
    tool_masks: Tokens | None = None
    advantages: list[float] | None = None
    opens: Texts | None = None
    discarded: list[bool] | None = None

    @property
    def indices(self) -> range:
        """The indices of this rank's completions in those of all ranks."""
        count = len(self.completions)
        return range(self.rank * count, (self.rank + 1) * count)

    @property
    def groups(self) -> int:
        """The number of prompt groups of all ranks."""
        return len(self.scores) // self.group


def fill_missing_scores(scores: torch.Tensor, group: int) -> torch.Tensor:
    """Replace each missing score with the mean of its function in its prompt group.

    A score is missing if it failed or is None. TRL alone counts it as 0, which would punish a correct completion
    whose check timed out.

    Args:
        scores: Shaped (completions, functions). A missing score is NaN or infinite.
        group: Completions per prompt group.

    Returns:
        The scores. A function that scored no completion of a group has NaNs there.
    """
    grouped = scores.masked_fill(~scores.isfinite(), torch.nan).view(-1, group, scores.shape[1])
    means = grouped.nanmean(dim=1, keepdim=True)
    return grouped.where(~grouped.isnan(), means).view_as(scores)
