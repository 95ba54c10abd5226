import math
from pathlib import Path

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.scoring.worker import Outcome
from tests.conftest import Later
from tests.scoring.batches import scored_batch

rollout_log = Later("axolotl_grpo_plugin.scoring.rollout_log")


def test_config_sets_the_folder():
    cfg = {"output_dir": "out"}
    assert rollout_log.RolloutLog.of(Config({**cfg, "grpo_rollouts": False})) is None
    assert rollout_log.RolloutLog.of(Config(cfg)).folder == Path("out/rollouts")
    assert rollout_log.RolloutLog.of(Config({**cfg, "grpo_rollouts": True})).folder == Path("out/rollouts")
    assert rollout_log.RolloutLog.of(Config({**cfg, "grpo_rollouts": "logs"})).folder == Path("logs")


def columns(**more):
    outcomes = [Outcome(1.0, "right", read="1"), Outcome(None, error="boom", read="x" * 999)]
    return rollout_log.rollout_columns(scored_batch(scores=[[1.0], [1.0]], good=outcomes, **more))


def test_score_that_a_function_did_not_give_has_its_error():
    logged = columns()
    assert logged["reward/good"] == [1.0, 1.0] and logged["error/good"] == [None, "boom"]
    assert logged["reason/good"] == ["right", "error"] and logged["read/good"] == ["1", None]


def test_completion_without_a_score_has_no_reward():
    outcomes = [Outcome(1.0), Outcome(None)]
    logged = rollout_log.rollout_columns(scored_batch(good=outcomes))
    assert logged["reward"][0] == 1.0 and math.isnan(logged["reward"][1])


def test_tokens_of_tools_are_not_those_of_the_model():
    logged = columns(ids=[[5, 6, 2], [2]], tool_masks=[[1, 0, 1], [1]])
    assert (logged["completion_tokens"], logged["tool_tokens"]) == ([2, 1], [1, 0])


def test_only_dynamic_sampling_discards_completions():
    assert "discarded" not in columns()
    assert columns(discarded=[False, True])["discarded"] == [False, True]


def test_groups_of_an_attempt_are_counted_over_its_batches(tmp_path):
    import pandas as pd

    log = rollout_log.RolloutLog(tmp_path)
    log.begin([])
    for step in (1, 2):
        outcomes = [Outcome(1.0)] * 4
        log.write(scored_batch(good=outcomes, step=step, advantages=[0.0] * 4))
    assert pd.read_parquet(tmp_path / "train").groupby("step")["group"].agg(list).tolist() == [
        [0, 0, 1, 1],
        [2, 2, 3, 3],
    ]


def test_long_run_leaves_few_files(tmp_path, caplog):
    log = rollout_log.RolloutLog(tmp_path)
    log.begin([])
    for step in range(1, 251):
        log.write(scored_batch(good=[Outcome(1.0)] * 4, step=step, advantages=[0.0] * 4))
    names = sorted(file.name for file in tmp_path.glob("train/*"))
    assert names[0] == "001-000001-000-000000-000100.parquet" and len(names) == 51
    assert sum(1 for _ in rollout_files(tmp_path).rows()) == 1000 and not caplog.records


def test_score_of_the_group_has_a_note():
    batch = scored_batch(scores=[[1.0], [1.0]], good=[Outcome(1.0), Outcome(None)])
    logged = rollout_log.rollout_columns(batch)
    assert logged["error/good"] == [None, "no score; the mean of its prompt group stands here"]


def test_batches_that_a_full_disk_refuses_are_counted(full):
    log = rollout_log.RolloutLog(full / "rollouts")
    log.begin([])
    assert log.loss() == ""
    batch = scored_batch(good=[Outcome(1.0)] * 4, advantages=[0.0] * 4)
    log.lost += sum(not log.write(batch) for _ in range(3))
    assert log.written == 0
    assert log.loss() == (
        f"3 batches could not be written: {full}/rollouts: cannot be written: "
        "No space left on device (0 bytes free). Free space."
    )
    (full / "filler").unlink()
    assert log.write(batch) and log.written == 1


def test_thinking_that_prompts_open_is_logged():
    assert "prompt_opens" not in columns()
    assert "prompt_opens" not in columns(opens=["", ""])
    logged = columns(opens=["<think>", "<think>"], rows=[{"prompt_opens": "<think>", "answer": "1"}] * 2)
    assert logged["prompt_opens"] == ["<think>", "<think>"]
    assert "column/answer" in logged and "column/prompt_opens" not in logged
