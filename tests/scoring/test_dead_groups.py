from collections import deque
from types import SimpleNamespace

import pytest

from tests.conftest import Later
from tests.scoring.batches import scored_batch

dead_groups, torch = Later("axolotl_grpo_plugin.scoring.dead_groups"), Later("torch")

NAN = float("nan")


def dead(scores, aggregation="sum_then_normalize", weights=(1.0, 1.0)):
    """Return whether the two completions of a prompt group are in a dead one."""
    trainer = SimpleNamespace(
        reward_weights=torch.tensor(weights, dtype=torch.float32), multi_objective_aggregation=aggregation
    )
    marks = dead_groups.dead_completions(trainer, torch.tensor(scores), 2).tolist()
    assert marks[0] == marks[1]
    return marks[0]


@pytest.mark.parametrize(
    "scores, expected",
    [
        ([[2.9, 0.1], [2.9, 0.1]], True),
        ([[2.9, 0.1], [2.9, 0.2]], False),
        ([[0.1, 0.2], [0.3, 0.0]], True),  # their sums differ by rounding only
        ([[1.0, NAN], [1.0, NAN]], True),
        ([[1.0, NAN], [0.0, NAN]], False),
        ([[NAN, NAN], [NAN, NAN]], True),  # without a score, TRL's advantages are 0
        ([[1e6, 0.0], [1e6 + 0.0625, 0.0]], True),  # the next float32
        ([[1e6, 0.0], [1e6 + 0.5, 0.0]], False),
        ([[100.0, 0.0], [100.0001, 0.0]], False),
        ([[1e6, -1e6], [1e6 + 0.0625, -1e6]], True),  # terms that cancel are rounded before
        ([[1e6, -1e6 - 0.5], [1e6, -1e6]], False),
        ([[1e-5, 0.0], [2e-5, 0.0]], False),
        ([[1e-9, 0.0], [0.0, 0.0]], True),  # TRL adds 1e-4 to the deviation
    ],
)
def test_group_is_dead_if_its_rewards_are_equal_except_for_rounding(scores, expected):
    assert dead(scores) is expected


@pytest.mark.parametrize("reward", [2.9, 0.1, 1 / 3, 1e6 + 0.3, 123456.789])
def test_group_of_equal_rewards_is_dead_though_its_float32_mean_is_rounded(reward):
    rewards = torch.full((8, 1), reward)
    trainer = SimpleNamespace(reward_weights=torch.tensor([0.7]), multi_objective_aggregation="sum_then_normalize")
    assert dead_groups.dead_completions(trainer, rewards, 8).all()


def test_weight_of_zero_makes_scores_equal():
    assert dead([[1.0, 0.0], [1.0, 1.0]], weights=(1.0, 0.0))


def test_gdpo_group_with_equal_sums_of_different_scores_is_live():
    assert not dead([[1.0, 0.0], [0.0, 1.0]], "normalize_then_sum")
    assert dead([[1.0, 0.5], [1.0, 0.5]], "normalize_then_sum")


def test_async_trainer_logs_and_trains_without_the_advantage_of_a_dead_group():
    from trl import GRPOTrainer

    from axolotl_grpo_plugin.scoring.rollout_log import LoggedRollouts

    scores = [[2.9], [2.9], [1.0], [0.0]]
    hooked, written = [], []

    class AsyncTrainer(GRPOTrainer):
        """Stands for Axolotl's, with prompt groups of two, whose first group is dead."""

        def __init__(self):
            self.reward_func_names = self.reward_funcs = []
            self.reward_weights = torch.tensor([1.0])
            self.multi_objective_aggregation = "sum_then_normalize"
            self._metrics = {"train": {dead_groups.METRIC: [0.9]}}
            self._logs = {"advantages": deque([9.0, 0.1, -0.1, 1.0, -1.0])}

        def _score_streaming(self, rollout):
            advantages = torch.tensor([0.1, -0.1, 1.0, -1.0])
            self.scored.append(scored_batch(scores=scores, good=[None] * 4))
            data = {"advantages": torch.zeros(4)}
            self._post_advantage_hook(data, torch.tensor(scores), advantages, [], 2, "train", s_start=0, s_end=4)
            return data

        def _post_advantage_hook(self, data, scores, advantages, *_, **__):
            hooked.append(advantages.tolist())

    class Trainer(LoggedRollouts, dead_groups.DeadGroups, AsyncTrainer):
        reward_runner = SimpleNamespace(rewards=list)
        rollout_log = SimpleNamespace(begin=list, lost=0, write=lambda batch: written.append(batch.advantages) or True)

    trainer = Trainer()
    data = trainer._score_streaming("rollout")
    assert data["advantages"].tolist() == [0.0, 0.0, 1.0, -1.0]
    assert written == hooked == [[0.0, 0.0, 1.0, -1.0]]
    assert trainer._metrics["train"][dead_groups.METRIC] == [0.5]
    # Axolotl logs no advantages of chunks. So these are of another batch.
    assert list(trainer._logs["advantages"]) == [9.0, 0.1, -0.1, 1.0, -1.0]
    assert trainer.take_scored() == []


def test_copies_of_a_batch_on_other_ranks_leave_the_log_of_the_batch_before():
    from trl import GRPOTrainer

    scores = [[1.0], [1.0]]  # dead

    class AsyncTrainer(GRPOTrainer):
        """Stands for Axolotl's with two ranks: both get the same completions, and TRL gathers their scores."""

        def __init__(self):
            self.reward_func_names = self.reward_funcs = self.scored = []
            self.reward_weights = torch.tensor([1.0])
            self.multi_objective_aggregation = "sum_then_normalize"
            self._metrics = {"train": {dead_groups.METRIC: [0.0]}}
            self._logs = {"advantages": deque([0.5, -0.5])}

        def _compute_deferred_scores(self, rollout):
            self.scored.append(scored_batch(scores=scores * 2, good=[None] * 2))
            advantages = torch.tensor([0.1, -0.1])
            self._post_advantage_hook({}, torch.tensor(scores), advantages, [], 2, "train")
            self._logs["advantages"].extend(advantages.tolist())

        def _post_advantage_hook(self, *_, **__):
            pass

    class Trainer(dead_groups.DeadGroups, AsyncTrainer):
        __init__ = AsyncTrainer.__init__

    trainer = Trainer()
    trainer._compute_deferred_scores("rollout")
    assert list(trainer._logs["advantages"]) == [0.5, -0.5, 0.0, 0.0]
    assert trainer._metrics["train"][dead_groups.METRIC] == [1.0]
