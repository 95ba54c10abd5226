import pytest

from axolotl_grpo_plugin.checks.sampling import check_dynamic_sampling
from axolotl_grpo_plugin.config import Config
from tests.checks.found import levels

FIRST, SECOND = "rewards.mine.right", "rewards.mine.layout"
ON = {"grpo_dynamic_sampling": True}


def config(trl=None, **keys):
    return {"rl": "grpo", **keys, "trl": {"reward_funcs": [FIRST, SECOND], **(trl or {})}}


@pytest.mark.parametrize(
    "cfg, code",
    [
        (config(grpo_dynamic_sampling_rounds=2), "sampling-off"),
        (config(grpo_dynamic_sampling_reward=FIRST), "sampling-off"),
        (config(**ON, grpo_dynamic_sampling_reward="rewards.mine.rigth"), "unknown-reward"),
        (config(**ON | {"rl": "gdpo"}), "whole-batch"),
        (config({"multi_objective_aggregation": "normalize_then_sum"}, **ON), "whole-batch"),
        (config({"scale_rewards": "batch"}, **ON), "whole-batch"),
        (config({"use_data_producer": True, "async_prefetch": True}, **ON), "scored-too-late"),
        (config(**ON, nemo_gym_enabled=True), "scored-elsewhere"),
    ],
)
def test_refuses_settings_without_a_group_to_replace(cfg, code):
    assert levels(check_dynamic_sampling(Config(cfg))) == [("error", code)]


@pytest.mark.parametrize(
    "cfg",
    [
        config(),
        config({"scale_rewards": "batch"}),
        config(**ON),
        config(**ON, grpo_dynamic_sampling_rounds=1, grpo_dynamic_sampling_reward=SECOND),
        config({"use_data_producer": True, "scale_rewards": True}, **ON),
        config({"use_vllm": True, "vllm_mode": "colocate", "scale_rewards": "none"}, **ON),
    ],
)
def test_accepts_settings_that_sample_again(cfg):
    assert not list(check_dynamic_sampling(Config(cfg)))
