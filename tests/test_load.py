from functools import partial

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.load import RewardRef, load_reward, load_scorer, logged_names, reward_refs
from axolotl_grpo_plugin.reward import PlainReward

OURS = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"
TRLS = "trl.rewards.get_repetition_penalty_reward"


def test_rewards_of_a_config_have_sorted_arguments():
    cfg = {"trl": {"reward_funcs": ["a.b", "c.d"]}, "grpo_reward_args": {"c.d": {"y": 1, "x": 2}}}
    assert reward_refs(Config(cfg)) == [RewardRef("a.b"), RewardRef("c.d", (("x", 2), ("y", 1)))]
    assert not reward_refs(Config({"trl": {"reward_funcs": "a.b"}})) + reward_refs(
        Config({"trl": {"reward_funcs": [None]}})
    )


def test_calls_factory_with_parameters():
    reward = load_reward(RewardRef(TRLS, (("max_penalty", -2.0), ("ngram_size", 1))))
    assert reward(completion_ids=[[7, 7, 7, 7]], completions=["x"]) == [-1.5]
    assert load_reward(RewardRef(TRLS)) is load_reward(RewardRef(TRLS))  # built once


def test_detects_async_rewards():
    async def judge(completions, **columns):
        return []

    class Judge:
        async def __call__(self, completions, **columns):
            return []

    for judged in (judge, partial(judge, most=1), Judge()):
        assert PlainReward(judged).is_async
    assert not load_reward(RewardRef(OURS)).is_async


@pytest.mark.parametrize(
    "keys, names",
    [
        (["a.b.fn", "a.b.other"], ["fn", "other"]),
        (["a.b.fn#x", "a.b.fn#y"], ["x", "y"]),
        (["a.b.fn", "a.c.fn"], ["b.fn", "c.fn"]),
        (["a.b.fn", "z.b.fn"], ["a.b.fn", "z.b.fn"]),
        (["a.b.fn", "a.b.other#fn"], ["b.fn", "fn"]),
    ],
)
def test_logged_names_are_short_and_unique(keys, names):
    assert logged_names([RewardRef(key) for key in keys]) == names


def test_reward_knows_the_rewards_inside_it():
    gated = RewardRef("axolotl_grpo_plugin.rewards.shaping.gated", (("by", OURS), ("reward", OURS)))
    assert load_reward(gated).spec.inner == (load_reward(RewardRef(OURS)),) * 2
    assert PlainReward(print).spec.inner == ()


def test_error_of_a_part_names_each_place_once():
    with pytest.raises(FindingError) as error:
        load_scorer("gate", "nodots", None)
    assert str(error.value) == "gate: nodots: not a dotted path. Write module.function."
