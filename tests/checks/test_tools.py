"""Tools and environments that cannot work are refused before a model loads."""

import pytest

from axolotl_grpo_plugin.checks.tools import check_parallel_tools, check_tools

# transformers makes the schemas, and imports torch.
pytestmark = pytest.mark.xdist_group("with torch")

PATH = "tests.environments.tools_that_fail."
GAME = "axolotl_grpo_plugin.environments.GuessNumber"


def no_hints(a, b: int) -> str:
    """
    Add.

    Args:
        a: The first.
        b: The second.
    """
    return ""


def no_description(a: int) -> str:
    """Add."""
    return ""


class NoTools:
    def reset(self, **row): ...


class NoReward(NoTools):
    def step(self) -> str:
        """Make a step."""
        return ""


def found(**cfg):
    return [str(each) for each in check_tools({"trl": {"reward_funcs": ["a.b"]}, **cfg})]


@pytest.mark.parametrize(
    "cfg",
    [
        {},
        {"grpo_tools": [PATH + "add", PATH + "Counter"], "grpo_tool_args": {PATH + "Counter": {"start": 1}}},
        {"grpo_tools": ["axolotl_grpo_plugin.environments.tools.python"], "grpo_max_tool_calls": 2},
        {"grpo_environment": GAME, "grpo_environment_args": {"guesses": 3}, "trl": {}},
    ],
)
def test_accepts_tools_that_work(cfg):
    assert found(**cfg) == []


@pytest.mark.parametrize(
    "cfg, wrong",
    [
        ({"grpo_max_tool_calls": 2}, "grpo_max_tool_calls: the model has no tools."),
        ({"grpo_tools": PATH + "add"}, "grpo_tools: not a list."),
        ({"grpo_tools": ["add"]}, "grpo_tools[0] (add): not a path of a function."),
        ({"grpo_tools": ["no.such"]}, "there is no module 'no'."),
        ({"grpo_tools": [PATH + "ad"]}, "no 'ad' in tests.environments.tools_that_fail. Did you mean `add`?"),
        ({"grpo_tools": [PATH + "Path"]}, "neither a function nor a class."),
        ({"grpo_tools": [f"{__name__}.no_hints"]}, "the model cannot be told how to call it: "),
        ({"grpo_tools": [f"{__name__}.no_description"]}, "the model cannot be told how to call it: "),
        ({"grpo_tools": [PATH + "add", PATH + "add"]}, "is also called 'add'."),
        (
            {"grpo_tools": [PATH + "add"], "grpo_tool_args": {PATH + "add": {"a": 1}}},
            "a function takes its arguments from the model.",
        ),
        (
            {"grpo_tools": [PATH + "Counter"], "grpo_tool_args": {PATH + "Counter": {"stat": 1}}},
            "got an unexpected keyword argument 'stat'. Its parameters: start.",
        ),
        (
            {"grpo_tools": [PATH + "Counter"], "grpo_tool_args": {PATH + "Counter": {"start": "1"}}},
            "start: '1' is not a whole number.",
        ),
        ({"grpo_tools": [PATH + "add"], "grpo_tool_args": {"other": {}}}, "grpo_tools names no such tool."),
        ({"grpo_environment": PATH + "add"}, "not a class with `reset`."),
        ({"grpo_environment": f"{__name__}.NoTools"}, "no public method is a tool."),
        ({"grpo_environment": f"{__name__}.NoReward", "trl": {}}, "the environment has no get_reward."),
        ({"grpo_environment": GAME, "grpo_environment_args": {"gueses": 3}}, "'gueses'. Its parameters: low"),
        ({"grpo_environment": GAME, "trl": {"async_prefetch": True}}, "Remove it. trl.use_data_producer works."),
        ({"grpo_environment": GAME, "trl": {"rollout_func": "a.b"}}, "a rollout function generates by itself"),
        ({"grpo_environment": GAME, "nemo_gym_enabled": True}, "NeMo Gym has its own tools."),
        (
            {
                "grpo_tools": [PATH + "add"],
                "grpo_max_tool_calls": 2,
                "grpo_trl_args": {"max_tool_calling_iterations": 3},
            },
            "grpo_max_tool_calls sets this field.",
        ),
    ],
)
def test_refuses_tools_that_cannot_work(cfg, wrong):
    (only,) = found(**cfg)
    assert wrong in only


@pytest.mark.parametrize(
    "cfg, ranks, refused",
    [
        ({"trl": {"use_vllm": True, "vllm_mode": "server"}}, 2, "trl.vllm_mode"),
        ({"trl": {"use_vllm": True, "vllm_mode": "server"}}, 1, None),
        ({"trl": {"use_vllm": True}, "vllm": {"tensor_parallel_size": 2}}, 2, "vllm.tensor_parallel_size"),
        ({"trl": {"use_vllm": True, "vllm_mode": "colocate"}}, 2, None),
        ({"fsdp_config": {"fsdp_version": 2}}, 2, "fsdp_config"),
        ({"deepspeed": "deepspeed_configs/zero3_bf16.json"}, 2, "deepspeed"),
        ({"deepspeed": "deepspeed_configs/zero2.json"}, 2, None),
    ],
)
def test_refuses_ranks_that_would_wait_for_each_other(cfg, ranks, refused):
    findings = list(check_parallel_tools({"grpo_tools": [PATH + "add"], **cfg}, ranks))
    assert [each.where for each in findings] == ([refused] if refused else [])
