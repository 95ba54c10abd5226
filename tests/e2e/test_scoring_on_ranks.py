"""The reward runner on two gloo ranks, in TRL's trainer."""

import json

import pytest

from tests.e2e.conftest import rollouts as rollouts_of
from tests.e2e.conftest import torchrun


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("ranks")
    torchrun("scoring_on_ranks.py", out)
    return out


def read(out, name, rank=0):
    return json.loads((out / f"{name}-{rank}.json").read_text())


def under(prefix, log):
    """Return the curves of a step below a prefix, by the rest of their names."""
    return {key.removeprefix(prefix): log[key] for key in log if key.startswith(prefix)}


@pytest.mark.parametrize("name", ["neutral", "gdpo"])
def test_timeout_does_not_change_the_reward_or_advantage(ran, name):
    rollouts = rollouts_of(ran / name)
    hung = rollouts["completion"].str.contains("hang")
    assert list(hung).count(True) == 1
    assert set(rollouts.loc[hung, "reason/right_unless_it_hangs"]) == {"timeout"}
    assert set(rollouts.loc[~hung, "reason/right_unless_it_hangs"]) == {"right"}
    assert list(rollouts["reward"]) == [2.5] * 4
    assert list(rollouts["advantage"]) == [0.0] * 4  # TRL alone: -1.5 and 0.5


def test_curves_are_shares_over_all_ranks(ran):
    (log,) = read(ran, "neutral")["log"]
    assert log["reward_timeouts/right_unless_it_hangs"] == 0.25
    assert log["reward_reasons/right_unless_it_hangs/right"] == 0.75
    assert log["reward_right/right_unless_it_hangs"] == 1.0  # without the failed score
    assert log["reward_reasons/int_reward_func/integer"] == 1.0
    counted = ("reward_reasons/", "reward_errors/", "reward_timeouts/")
    assert not [name for name in log if name.startswith(counted) and not log[name]]


def test_each_rank_writes_its_own_rollouts_once(ran):
    rollouts = rollouts_of(ran / "neutral")
    assert sorted(rollouts["rank"]) == [0, 0, 1, 1]
    assert set(rollouts["step"]) == {1} and set(rollouts["attempt"]) == {1}


def test_all_ranks_stop_together(ran):
    for rank in (0, 1):
        stopped = read(ran, "stopped", rank)["stopped"]
        assert "right_unless_it_hangs failed in 2 of 4 scores of one batch (step 0)" in stopped
    assert "on another rank" in read(ran, "stopped", 0)["stopped"]
    assert "not scored within 2.5 s" in read(ran, "stopped", 1)["stopped"]


MOST = {"integer": 0.75, "no_answer_tag": 0.25}


@pytest.mark.parametrize("rank", [0, 1])
def test_curve_of_each_source_is_over_all_ranks(ran, rank):
    """Also if only one rank, or none, has rows of the source. All ranks log the same values."""
    log = read(ran, "sources", rank)["log"]
    scores = [under("rewards/dispatch/", step) for step in log]
    for step in scores:
        step.pop("mean", None)
        step.pop("std", None)
    assert scores == [{"sums": 0.5, "more/of them": 0.375}, {"sums": 0.5}, {"sums": 0.375}, {}]
    assert [under("reward_reasons/dispatch/", step) for step in log] == [
        {"sums/integer": 1.0, **{f"more/of them/{name}": share for name, share in MOST.items()}},
        {"sums/integer": 1.0},
        {f"sums/{name}": share for name, share in MOST.items()},
        {},
    ]


def test_group_reward_compares_the_whole_group_of_its_rank(ran):
    rollouts = rollouts_of(ran / "sources")
    for (_, rank), group in rollouts.groupby(["step", "rank"]):
        assert len(group) == 4 and group["prompt"].nunique() == 1
        earned = group["reward/kimi_length"]
        assert (earned.max(), earned.min()) == (0.5, -0.5)
        assert list(earned) == sorted(earned, reverse=True)
        assert (group["reason/kimi_length"] == "no_answer_tag").sum() == rank


def test_dispatch_skips_rows_without_a_source(ran):
    rollouts = rollouts_of(ran / "sources")
    others = rollouts["column/data_source"].isna()
    assert others.sum() == 16
    assert set(rollouts.loc[others, "reason/dispatch"]) == {"not_this_task"}
    assert rollouts.loc[others, "reward/dispatch"].isna().all()


def test_ranks_agree_on_rounds(ran):
    first, second = (read(ran, "sampling", rank) for rank in (0, 1))
    curves = [[under("sampling/", step) for step in result["log"]] for result in (first, second)]
    assert curves[0] == curves[1]
    assert [step["dead_before"] for step in curves[0]] == [2.0, 1.0, 2.0, 1.0]
    assert {step["dead_after"] for step in curves[0]} == {0.0}
    assert max(step["rounds"] for step in curves[0]) > 1.0


def test_replaced_groups_are_whole_over_two_ranks(ran):
    for both in zip(*(read(ran, "sampling", rank)["batches"] for rank in (0, 1)), strict=True):
        batch = [*both[0], *both[1]]
        for start in (0, 4, 8):
            group = batch[start : start + 4]
            prompts, completions, advantages = zip(*group, strict=True)
            assert len(set(prompts)) == 1 and int(prompts[0].rstrip("? ")) % 2
            assert [text for text in completions if "18" in text] == [completions[1]]
            assert [advantage > 0 for advantage in advantages] == [False, True, False, False]


def test_discarded_groups_are_marked_on_both_ranks(ran):
    rollouts = rollouts_of(ran / "sampling")
    trained = rollouts[~rollouts["discarded"]]
    assert set(trained.groupby(["step", "prompt"]).size()) == {4}
    assert set(trained.groupby("step").size()) == {12}
    groups = rollouts.groupby("group")  # of all rounds, also groups on two ranks
    assert set(groups.size()) == {4} and set(groups["prompt"].nunique()) == {1}
    assert sorted(groups.groups) == [*range(rollouts["group"].nunique())]


def test_rewards_and_transform_work_in_trls_trainer_without_axolotl(ran):
    result = read(ran, "plain")
    (log,) = result["log"]
    assert 0.0 < log["rewards/correctness_reward_func/mean"] <= 2.0
    assert 0.0 < log["rewards/strict_format_reward_func/mean"] <= 0.5
    assert not result["imported"]
