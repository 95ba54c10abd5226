"""Every family of the reward library in a training: its config, on the CPU, for a few steps."""

import math

import pytest

from tests.e2e.conftest import curves, shipped_config, train, write
from tests.rewards.judge_server import JudgeServer, honest


def without_held_out(tmp_path, name, **changes):
    """Return a config of the pack without its held-out rows, on one core, with small batches."""
    changes |= {
        "test_datasets": None,
        "grpo_held_out_rows": None,
        "grpo_cpu_threads": 1,
        "gradient_accumulation_steps": 1,
    }
    return write(tmp_path, shipped_config(name, **changes))


@pytest.mark.seconds(30)
def test_template_opens_the_thinking(tmp_path, smollm2):
    rows = train(without_held_out(tmp_path, "think/smollm2-135m-cpu"), tmp_path / "out", steps=1)
    assert all(row["prompt"].endswith("assistant\n<think>\n") for row in rows)
    for name, reasons in {
        "think_soft_format_reward_func": {"format", "other_layout", "empty_block"},
        "tag_count_reward_func": {"all_tags", "some_tags", "no_tags", "text_after_answer"},
        "gated": {"gated", "exact", "other_layout", "empty_block"},
    }.items():
        assert {row[f"{name}/reason"] for row in rows} <= reasons
        assert all(0.0 <= row[name] <= 1.0 for row in rows)
    for row in rows:  # format alone earns nothing
        if row["correctness_reward_func"] < 2.0:
            assert row["gated"] == 0.0


def test_shaping_rewards_follow_correctness(tmp_path):
    rows = train(without_held_out(tmp_path, "shaping/quickstart"), tmp_path / "out")
    right = [row for row in rows if row["correctness_reward_func"] == 2.0]
    wrong = [row for row in rows if row["correctness_reward_func"] == 0.0]
    assert right and wrong
    assert all(row["cosine_length"] >= 0.5 for row in right)
    assert all(row["cosine_length"] <= -0.5 and row["kimi_length"] <= 0.0 for row in wrong)
    assert max(row["kimi_length"] for row in right) == 0.5
    assert min(row["get_repetition_penalty_reward"] for row in rows) >= -0.5
    assert {row["get_soft_overlong_punishment"] for row in rows} != {None}


@pytest.mark.seconds(40)
def test_programs_are_run_against_their_tests(tmp_path, smollm2):
    rows = train(without_held_out(tmp_path, "code/smollm2-135m-cpu"), tmp_path / "out", steps=1)
    reasons = {row["code_reward_func/reason"] for row in rows}
    ran = {"correct", "wrong_output", "runtime_error", "syntax_error"}
    assert reasons & ran, reasons  # some programs were run
    for row in rows:
        assert row["code_reward_func"] == float(row["code_reward_func/reason"] == "correct")


def test_judge_is_asked_over_http_once_per_answer(tmp_path):
    """The judge is an HTTP server that compares answers: two cores are too slow for a real judge."""
    with JudgeServer(honest) as server:
        judge = {"model": "a-judge", "base_url": server.url, "gold": "answer"}
        key = "axolotl_grpo_plugin.rewards.judge.judge"
        config = without_held_out(tmp_path, "judge/quickstart", grpo_reward_args={key: judge})
        rows = train(config, tmp_path / "out")
        asked = len(server.asked)
    reasons = {row["judge/reason"] for row in rows}
    assert {"correct", "wrong"} <= reasons
    assert {row["judge"] for row in rows} == {0.0, 1.0}
    assert 0 < asked < len(rows)  # repeated answers are not asked again


def test_each_source_is_a_curve(tmp_path):
    rows = train(without_held_out(tmp_path, "dispatch/quickstart"), tmp_path / "out", steps=3)
    logged = curves(tmp_path / "out")
    sources = {"openai/gsm8k", "countdown", "math"}
    scores = {
        name.removeprefix("rewards/dispatch/"): values[-1]
        for name, values in logged.items()
        if name.startswith("rewards/dispatch/")
    }
    assert scores.keys() - {"mean", "std"} == sources
    assert all(math.isfinite(value) for value in scores.values())
    assert min(scores[source] for source in sources) > 0.0
    reasons = [name for name in logged if name.startswith("reward_reasons/dispatch/")]
    assert any("/countdown/wrong_numbers" in name for name in reasons)
    assert all(row["dispatch"] is not None for row in rows)


def test_reasoning_gym_problems_are_scored(tmp_path):
    pytest.importorskip("reasoning_gym")
    rows = train(without_held_out(tmp_path, "gym/quickstart"), tmp_path / "out")
    assert all(row["gym_reward_func"] in (0.0, 1.0) for row in rows)
    assert {row["gym_reward_func/reason"] for row in rows} - {"no_answer_tag", "truncated"}
