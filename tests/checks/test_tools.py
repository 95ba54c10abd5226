"""Tools and environments that cannot work are refused before a model loads."""

import pytest
import yaml

from axolotl_grpo_plugin.checks.tools import check_parallel_tools, check_tools
from axolotl_grpo_plugin.config import Config
from tests.checks.found import codes

# transformers makes the schemas, and imports torch.
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


def of(text):
    """Return a config. TOOLS, HERE and GAME stand for longer paths."""
    names = {"TOOLS.": PATH, "HERE.": f"{__name__}.", "GAME": GAME}
    for short, path in names.items():
        text = text.replace(short, path)
    return {"trl": {"reward_funcs": ["a.b"]}, **(yaml.safe_load(text) or {})}


@pytest.mark.parametrize(
    "cfg",
    [
        "",
        "{grpo_tools: [TOOLS.add, TOOLS.Counter], grpo_tool_args: {TOOLS.Counter: {start: 1}}}",
        "{grpo_tools: [axolotl_grpo_plugin.environments.tools.python], grpo_max_tool_calls: 2}",
        "{grpo_environment: GAME, grpo_environment_args: {guesses: 3}, trl: {}}",
    ],
)
def test_accepts_tools_that_work(cfg):
    assert codes(check_tools(Config(of(cfg)))) == []


@pytest.mark.parametrize(
    "cfg, code",
    [
        ("grpo_max_tool_calls: 2", "no-tools"),
        ("grpo_tools: TOOLS.add", "no-list"),
        ("grpo_tools: [add]", "no-path"),
        ("grpo_tools: [no.such]", "no-module"),
        ("grpo_tools: [TOOLS.ad]", "no-function"),
        ("grpo_tools: [TOOLS.Path]", "no-function"),
        ("grpo_tools: [HERE.no_hints]", "no-schema"),
        ("grpo_tools: [HERE.no_description]", "no-schema"),
        ("grpo_tools: [TOOLS.add, TOOLS.add]", "same-name"),
        ("{grpo_tools: [TOOLS.add], grpo_tool_args: {TOOLS.add: {a: 1}}}", "wrong-arguments"),
        ("{grpo_tools: [TOOLS.Counter], grpo_tool_args: {TOOLS.Counter: {stat: 1}}}", "wrong-arguments"),
        ("{grpo_tools: [TOOLS.Counter], grpo_tool_args: {TOOLS.Counter: {start: '1'}}}", "wrong-arguments"),
        ("{grpo_tools: [TOOLS.add], grpo_tool_args: {other: {}}}", "unknown-tool"),
        ("grpo_environment: TOOLS.add", "no-environment"),
        ("grpo_environment: HERE.NoTools", "no-tools"),
        ("{grpo_environment: HERE.NoReward, trl: {}}", "no-reward"),
        ("{grpo_environment: GAME, grpo_environment_args: {gueses: 3}}", "wrong-arguments"),
        ("{grpo_environment: GAME, trl: {async_prefetch: true}}", "not-with-tools"),
        ("{grpo_environment: GAME, trl: {rollout_func: a.b}}", "not-with-tools"),
        ("{grpo_environment: GAME, nemo_gym_enabled: true}", "not-with-tools"),
        (
            "{grpo_tools: [TOOLS.add], grpo_max_tool_calls: 2, grpo_trl_args: {max_tool_calling_iterations: 3}}",
            "set-twice",
        ),
        (
            "{grpo_tools: [TOOLS.add], grpo_max_tool_calls: 2, grpo_trl_args: {max_tool_calling_iterations: 0}}",
            "set-twice",
        ),
    ],
)
def test_refuses_tools_that_cannot_work(cfg, code):
    assert codes(check_tools(Config(of(cfg)))) == [code]


@pytest.mark.parametrize(
    "cfg, ranks, refused",
    [
        ("trl: {use_vllm: true, vllm_mode: server}", 2, {"trl.vllm_mode"}),
        ("trl: {use_vllm: true, vllm_mode: server}", 1, set()),
        ("trl: {use_vllm: true}", 2, {"trl.vllm_mode"}),  # unset means server
        (
            "{trl: {use_vllm: true, vllm_mode: colocate}, vllm: {tensor_parallel_size: 2}}",
            2,
            {"vllm.tensor_parallel_size"},
        ),
        ("trl: {use_vllm: true, vllm_mode: colocate}", 2, set()),
        ("fsdp_config: {fsdp_version: 2}", 2, {"fsdp_config"}),
        ("deepspeed: deepspeed_configs/zero3_bf16.json", 2, {"deepspeed"}),
        ("deepspeed: deepspeed_configs/zero2.json", 2, set()),
    ],
)
def test_refuses_ranks_that_would_wait_for_each_other(cfg, ranks, refused):
    cfg = {"grpo_tools": [PATH + "add"], **yaml.safe_load(cfg)}
    places = {finding.where for finding in check_parallel_tools(Config(cfg), ranks)}
    assert places == refused
