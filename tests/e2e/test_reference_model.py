"""Axolotl loads the model once, and TRL loads a reference model if the KL term needs one."""

import re

import pytest

from tests.e2e.conftest import axolotl, curves, shipped_config, write

LORA = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True}


@pytest.mark.parametrize("loads, keys", [(1, {}), (2, {"trl__beta": 0.04}), (1, {"trl__beta": 0.04, **LORA})])
def test_loads_no_model_that_nothing_uses(tmp_path, loads, keys):
    file = write(tmp_path, shipped_config(**keys, warmup_steps=0, grpo_held_out_rows=None, test_datasets=None))
    output = axolotl("train", file, "--max-steps", 3, "--output-dir", tmp_path / "out")
    assert len(re.findall("Loading weights: +0%", output)) == loads
    kl = curves(tmp_path / "out").get("kl", [])
    assert [value > 0 for value in kl] == ([False, True, True] if "trl__beta" in keys else [])
