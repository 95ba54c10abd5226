import pytest

from axolotl_grpo_plugin.checks import engines
from axolotl_grpo_plugin.config import Config
from tests.checks.found import codes

FSDP2 = {"fsdp_config": {"reshard_after_forward": True}}
ZERO3 = {"deepspeed": {"zero_optimization": {"stage": 3}}}


@pytest.mark.parametrize(
    "cfg, ranks, has_gpus, found",
    [
        ({}, 1, False, []),
        (FSDP2, 1, False, ["alone"]),
        (FSDP2, 1, True, ["alone"]),  # without a launcher, accelerate ignores FSDP
        (FSDP2, 2, False, []),
        ({**FSDP2, "bf16": True}, 2, False, ["bf16-on-cpus"]),
        ({**FSDP2, "bf16": True}, 2, True, []),
        (ZERO3, 1, False, ["alone"]),
        (ZERO3, 1, True, []),  # Axolotl starts DeepSpeed on one GPU
        (ZERO3, 2, False, []),
        ({**FSDP2, "use_ray": True}, 1, False, []),  # Ray starts the processes later
    ],
)
def test_an_engine_needs_processes_that_share_the_model(cfg, ranks, has_gpus, found):
    assert codes(engines.check_engine(Config(cfg), ranks, has_gpus)) == found


def test_a_training_process_names_a_missing_package(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert codes(engines.check_process(Config(ZERO3))) == ["not-installed"]
    assert codes(engines.check_process(Config(FSDP2))) == []
