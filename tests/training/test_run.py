import pytest

from axolotl_grpo_plugin.config import Config
from tests.conftest import Later

run = Later("axolotl_grpo_plugin.training.run")


@pytest.mark.parametrize(
    "bf16, has_gpu, expected", [(True, False, {"use_cpu": True}), (True, True, {}), (False, False, {})]
)
def test_bf16_without_gpu_asks_for_the_cpu(monkeypatch, bf16, has_gpu, expected):
    monkeypatch.setattr("torch.accelerator.is_available", lambda: has_gpu)
    assert run.arguments_of_cpu(Config({"bf16": bf16})) == expected
