import math

import pytest
import torch

from axolotl_grpo_plugin.scoring.room import Settings, isolation_of, neutral

NAN = math.nan


@pytest.mark.parametrize(
    "scores, filled",
    [
        ([2.0, 2.0, 2.0, NAN], [2.0, 2.0, 2.0, 2.0]),
        ([2.0, 0.0, 2.0, NAN], [2.0, 0.0, 2.0, 4 / 3]),
        ([NAN] * 4, [NAN] * 4),
        ([1.0, 0.0, 0.5, 0.0], [1.0, 0.0, 0.5, 0.0]),
    ],
)
def test_a_failed_score_is_the_mean_of_its_group(scores, filled):
    other = [[5.0]] * 4
    table = torch.tensor([[score] for score in scores] + other)
    assert torch.allclose(
        neutral(table, 4), torch.tensor([[score] for score in filled] + other), equal_nan=True
    )


def test_functions_do_not_mix():
    table = torch.tensor([[1.0, NAN], [NAN, 0.0]])
    assert neutral(table, 2).tolist() == [[1.0, 0.0], [1.0, 0.0]]


def test_limits_come_from_the_config(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(16))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert Settings.of({"trl": {}}) == Settings(10.0, 450.0, 4 << 30, 2, 0.05)
    cfg = {
        "trl": {"reward_num_workers": 3},
        "ddp_timeout": 400,
        "grpo_reward_error_limit": 0.0,
        "grpo_reward_memory": 0.5,
    }
    assert Settings.of(cfg) == Settings(10.0, 100.0, 1 << 29, 3, 0.0)


def test_isolation_is_for_all_or_by_reward():
    assert isolation_of({}, "a") is None
    assert isolation_of({"grpo_reward_isolation": "inline"}, "a") == "inline"
    said = {"grpo_reward_isolation": {"a": "process"}}
    assert (isolation_of(said, "a"), isolation_of(said, "b")) == ("process", None)
