from types import SimpleNamespace

import pytest

from axolotl_grpo_plugin.scoring.rollout_log import RolloutLog, show_samples


@pytest.mark.parametrize("tracker", [{"wandb_project": "x"}, {"use_trackio": True}])
def test_a_tracker_gets_trls_table_of_samples(tracker):
    cfg = {"grpo_rollouts": True, "trl": {}, **tracker}
    show_samples(cfg)
    assert cfg["trl"] == {"log_completions": True, "num_completions_to_print": 0}


@pytest.mark.parametrize(
    "cfg",
    [
        {"grpo_rollouts": True},
        {"wandb_project": "x"},
        {"grpo_rollouts": True, "wandb_project": None},
    ],
)
def test_without_rollouts_or_tracker_nothing_is_turned_on(cfg):
    cfg["trl"] = {}
    show_samples(cfg)
    assert not cfg["trl"]


def test_what_the_yaml_says_stays():
    cfg = {"grpo_rollouts": True, "wandb_project": "x", "trl": {"log_completions": False}}
    show_samples(cfg)
    assert cfg["trl"]["log_completions"] is False


def test_the_folder_is_the_yamls(tmp_path):
    assert RolloutLog.of({}) is None
    assert (
        RolloutLog.of({"grpo_rollouts": True, "output_dir": "out"}).folder.as_posix()
        == "out/rollouts"
    )
    assert RolloutLog.of({"grpo_rollouts": "logs", "output_dir": "out"}).folder.as_posix() == "logs"


def test_each_run_in_a_folder_is_an_attempt_of_its_own(tmp_path):
    trainer = SimpleNamespace(_generate_and_score_completions=None)
    first = RolloutLog(tmp_path)
    first.attach(trainer)
    for name in ("train/002-000004-000-000003.parquet", "eval/003-000000-001-000000.parquet"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    resumed = RolloutLog(tmp_path)
    resumed.attach(trainer)
    assert (first.attempt, resumed.attempt) == (1, 4)
