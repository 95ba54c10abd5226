from collections import deque
from types import SimpleNamespace

import pytest

from tests.conftest import Later

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
        ([[1e6, 0.0], [1e6 + 0.25, 0.0]], True),
        ([[1e6, 0.0], [1e6 + 8, 0.0]], False),
    ],
)
def test_group_is_dead_if_its_rewards_are_equal_except_for_rounding(scores, expected):
    assert dead(scores) is expected


def test_weight_of_zero_makes_scores_equal():
    assert dead([[1.0, 0.0], [1.0, 1.0]], weights=(1.0, 0.0))


def test_gdpo_group_with_equal_sums_of_different_scores_is_live():
    assert not dead([[1.0, 0.0], [0.0, 1.0]], "normalize_then_sum")
    assert dead([[1.0, 0.5], [1.0, 0.5]], "normalize_then_sum")


class Log:
    """Keeps the advantages that it is told to write."""

    def __init__(self):
        self.written = []

    def write(self, advantages):
        self.written.append(advantages.tolist())


def trainer_with(**more):
    """Return a trainer of prompt groups of two, whose first group is dead."""
    return SimpleNamespace(
        reward_weights=torch.tensor([1.0]),
        multi_objective_aggregation="sum_then_normalize",
        model=SimpleNamespace(training=True),
        num_generations=2,
        accelerator=SimpleNamespace(process_index=0),
        _metrics={"train": {dead_groups.METRIC: [0.9]}},
        _logs={"advantages": deque([9.0, 0.1, -0.1, 1.0, -1.0])},
        _generate_and_score_completions=None,
        **more,
    )


SCORES = [[2.9], [2.9], [1.0], [0.0]]


def test_async_trainer_logs_and_trains_without_the_advantage_of_a_dead_group():
    hooked = []
    advantages = torch.tensor([0.1, -0.1, 1.0, -1.0])

    def score(rollout):
        data = {"advantages": torch.zeros(4)}
        trainer._post_advantage_hook(data, torch.tensor(SCORES), advantages, [], 2, "train", s_start=0, s_end=4)
        return data

    trainer = trainer_with(
        _post_advantage_hook=lambda *batch, **chunk: hooked.append(batch[2].tolist()),
        _compute_deferred_scores=score,
        _score_streaming=score,
    )
    log = Log()
    dead_groups.DeadGroups(trainer, SimpleNamespace(scores=None, rollouts=log))
    data = trainer._score_streaming("rollout")
    assert data["advantages"].tolist() == [0.0, 0.0, 1.0, -1.0]
    assert log.written == hooked == [[0.0, 0.0, 1.0, -1.0]]
    assert trainer._metrics["train"][dead_groups.METRIC] == [0.5]
    assert list(trainer._logs["advantages"]) == [9.0, 0.0, 0.0, 1.0, -1.0]
