from pathlib import Path

from tests.conftest import Later

rollout_log = Later("axolotl_grpo_plugin.scoring.rollout_log")


def test_config_sets_the_folder():
    cfg = {"output_dir": "out"}
    assert rollout_log.RolloutLog.of({**cfg, "grpo_rollouts": False}) is None
    assert rollout_log.RolloutLog.of(cfg).folder == Path("out/rollouts")
    assert rollout_log.RolloutLog.of({**cfg, "grpo_rollouts": True}).folder == Path("out/rollouts")
    assert rollout_log.RolloutLog.of({**cfg, "grpo_rollouts": "logs"}).folder == Path("logs")
