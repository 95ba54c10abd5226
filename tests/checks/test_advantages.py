import pytest

from axolotl_grpo_plugin.checks.advantages import check_advantage, check_rewards_of_advantage
from axolotl_grpo_plugin.config import Config
from tests.checks.found import codes

INT = "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"
KIMI = "axolotl_grpo_plugin.rewards.shaping.kimi_length"
PLAIN = "trl.rewards.think_format_reward"


@pytest.mark.parametrize(
    "keys, found",
    [
        ({"grpo_advantage": "rloo"}, []),
        ({"trl": {"scale_rewards": "none"}}, []),
        ({"grpo_advantage": "rloo", "trl": {"multi_objective_aggregation": "sum_then_normalize"}}, []),
        ({"grpo_advantage": "rloo", "trl": {"scale_rewards": "none"}}, ["two-advantages"]),
        ({"grpo_advantage": "maxrl", "trl": {"scale_rewards": False}}, ["two-advantages"]),
        ({"grpo_advantage": "maxrl", "rl": "gdpo"}, ["two-advantages"]),
        ({"grpo_advantage": "rloo", "trl": {"multi_objective_aggregation": "normalize_then_sum"}}, ["two-advantages"]),
    ],
)
def test_one_key_chooses_the_advantages(keys, found):
    assert codes(check_advantage(Config(keys))) == found


@pytest.mark.parametrize(
    "rewards, keys, words",
    [
        ([INT], {}, []),
        ([PLAIN], {"grpo_reward_range": {PLAIN: [0, 1]}}, []),
        ([PLAIN], {"grpo_reward_range": {PLAIN: [-1, 1]}}, ["its lowest score, with its weight, is -1"]),
        ([INT, PLAIN], {}, ["its lowest score is not known. Declare its range in grpo_reward_range"]),
        (["owner/model"], {}, ["its lowest score is not known. Set grpo_advantage: rloo"]),
        ([KIMI], {"grpo_reward_args": {KIMI: {"by": INT}}}, ["is -0.5"]),
    ],
)
def test_maxrl_needs_rewards_that_are_never_negative(rewards, keys, words):
    cfg = {"grpo_advantage": "maxrl", "trl": {"reward_funcs": rewards}, **keys}
    found = [str(finding) for finding in check_rewards_of_advantage(Config(cfg))]
    assert len(found) == len(words)
    for line, part in zip(found, words, strict=True):
        assert part in line and line.startswith("trl.reward_funcs[")
    assert not [*check_rewards_of_advantage(Config({**cfg, "grpo_advantage": "rloo"}))]


def test_negative_weight_makes_a_reward_negative():
    cfg = {"grpo_advantage": "maxrl", "trl": {"reward_funcs": [INT], "reward_weights": [-1.0]}}
    (finding,) = check_rewards_of_advantage(Config(cfg))
    assert "is -0.5" in str(finding)
