"""A run that keeps its best model, and ends when its held-out answers are good enough."""

import json

import pytest

from tests.conftest import Later
from tests.e2e.conftest import axolotl, shipped_config, write

transformers = Later("transformers")

FEW = {
    "grpo_held_out_rows": 16,
    "grpo_eval_steps": 2,
    "grpo_keep_best": True,
    "grpo_stop_at": 0.25,  # the shipped model has 67 %
    "micro_batch_size": 16,
    "max_steps": 6,
    "save_strategy": "steps",
    "save_steps": 2,
}
LORA = {"adapter": "lora", "lora_r": 4, "lora_alpha": 8, "lora_target_linear": True}


@pytest.mark.parametrize("keys", [{}, pytest.param(LORA, marks=pytest.mark.slow)], ids=["whole", "lora"])
def test_ends_at_the_share_with_its_best_model(tmp_path, keys):
    config = write(tmp_path, shipped_config(**FEW, **keys))
    out = tmp_path / "out"
    screen = axolotl("train", config, "--output-dir", out)
    assert "% right, greedy" in screen and "so grpo_stop_at 0.25 ends the run" in screen
    assert [path.name for path in out.glob("checkpoint-*")] == ["checkpoint-2"]
    record = json.loads((out / "best" / "best.json").read_text())
    assert record["step"] == 2 and record["kind"] == "right" and record["greedy"] >= 0.25
    assert transformers.AutoModelForCausalLM.from_pretrained(out / "best").num_parameters() > 1000
    for text in (screen, (out / "README.md").read_text()):
        assert f"step 2: {record['greedy']:.1%} right, greedy" in text and "best/" in text
    again = axolotl("train", config, "--output-dir", out, "--auto-resume-from-checkpoints")
    assert "nothing to do: the run has ended (step 2: " in again and "Raise grpo_stop_at to train on" in again
