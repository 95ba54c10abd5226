from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.training.health import Health

ARGS = SimpleNamespace(max_completion_length=256)
HEALTHY = {
    "reward": 1.0,
    "rewards/correctness_reward_func/mean": 1.0,
    "completions/clipped_ratio": 0.1,
    "frac_reward_zero_std": 0.3,
    "entropy": 0.3,
}


def warnings(caplog, steps=20, **changes):
    caplog.clear()
    health = Health("correctness_reward_func", 2.0)
    for _ in range(steps):
        health.on_log(
            ARGS, SimpleNamespace(is_world_process_zero=True), None, logs={**HEALTHY, **changes}
        )
    return caplog.messages


def test_healthy_or_short_run_gets_no_warning(caplog):
    assert not warnings(caplog, steps=60)
    assert not warnings(caplog, steps=19, reward=0.0)


@pytest.mark.parametrize(
    "changes, sign, cause",
    [
        ({"reward": None}, "every reward function gave None", "lacks their columns"),
        ({"reward": 0.0}, "the reward is flat at 0", "reward_reasons"),
        ({"completions/clipped_ratio": 0.31}, "were cut off", "max_completion_length (256 tokens)"),
        ({"frac_reward_zero_std": 0.81}, "have equal rewards", "too hard or too easy"),
        ({"entropy": 0.04}, "the entropy fell below 0.05", "Lower the learning rate"),
    ],
)
def test_each_warning_appears_once_with_its_cause(caplog, changes, sign, cause):
    (line,) = warnings(caplog, steps=60, **changes)
    assert line.startswith("in the last 20 steps, ")
    assert sign in line and cause in line


def test_solved_task_gets_no_warning(caplog):
    solved = {"rewards/correctness_reward_func/mean": 1.9, "frac_reward_zero_std": 0.9}
    assert not warnings(caplog, **solved, entropy=0.01)
