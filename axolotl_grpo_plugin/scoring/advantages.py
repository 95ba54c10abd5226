"""Advantages of prompt groups that TRL's GRPO trainer lacks.

With n completions of a prompt and rewards r, whose mean is m:

- rloo: r minus the mean of the other n - 1 rewards, which is (r - m) * n / (n - 1). REINFORCE with the baseline of
  https://arxiv.org/abs/2402.14740.
- maxrl: (r - m) / m, so that a right answer to a hard prompt counts more (https://arxiv.org/abs/2602.02710). It needs
  rewards of 0 and more. In a group without a reward above 0, it is 0.
"""

import torch


def total_rewards(scores: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weighted sum of the scores of each completion, NaN if no function scored it.

    Args:
        scores: Shaped (completions, functions), with NaN where a function has no score.
        weights: One per function.
    """
    totals = (scores.double() * weights.to(scores.device)).nansum(dim=1)
    return totals.masked_fill(scores.isnan().all(dim=1), torch.nan)


def group_advantages(rewards: torch.Tensor, group: int, estimator: str) -> torch.Tensor:
    """Return the advantage of each completion, 0 for one without a reward.

    Args:
        rewards: One per completion, in prompt groups.
        group: Completions per prompt group.
        estimator: "rloo" or "maxrl".
    """
    grouped = rewards.view(-1, group)
    mean = grouped.nanmean(dim=1, keepdim=True)
    above = grouped - mean
    if estimator == "rloo":
        count = (~grouped.isnan()).sum(dim=1, keepdim=True)
        advantages = above * count / (count - 1).clamp(min=1)
    else:
        advantages = torch.where(mean > 0, above / mean, 0.0)
    return advantages.nan_to_num(nan=0.0).view(-1)
