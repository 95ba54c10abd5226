"""Count dead prompt groups from their scores, and give their completions an advantage of exactly 0.

The same class gives the others the advantages of `grpo_advantage` in place of TRL's.

A prompt group is dead if its rewards are equal, because their advantages are 0. TRL 1.14 tests this by the
standard deviation. The float32 mean of eight rewards of 2.9 is not 2.9, so the deviation is about 1e-7.
TRL then counts the group as live, and trains on advantages of 0.0024.
"""

from typing import Any

import torch

from axolotl_grpo_plugin.reward import Rows
from axolotl_grpo_plugin.scoring.advantages import group_advantages, total_rewards
from axolotl_grpo_plugin.scoring.batch import ScoredBatch
from axolotl_grpo_plugin.scoring.guarded_scores import GuardedScores

METRIC = "frac_reward_zero_std"  # TRL's name
_RESOLUTION = torch.finfo(torch.float32).eps  # relative; two roundings of one value differ by less


def are_equal(values: torch.Tensor, sizes: torch.Tensor | None = None) -> torch.Tensor:
    """Return whether the values of each row are equal, as far as float32 can tell. A row with NaN is not.

    Args:
        values: Shaped (rows, values), or (rows, values, functions).
        sizes: The sums of the absolute terms, if the values are sums. Terms round before they cancel.
    """
    sizes = values.abs() if sizes is None else sizes
    spread = values.amax(dim=1) - values.amin(dim=1)
    return spread <= _RESOLUTION * sizes.amax(dim=1).clamp(min=1)


def dead_completions(trainer: Any, scores: torch.Tensor, group: int) -> torch.Tensor:
    """Return whether each completion is in a dead prompt group.

    Args:
        trainer: TRL's, which has the weights of the reward functions, and how it adds their scores.
        scores: Shaped (completions, functions), with NaN where a function has no score.
        group: Completions per prompt group.
    """
    weights = trainer.reward_weights.to(scores.device)
    groups = (scores.double() * weights).view(-1, group, scores.shape[1]).nan_to_num()
    sizes = groups.abs()
    # GDPO normalizes each function alone, so that equal sums of different scores teach.
    if trainer.multi_objective_aggregation == "sum_then_normalize":
        groups = groups.sum(dim=2, keepdim=True)
        sizes = sizes.sum(dim=2, keepdim=True)
    return are_equal(groups, sizes).all(dim=1).repeat_interleave(group)


class DeadGroups(GuardedScores):
    """TRL's trainer that trains on dead groups with advantages of exactly 0, and counts them right.

    Attributes:
        estimator: The `grpo_advantage` of the run. None: TRL's advantages.

    TRL's trainer and Axolotl's synchronous one compute advantages in `_generate_and_score_completions`. Axolotl's data
    producer with `async_prefetch` calls the other three methods in its place.
    """

    estimator: str | None = None

    def _generate_and_score_completions(self, inputs: Rows) -> dict[str, Any]:
        """Generate and score a batch."""
        before = len(self.scored)
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        self._settle(self.scored[-1], output["advantages"])
        self._correct_logs(self.scored[before:])
        return output

    def _compute_deferred_scores(self, rollout: dict[str, Any]) -> Any:
        """Score a batch that was generated before."""
        before = len(self.scored)
        output = super()._compute_deferred_scores(rollout)
        self._correct_logs(self.scored[before:])
        return output

    def _score_streaming(self, rollout: dict[str, Any]) -> Any:
        """Score a batch that was generated before, in chunks."""
        before = len(self.scored)
        output = super()._score_streaming(rollout)
        self._correct_metric(self.scored[before:])  # Axolotl logs no advantages of it
        return output

    def _post_advantage_hook(
        self,
        data: dict[str, Any],
        rewards_per_func: torch.Tensor,
        advantages: torch.Tensor,
        *arguments: Any,
        s_start: int | None = None,
        s_end: int | None = None,
        **options: Any,
    ) -> None:
        """Get the advantages of a batch, or of its rows from `s_start` to `s_end`."""
        batch = self.scored[-1]
        batch.copies = len(batch.scores) // len(rewards_per_func)
        self._settle(batch, advantages)
        if s_start is not None:  # of a chunk, Axolotl has copied the advantages before
            data["advantages"][s_start:s_end] = advantages
        super()._post_advantage_hook(
            data, rewards_per_func, advantages, *arguments, s_start=s_start, s_end=s_end, **options
        )

    def _settle(self, batch: ScoredBatch, advantages: torch.Tensor) -> None:
        """Set the advantages of `grpo_advantage`, and those of dead groups to 0, in place. Keep them in the batch.

        Args:
            batch: The scored batch.
            advantages: Of this rank's completions.
        """
        indices = slice(batch.indices.start, batch.indices.stop)
        if self.estimator:
            advantages[:] = self._estimated(batch.scores, batch.group)[indices]
        advantages[dead_completions(self, batch.scores, batch.group)[indices]] = 0.0
        batch.advantages = advantages.tolist()

    def _estimated(self, scores: torch.Tensor, group: int) -> torch.Tensor:
        """Return the advantages of `grpo_advantage` of all completions."""
        assert self.estimator
        return group_advantages(total_rewards(scores, self.reward_weights), group, self.estimator)

    def _correct_metric(self, batches: list[ScoredBatch]) -> list[torch.Tensor]:
        """Replace TRL's shares of dead groups. Return whether each completion of a batch is in one."""
        dead = []
        for batch in batches:
            count = len(batch.scores) // batch.copies
            dead.append(dead_completions(self, batch.scores[:count], batch.group))
        shares = self._metrics["train" if batches[-1].training else "eval"][METRIC]
        shares[-len(dead) :] = [marks.float().mean().item() for marks in dead]
        return dead

    def _correct_logs(self, batches: list[ScoredBatch]) -> None:
        """Replace TRL's shares of dead groups, and the advantages that it logs."""
        dead = torch.cat(self._correct_metric(batches)).tolist()
        # The log keeps the last batches only.
        logged = self._logs["advantages"]
        count = min(len(dead), len(logged))
        values = [*logged][len(logged) - count :]
        if self.estimator:
            values = []
            for batch in batches:
                scores = batch.scores[: len(batch.scores) // batch.copies]
                values += self._estimated(scores, batch.group).tolist()
        for distance in range(1, count + 1):
            logged[-distance] = 0.0 if dead[-distance] else values[-distance]
