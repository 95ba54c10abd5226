"""Count dead prompt groups from their scores, and give their completions an advantage of exactly 0.

A prompt group is dead if its rewards are equal, because their advantages are 0. TRL 1.14 tests this by the
standard deviation. The float32 mean of eight rewards of 2.9 is not 2.9, so the deviation is about 1e-7.
TRL then counts the group as live, and trains on advantages of 0.0024.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from axolotl_grpo_plugin.scoring.runner import RewardRunner

METRIC = "frac_reward_zero_std"  # TRL's name
_ROUNDING = 1e-6  # relative to the largest value; a float32 has 6e-8, and a reward may add some


def are_equal(values: torch.Tensor) -> torch.Tensor:
    """Return whether the values of each row are equal, except for rounding. A row with NaN is not.

    values: (rows, values).
    """
    spread = values.amax(dim=1) - values.amin(dim=1)
    largest = values.abs().amax(dim=1)
    return spread <= _ROUNDING * largest.clamp(min=1)


def dead_completions(trainer: Any, scores: torch.Tensor, group: int) -> torch.Tensor:
    """Return whether each completion is in a dead prompt group.

    scores: (completions, functions), with NaN where a function has no score. group: completions per group.
    """
    weighted = scores.double() * trainer.reward_weights.to(scores.device)
    if trainer.multi_objective_aggregation == "sum_then_normalize":
        dead = are_equal(weighted.nansum(dim=1).view(-1, group))
    else:  # GDPO normalizes each function alone, so that equal sums of different scores teach
        rows = weighted.nan_to_num().view(-1, group, scores.shape[1])
        dead = are_equal(rows.transpose(1, 2).flatten(end_dim=1)).view(-1, scores.shape[1]).all(1)
    return dead.repeat_interleave(group)


class DeadGroups:
    """Corrects the advantages, the metric and the logged advantages of a trainer.

    runner: has the scores of the last batch over all ranks.
    """

    def __init__(self, trainer: Any, runner: "RewardRunner"):
        self.trainer, self.runner = trainer, runner
        self._counted: list[torch.Tensor] = []  # the batches whose metric is not corrected yet

    def wrap_generation(self) -> None:
        """Wrap the method that scores in TRL's own trainer and in Axolotl's synchronous one."""
        trainer = self.trainer
        generate: Callable[[Any], dict[str, Any]] = trainer._generate_and_score_completions

        def generate_and_score(inputs: Any) -> dict[str, Any]:
            output = generate(inputs)
            training = trainer.model.training
            group = trainer.num_generations if training else trainer.num_generations_eval
            self._silence(output["advantages"], self.runner.scores, group)
            self._correct("train" if training else "eval")
            return output

        trainer._generate_and_score_completions = generate_and_score

    def wrap_deferred_scoring(self) -> None:
        """Wrap the methods that score in Axolotl's async trainer. Another trainer stays as it is."""
        trainer = self.trainer
        if not hasattr(trainer, "_post_advantage_hook"):
            return
        hook: Callable[..., Any] = trainer._post_advantage_hook

        def post_advantage(
            data: Any,
            rewards: Any,
            advantages: Any,
            inputs: Any,
            group: int,
            *rest: Any,
            **more: Any,
        ) -> Any:
            self._silence(advantages, rewards, group)
            if (start := more.get("s_start")) is not None:  # a chunk, which Axolotl has copied
                data["advantages"][start : more["s_end"]] = advantages
            return hook(data, rewards, advantages, inputs, group, *rest, **more)

        trainer._post_advantage_hook = post_advantage
        for name in ("_compute_deferred_scores", "_score_streaming"):
            setattr(trainer, name, self._corrected(getattr(trainer, name)))

    def _corrected(self, score: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def scored(rollout: Any) -> Any:
            result = score(rollout)
            self._correct("train")
            return result

        return scored

    def _silence(self, advantages: torch.Tensor, scores: torch.Tensor, group: int) -> None:
        """Set the advantages of dead groups to 0, in place. advantages: of this rank's completions."""
        dead = dead_completions(self.trainer, scores, group)
        self._counted.append(dead)
        if len(dead) > len(advantages):  # the scores are those of all ranks
            dead = dead[self.trainer.accelerator.process_index * len(advantages) :]
        advantages[dead[: len(advantages)]] = 0.0

    def _correct(self, mode: str) -> None:
        """Replace TRL's shares of dead groups, and the advantages that it logs."""
        counted, self._counted = self._counted, []
        shares = self.trainer._metrics[mode][METRIC]
        shares[-len(counted) :] = [dead.float().mean().item() for dead in counted]
        # The log keeps the last batches only.
        logged, marks = self.trainer._logs["advantages"], torch.cat(counted).tolist()
        for place in range(1, min(len(logged), len(marks)) + 1):
            if marks[-place]:
                logged[-place] = 0.0
