"""Every family of the reward library in a training: its config, on the CPU, for a few steps."""

import json
import math

import pyarrow.parquet as parquet
import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.e2e.conftest import ROOT, axolotl
from tests.rewards.judge_server import JudgeServer, honest
from tools import verl_mix


def train(config, folder, *more, steps=2, **options):
    """Train a config of the pack: the rows of its completions tables."""
    given = ("--max-steps", steps, "--output-dir", folder, *more)
    axolotl("train", config, *given, **options)
    files = sorted((folder / "completions").glob("*.parquet"))
    assert len(files) == steps
    return [row for file in files for row in parquet.read_table(file).to_pylist()]


def curves(folder):
    """The last value of each curve that the run logged."""
    (events,) = folder.glob("runs/*/events.*")
    log = EventAccumulator(str(events)).Reload()
    return {name: log.Scalars(name)[-1].value for name in log.Tags()["scalars"]}


def changed(tmp_path, name, **keys):
    """A config of the pack with other values for some keys."""
    cfg = {**yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()), **keys}
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(cfg))
    return file


def smollm2s(tmp_path, name):
    """Such a config of the pack, on one core: another worker has the other."""
    return changed(tmp_path, name, grpo_cpu_threads=1)


@pytest.mark.seconds(30)
def test_thinking_that_the_template_opens(tmp_path, smollm2):
    rows = train(smollm2s(tmp_path, "think/smollm2-135m-cpu"), tmp_path / "out", steps=1)
    assert all(row["prompt"].endswith("assistant\n<think>\n") for row in rows)
    for name, reasons in {
        "think_soft_format_reward_func": {"format", "other_layout", "empty_block"},
        "tag_count_reward_func": {"all_tags", "some_tags", "no_tags", "text_after_answer"},
        "gated": {"gated", "exact", "other_layout", "empty_block"},
        "reasoning_steps_reward_func": {"no_steps", "few_steps", "enough_steps"},
    }.items():
        assert {row[f"{name}/reason"] for row in rows} <= reasons
        assert all(0.0 <= row[name] <= 1.0 for row in rows)
    for row in rows:  # the format alone earns nothing
        if row["correctness_reward_func"] < 2.0:
            assert row["gated"] == 0.0


@pytest.mark.slow
def test_the_answer_after_hashes(tmp_path, smollm2):
    rows = train(smollm2s(tmp_path, "gsm8k/smollm2-135m-hash-cpu"), tmp_path / "out")
    assert all("after ####" in row["prompt"] for row in rows)
    for row in rows:
        said = "####" in row["completion"].rpartition("</think>")[2]
        reason = row["hash_correctness_reward_func/reason"]
        assert said or reason in ("no_answer", "truncated"), row


def test_rewards_that_shape(tmp_path):
    rows = train("configs/shaping/quickstart.yaml", tmp_path)
    right = [row for row in rows if row["correctness_reward_func"] == 2.0]
    wrong = [row for row in rows if row["correctness_reward_func"] == 0.0]
    assert right and wrong
    assert all(row["cosine_length"] >= 0.5 for row in right)
    assert all(row["cosine_length"] <= -0.5 and row["kimi_length"] <= 0.0 for row in wrong)
    assert max(row["kimi_length"] for row in right) == 0.5
    assert min(row["get_repetition_penalty_reward"] for row in rows) >= -0.5
    assert {row["get_soft_overlong_punishment"] for row in rows} != {None}


@pytest.mark.seconds(40)
def test_programs_run_against_their_tests(tmp_path, smollm2):
    rows = train(smollm2s(tmp_path, "code/smollm2-135m-cpu"), tmp_path / "out", steps=1)
    reasons = {row["code_reward_func/reason"] for row in rows}
    ran = {"correct", "wrong_output", "runtime_error", "syntax_error"}
    assert reasons & ran, reasons  # some were run
    for row in rows:
        assert row["code_reward_func"] == float(row["code_reward_func/reason"] == "correct")


