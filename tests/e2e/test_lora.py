"""A LoRA run of the embedded model."""

import pytest

from axolotl_grpo_plugin.training.record import facts
from tests.e2e.conftest import axolotl, shipped_config, write

LORA = {"adapter": "lora", "lora_r": 8, "lora_alpha": 16, "lora_target_linear": True, "learning_rate": 1e-3}


@pytest.mark.seconds(30)
def test_card_says_that_the_base_is_unchanged(tmp_path):
    config = write(tmp_path, shipped_config(max_steps=1, grpo_held_out_rows=None, **LORA))
    axolotl("train", config, "--output-dir", tmp_path / "out")
    assert facts(tmp_path / "out" / "run.yaml")["Base"].startswith("unchanged (all")
    assert "| Base | `unchanged (all" in (tmp_path / "out" / "README.md").read_text()
