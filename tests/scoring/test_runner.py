import math
from collections import Counter

import pytest
import torch

from axolotl_grpo_plugin.scoring.runner import (
    RewardError,
    RewardRunner,
    Settings,
    _guard_model,
    isolation_of,
    neutral,
)
from axolotl_grpo_plugin.scoring.worker import Outcome

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


REWARD = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"


@pytest.fixture
def batches():
    """Hand a room batches of a reward's failed scores, a step each, as its trainer would."""
    room = RewardRunner({"trl": {"reward_funcs": [REWARD]}})

    def score(*failures, of=100, own=100):
        for step, failed in enumerate(failures):
            outcomes = [Outcome(None, error="boom")] * failed + [Outcome(0.5)] * (of - failed)
            room._stop_if_too_many(
                step,
                Counter(int_reward_func=failed),
                Counter(int_reward_func=own),
                {"int_reward_func": outcomes},
                ["a question"] * of,
            )

    yield score
    room.close()


def test_a_hiccup_stops_nothing(batches):
    batches(*[49] + [0] * 18 + [1] + [0] * 40, own=100)
    batches(1, of=1, own=1)


def test_half_of_a_batch_stops_at_once(batches):
    with pytest.raises(
        RewardError, match=r"int_reward_func failed in 50 of 100 scores of one batch"
    ):
        batches(0, 50)


def test_rows_of_other_tasks_are_none_of_its_scores(batches):
    with pytest.raises(RewardError, match=r"3 of 4 scores of one batch.*for one: boom.*a question"):
        batches(3, own=4)


def test_a_steady_share_stops_after_20_steps(batches):
    with pytest.raises(RewardError, match="120 of 2000 scores of the last 20 steps"):
        batches(*[6] * 20)


def test_a_share_is_of_20_steps(batches):
    batches(*[6] * 19)
    batches(*[40] * 2 + [0] * 60)  # 4 %, and less after


def test_a_batch_of_which_all_scores_are_too_slow_stops_the_run():
    room = RewardRunner({"trl": {"reward_funcs": [REWARD]}})
    try:
        room._stop_if_all_are_slow(Counter(int_reward_func=7), Counter(int_reward_func=8))
        room._stop_if_all_are_slow(Counter(int_reward_func=2), Counter(int_reward_func=2))
        with pytest.raises(RewardError, match="10 s of CPU time for each of 8 completions"):
            room._stop_if_all_are_slow(Counter(int_reward_func=8), Counter(int_reward_func=8))
    finally:
        room.close()


def test_a_reward_model_that_raises_gives_no_scores(caplog):
    class Broken(torch.nn.Module):
        def forward(self, input_ids):
            raise IndexError("position out of range")

    model = Broken()
    _guard_model(model, "judge")
    assert model(input_ids=torch.zeros(2, 3)).logits[:, 0].isnan().all()
    assert "the reward model judge failed" in caplog.text


def test_scores_of_a_series_are_a_curve_each():
    key = "tests.scoring.rewards_that_fail.by_source"
    room = RewardRunner({"trl": {"reward_funcs": [key]}})
    try:
        scores = room.reward_func(key)(
            prompts=["p"] * 4, completions=["a", "b", "b", ""], source=["a", "a", "b", None]
        )
        assert scores == [1.0, 0.0, 1.0, None]
        outcomes = {"by_source": room.guards[key].outcomes}
        assert room.guards[key].series == ["a", "a", "b", ""]
        assert room._series(outcomes) == {
            "by_source/a": [(1.0, "none"), (0.0, "none")],
            "by_source/b": [(1.0, "none")],
        }
    finally:
        room.close()


def test_a_series_says_what_failed():
    key = "tests.scoring.rewards_that_fail.by_source"
    room = RewardRunner({"trl": {"reward_funcs": [key]}})
    try:
        room.guards[key].series = ["a", "a", "a", "a"]
        late = Outcome(None, error="late", timed_out=True)
        failed = [Outcome(None, error="boom"), late, Outcome(1.0), Outcome(None, "not_this_task")]
        (found,) = room._series({"by_source": failed}).values()
        assert found == [(None, "error"), (None, "timeout"), (1.0, "none")]
    finally:
        room.close()


@pytest.mark.parametrize(
    "name, key",
    [
        ("by_source", "grpo_reward_timeout"),
        ("late", "grpo_reward_batch_timeout"),
        ("the_first", "grpo_reward_batch_timeout"),
    ],
)
def test_the_mend_of_a_timeout_names_the_key_that_limits_it(name, key):
    room = RewardRunner({"trl": {"reward_funcs": [f"tests.scoring.rewards_that_fail.{name}"]}})
    try:
        late = [Outcome(None, error="not scored in time", timed_out=True)]
        assert f"\n  Raise {key}, or make it faster" in room._say(name, "all", 0, late, ["p"])
    finally:
        room.close()
