"""Advantages that TRL lacks, by worked numbers."""

import pytest

from tests.conftest import Later
from tests.scoring.batches import scored_batch

advantages, dead_groups = (
    Later("axolotl_grpo_plugin.scoring.advantages"),
    Later("axolotl_grpo_plugin.scoring.dead_groups"),
)
torch = Later("torch")

NAN = float("nan")
# The rewards of a prompt group, and the advantages of rloo and of maxrl.
TABLE = [
    ([1, 0, 0, 0], [1, -1 / 3, -1 / 3, -1 / 3], [3, -1, -1, -1]),
    ([1, 1, 0, 0], [2 / 3, 2 / 3, -2 / 3, -2 / 3], [1, 1, -1, -1]),
    ([1, 1, 1, 0], [1 / 3, 1 / 3, 1 / 3, -1], [1 / 3, 1 / 3, 1 / 3, -1]),
    ([0, 0, 0, 0], [0] * 4, [0] * 4),
    ([1, 1, 1, 1], [0] * 4, [0] * 4),
    ([2.5, 0.5], [2, -2], [2 / 3, -2 / 3]),
    ([3, 2, 1], [1.5, 0, -1.5], [0.5, 0, -0.5]),
    ([1, 0, NAN, NAN], [1, -1, 0, 0], [1, -1, 0, 0]),
    ([1, NAN], [0, 0], [0, 0]),
    ([NAN, NAN], [0, 0], [0, 0]),
    ([1], [0], [0]),  # num_generations_eval: 1
    ([-1, 0], [-1, 1], [0, 0]),  # `check` refuses negative rewards for maxrl
]


@pytest.mark.parametrize("rewards, rloo, maxrl", TABLE)
def test_worked_numbers(rewards, rloo, maxrl):
    for estimator, expected in (("rloo", rloo), ("maxrl", maxrl)):
        twice = torch.tensor(rewards * 2, dtype=torch.float64)
        computed = advantages.group_advantages(twice, len(rewards), estimator).tolist()
        assert computed == pytest.approx(expected * 2, abs=1e-12)


@pytest.mark.parametrize("rewards, rloo, maxrl", TABLE)
def test_rloo_is_the_reward_minus_the_mean_of_the_others(rewards, rloo, maxrl):
    for index, reward in enumerate(rewards):
        others = [other for other in rewards[:index] + rewards[index + 1 :] if other == other]
        by_definition = reward - sum(others) / len(others) if others and reward == reward else 0
        assert rloo[index] == pytest.approx(by_definition)


def test_total_is_the_weighted_sum_without_functions_that_gave_no_score():
    scores = torch.tensor([[1.0, 0.5], [NAN, 0.5], [NAN, NAN]])
    totals = advantages.total_rewards(scores, torch.tensor([2.0, 1.0])).tolist()
    assert totals[:2] == [2.5, 0.5] and totals[2] != totals[2]


@pytest.mark.parametrize("rank", [0, 1])
def test_trainer_gets_them_in_place_of_trls_and_logs_those_of_all_ranks(rank):
    """Two ranks with one prompt group of two on each. The second group is dead."""
    from trl import GRPOTrainer

    class Theirs(GRPOTrainer):
        def __init__(self):
            self.scored = []
            self.reward_weights = torch.tensor([1.0])
            self.multi_objective_aggregation = "sum_then_normalize"
            self._metrics = {"train": {dead_groups.METRIC: [0.0]}}
            self._logs = {"advantages": [9.0]}

        def _generate_and_score_completions(self, inputs):
            self.scored.append(scored_batch(scores=[[1.0], [0.5], [2.9], [2.9]], good=[None] * 2, rank=rank))
            self._logs["advantages"] += [0.7, -0.7, 1e-3, 1e-3]
            return {"advantages": torch.tensor([[0.7, -0.7], [1e-3, 1e-3]][rank])}

    class Trainer(dead_groups.DeadGroups, Theirs):
        __init__ = Theirs.__init__
        estimator = "maxrl"

    trainer = Trainer()
    output = trainer._generate_and_score_completions([])
    expected = [1 / 3, -1 / 3, 0.0, 0.0]
    assert output["advantages"].tolist() == pytest.approx(expected[rank * 2 : rank * 2 + 2])
    assert trainer.scored[0].advantages == output["advantages"].tolist()
    assert trainer._logs["advantages"] == pytest.approx([9.0, *expected])
