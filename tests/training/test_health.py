import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.conftest import Later

pytestmark = pytest.mark.xdist_group("with torch")
training = Later("axolotl_grpo_plugin.training.health")

GAP, RATIO = "sampling/sampling_logp_difference/mean", "sampling/importance_sampling_ratio/mean"
RIGHT, LAYOUT = "correctness_reward_func", "strict_format_reward_func"
ARGS = SimpleNamespace(max_completion_length=256)
HEALTHY = {
    "reward": 1.0,
    f"rewards/{RIGHT}/mean": 1.0,
    f"rewards/{LAYOUT}/mean": 0.3,
    "completions/clipped_ratio": 0.1,
    "frac_reward_zero_std": 0.3,
    "entropy": 0.3,
}


@pytest.fixture
def warnings(caplog):
    """Return a function that runs Health over logged steps and returns its warnings."""

    def run(steps):
        state = SimpleNamespace(is_world_process_zero=True, log_history=[])
        health = training.Health(RIGHT, {RIGHT: 2.0, LAYOUT: 0.5})
        for logs in steps:
            state.log_history.append(logs)
            health.on_log(ARGS, state, None, logs=logs)
        return caplog.messages

    return run


def ramp(first, last, steps=60):
    return [first + (last - first) * step / (steps - 1) for step in range(steps)]


def series(**curves):
    """Return 60 steps. A curve is a value, or a list of values; `right`, `layout` name the rewards."""
    names = {"right": f"rewards/{RIGHT}/mean", "layout": f"rewards/{LAYOUT}/mean"}
    steps = [dict(HEALTHY) for _ in range(60)]
    for name, curve in curves.items():
        for step, logs in enumerate(steps):
            logs[names.get(name, name)] = curve[step] if isinstance(curve, list) else curve
    return steps


def test_healthy_or_short_run_gets_no_warning(warnings):
    assert not warnings(series())
    assert not warnings(series(reward=0.0)[:19])


def test_recorded_quickstart_gets_no_warning(warnings):
    """Its entropy falls from 0.17 to 0.03, because it learns to answer 94 % right."""
    curves = json.loads((Path(__file__).parent / "quickstart_run.json").read_text())
    steps = [dict(zip(curves, values, strict=True)) for values in zip(*curves.values(), strict=True)]
    assert len(steps) == 100
    assert not warnings(steps)


@pytest.mark.parametrize(
    "changes, sign, cause",
    [
        ({"reward": None}, "every reward function gave None", "lacks their columns"),
        (
            {"reward": 0.0, f"reward_reasons/{RIGHT}/truncated": 1.0},
            "the reward is flat at 0",
            "no completion scores above 0, reasons: truncated 100%. Read",
        ),
        (
            {
                "right": 0.0,
                "reward": ramp(0.2, 0.6),
                f"reward_reasons/{RIGHT}/no_answer_tag": 0.75,
                f"reward_reasons/{RIGHT}/wrong_value": 0.25,
            },
            "correctness is flat at 0",
            "(whole reward: 0.23 -> 0.30), reasons: no_answer_tag 75%, wrong_value 25%. Read",
        ),
        ({"right": ramp(1.0, 0.4), "reward": ramp(1.2, 1.6)}, "correctness fell", "reward hacking"),
        ({"right": ramp(1.0, 0.4), "reward": ramp(1.3, 0.7)}, "correctness fell", "raise trl.beta"),
        (
            {"layout": ramp(0.5, 0.1), "reward": ramp(1.0, 1.4)},
            "strict_format fell",
            "0.44 -> 0.30. The whole reward rises",
        ),
        ({"completions/clipped_ratio": 0.31}, "were cut off", "max_completion_length (256 tokens)"),
        ({"frac_reward_zero_std": 0.81}, "over 80 % of the prompt groups have equal rewards", "too hard or too easy"),
        ({"frac_reward_zero_std": 1.0}, "all prompt groups have equal rewards", "100% teach nothing"),
        ({"entropy": ramp(0.3, 0.0001)}, "a fifth of its start", "Lower the learning rate"),
        ({GAP: 0.11, RATIO: 0.9}, "vLLM and the trainer disagree", "by 0.11 nats per token. Remove trl.top_p"),
        ({GAP: 0.02, RATIO: 0.49}, "importance ratio is far from 1", "0.49 times on average. If they are long, set"),
        ({GAP: 0.02, RATIO: 0.0}, "importance ratio is far from 1", "mode: token_truncate"),  # all are masked
        ({GAP: 0.02, RATIO: 2.1}, "importance ratio is far from 1", "count 2.10 times"),
    ],
)
def test_each_warning_appears_once_with_its_cause(warnings, changes, sign, cause):
    (line,) = warnings(series(**changes))
    assert line.startswith("in the last 20 steps, ")
    assert sign in line and cause in line


def test_usual_rounding_of_vllm_gets_no_warning(warnings):
    """trl#6789: with a bf16 trainer the difference has a standard deviation of 0.05."""
    assert not warnings(series(**{GAP: 0.05, RATIO: 0.9}))


def test_solved_task_gets_no_warning(warnings):
    solved = {"right": ramp(1.9, 1.95), "frac_reward_zero_std": 0.9, "entropy": ramp(0.3, 0.01)}
    assert not warnings(series(**solved))


def test_noise_is_no_fall(warnings):
    assert not warnings(series(right=[1.3, 0.5] * 30, layout=[0.5, 0.0, 0.3] * 20))


def test_resumed_run_is_judged_by_its_first_start(warnings):
    """A checkpoint's log history has the steps before it."""
    hacked = series(right=ramp(1.0, 0.4), reward=ramp(1.2, 1.6))
    state = SimpleNamespace(is_world_process_zero=True, log_history=hacked)
    health = training.Health(RIGHT, {RIGHT: 2.0})
    health.on_log(ARGS, state, None, logs=hacked[-1])
    assert list(health.reported) == ["correctness fell"]
