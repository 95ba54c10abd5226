from pathlib import Path

import pytest

from tests.conftest import Later

pytestmark = pytest.mark.xdist_group("with torch")
rollout_log = Later("axolotl_grpo_plugin.scoring.rollout_log")

ON = {"log_completions": True, "num_completions_to_print": 0}
OFF = {"log_completions": False, "num_completions_to_print": 0}


@pytest.mark.parametrize(
    "cfg, trl",
    [
        ({"grpo_rollouts": True, "wandb_project": "x"}, ON),
        ({"grpo_rollouts": True, "use_trackio": True}, ON),
        ({"grpo_rollouts": True, "wandb_project": "x", "trl": {"log_completions": False}}, OFF),
        ({"grpo_rollouts": True}, {}),
        ({"wandb_project": "x"}, {}),
        ({"grpo_rollouts": True, "wandb_project": None}, {}),
    ],
)
def test_table_of_samples_needs_rollouts_and_a_tracker(cfg, trl):
    cfg.setdefault("trl", {})
    rollout_log.show_samples(cfg)
    assert cfg["trl"] == trl


def test_config_sets_the_folder():
    cfg = {"output_dir": "out"}
    assert rollout_log.RolloutLog.of(cfg) is None
    assert rollout_log.RolloutLog.of({**cfg, "grpo_rollouts": True}).folder == Path("out/rollouts")
    assert rollout_log.RolloutLog.of({**cfg, "grpo_rollouts": "logs"}).folder == Path("logs")
