"""Count dead prompt groups from their scores, and give their completions an advantage of exactly 0.

A prompt group is dead if its rewards are equal, because their advantages are 0. TRL 1.14 tests this by the
standard deviation. The float32 mean of eight rewards of 2.9 is not 2.9, so the deviation is about 1e-7.
TRL then counts the group as live, and trains on advantages of 0.0024.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from axolotl_grpo_plugin.repairs import upstream

if TYPE_CHECKING:
    from axolotl_grpo_plugin.scoring.runner import RewardRunner

Trainer = Any  # TRL's, or one of Axolotl's
Batch = dict[str, Any]  # of a trainer
METRIC = "frac_reward_zero_std"  # TRL's name
_ROUNDING = 1e-6  # relative to the largest value; a float32 has 6e-8, and a reward may add some


def group_size(trainer: Trainer) -> int:
    """Return the completions per prompt group of the trainer's batch now."""
    training = trainer.model.training
    return int(trainer.num_generations if training else trainer.num_generations_eval)


def are_equal(values: torch.Tensor) -> torch.Tensor:
    """Return whether the values of each row are equal, except for rounding. A row with NaN is not.

    values: (rows, values), or (rows, values, functions).
    """
    spread = values.amax(dim=1) - values.amin(dim=1)
    return spread <= _ROUNDING * values.abs().amax(dim=1).clamp(min=1)


def dead_completions(trainer: Trainer, scores: torch.Tensor, group: int) -> torch.Tensor:
    """Return whether each completion is in a dead prompt group.

    scores: (completions, functions), with NaN where a function has no score. group: completions per group.
    """
    weights = trainer.reward_weights.to(scores.device)
    groups = (scores.double() * weights).view(-1, group, scores.shape[1])
    if trainer.multi_objective_aggregation == "sum_then_normalize":
        groups = groups.nansum(dim=2, keepdim=True)
    # GDPO normalizes each function alone, so that equal sums of different scores teach.
    return are_equal(groups.nan_to_num()).all(dim=1).repeat_interleave(group)


class DeadGroups:
    """Corrects the advantages, the metric and the logged advantages of a trainer, and logs its rollouts.

    runner: has the scores of the last batch over all ranks, and the rollout log.
    """

    def __init__(self, trainer: Trainer, runner: "RewardRunner"):
        self.trainer = trainer
        self.runner = runner
        self._counted: list[torch.Tensor] = []  # the batches whose metric is not corrected yet
        upstream.wrap_batches(trainer, self._generate_batch)
        if hasattr(trainer, "_post_advantage_hook"):  # Axolotl's async trainer scores separately
            upstream.wrap_advantages(trainer, self._score, self._after_advantages)

    def _generate_batch(self, generate: Callable[[object], Batch], inputs: object) -> Batch:
        """Generate and score a batch, in TRL's own trainer and in Axolotl's synchronous one."""
        output = generate(inputs)
        training = self.trainer.model.training
        self._silence(output["advantages"], self.runner.scores, group_size(self.trainer))
        self._correct("train" if training else "eval")
        return output

    def _score(self, score: Callable[[object], object], rollout: object) -> object:
        """Score a batch or its chunks."""
        result = score(rollout)
        self._correct("train")
        return result

    def _after_advantages(
        self, hook: Callable[..., object], *arguments: Any, **more: Any
    ) -> object:
        data, scores, advantages, _, group, *_ = arguments
        self._silence(advantages, scores, group)
        if more.get("s_start") is not None:  # a chunk, which Axolotl has copied
            data["advantages"][more["s_start"] : more["s_end"]] = advantages
        return hook(*arguments, **more)

    def _silence(self, advantages: torch.Tensor, scores: torch.Tensor, group: int) -> None:
        """Set the advantages of dead groups to 0, in place. advantages: of this rank's completions."""
        dead = dead_completions(self.trainer, scores, group)
        self._counted.append(dead)
        if len(dead) > len(advantages):  # the scores are those of all ranks
            rank = self.trainer.accelerator.process_index
            dead = dead[rank * len(advantages) :]
        advantages[dead[: len(advantages)]] = 0.0
        if self.runner.rollouts:
            self.runner.rollouts.write(advantages)

    def _correct(self, mode: str) -> None:
        """Replace TRL's shares of dead groups, and the advantages that it logs."""
        counted, self._counted = self._counted, []
        shares = self.trainer._metrics[mode][METRIC]
        shares[-len(counted) :] = [dead.float().mean().item() for dead in counted]
        # The log keeps the last batches only.
        logged = self.trainer._logs["advantages"]
        marks = torch.cat(counted).tolist()[::-1]
        for place, is_dead in enumerate(marks[: len(logged)], 1):
            if is_dead:
                logged[-place] = 0.0