def test_a_judge_behind_http(tmp_path):
    """The judge is a real HTTP server that compares: a model that could is none for two cores."""
    with JudgeServer(honest) as server:
        judge = {"model": "a-judge", "base_url": server.url, "gold": "answer"}
        key = "axolotl_grpo_plugin.rewards.judge.judge"
        config = changed(tmp_path, "judge/quickstart", grpo_reward_args={key: judge})
        rows = train(config, tmp_path / "out")
        asked = len(server.asked)
    reasons = {row["judge/reason"] for row in rows}
    assert {"correct", "wrong"} <= reasons
    assert {row["judge"] for row in rows} == {0.0, 1.0}
    assert 0 < asked < len(rows)  # what was asked before is known


def test_a_judge_that_is_not_there_ends_the_run_before_the_model_loads(tmp_path):
    output = axolotl(
        "train", "configs/judge/quickstart.yaml", "--output-dir", tmp_path, returncode=1
    )
    assert "trl.reward_funcs[0] (axolotl_grpo_plugin.rewards.judge.judge): " in output
    assert "127.0.0.1:8100" in output and "Loading weights" not in output


def test_four_sources_in_one_run(tmp_path):
    rows = train("configs/dispatch/quickstart.yaml", tmp_path, steps=3)
    logged = curves(tmp_path)
    sources = {"openai/gsm8k", "countdown", "math", "code"}
    scores = {
        name.removeprefix("train/rewards/dispatch/"): value
        for name, value in logged.items()
        if name.startswith("train/rewards/dispatch/")
    }
    assert scores.keys() - {"mean", "std"} == sources
    assert all(math.isfinite(value) for value in scores.values())
    assert scores["openai/gsm8k"] > 0.0 and scores["countdown"] > 0.0
    reasons = [name for name in logged if name.startswith("train/reward_reasons/dispatch/")]
    assert any("/code/no_code" in name for name in reasons)
    assert any("/countdown/wrong_numbers" in name for name in reasons)
    assert all(row["dispatch"] is not None for row in rows)


def test_a_parquet_of_verls_with_six_domains(tmp_path):
    """Nothing but `type: axolotl_grpo_plugin.verl` and dispatch, on a file that is made here."""
    file = tmp_path / "train.parquet"
    verl_mix.write(file)
    entry = {"path": str(file), "ds_type": "parquet", "split": "train"}
    dataset = {**entry, "type": "axolotl_grpo_plugin.verl"}
    config = changed(tmp_path, "dispatch/verl-mix", datasets=[dataset])
    rows = train(config, tmp_path / "out", steps=4)
    assert all(row["dispatch"] is not None for row in rows)
    found = {
        name.split("/")[-1] for name in curves(tmp_path / "out") if "/rewards/dispatch/" in name
    }
    domains = {row["data_source"] for row in verl_mix.rows()}
    assert len(domains) == 6 and domains <= found, found


@pytest.mark.slow
def test_a_source_that_nothing_scores_is_named_before_the_model_loads(tmp_path):
    file = tmp_path / "rows.jsonl"
    row = {
        "data_source": "chess",
        "prompt": "Mate in one?",
        "reward_model": {"ground_truth": "Qh7"},
    }
    file.write_text(json.dumps({**row, "data_source": "math"}) + "\n" + json.dumps(row) + "\n")
    entry = {"path": str(file), "ds_type": "json", "split": "train"}
    dataset = {**entry, "type": "axolotl_grpo_plugin.verl"}
    config = changed(tmp_path, "dispatch/verl-mix", datasets=[dataset])
    output = axolotl("train", config, "--output-dir", tmp_path / "out", returncode=1)
    assert (
        "dispatch, in 1 of 2 rows: data_source 'chess': no route takes it. Add `chess: " in output
    )
    assert "Loading weights" not in output


def test_problems_of_reasoning_gym(tmp_path):
    pytest.importorskip("reasoning_gym")
    rows = train("configs/gym/quickstart.yaml", tmp_path)
    assert all(row["gym_reward_func"] in (0.0, 1.0) for row in rows)
    assert {row["gym_reward_func/reason"] for row in rows} - {"no_answer_tag", "truncated"}
