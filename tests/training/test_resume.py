"""A run that has reached its end has nothing to do; another one goes on from its newest whole checkpoint."""

import json

import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.training.resume import choose_checkpoint, nothing_to_do


@pytest.fixture
def cfg(tmp_path):
    """The config of a run that has ended after 6 steps, which are one epoch."""
    for step, epoch in ((3, 0.5), (6, 0.9999999)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        state = {"global_step": step, "epoch": epoch}
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))
    (tmp_path / "adapter_model.safetensors").touch()
    (tmp_path / "run.json").write_text('{"Ended": "2026-11-25 07:43 UTC"}')
    return {"output_dir": str(tmp_path), "auto_resume_from_checkpoints": True}


@pytest.mark.parametrize(
    "changes, end",
    [
        ({"max_steps": 6}, "max_steps 6"),
        ({"max_steps": "6"}, "max_steps 6"),  # a raw option
        ({"max_steps": 5}, "max_steps 5"),
        ({"max_steps": 7}, ""),
        ({"max_steps": 7, "num_epochs": 1}, ""),  # max_steps has precedence
        ({}, "num_epochs 1"),  # Axolotl's default
        ({"num_epochs": 1, "max_steps": -1}, "num_epochs 1"),
        ({"num_epochs": 1.5}, ""),
        ({"max_steps": 6, "auto_resume_from_checkpoints": False}, ""),  # begins again
    ],
)
def test_end_is_the_limit_of_the_config(cfg, tmp_path, changes, end):
    line = f"output_dir ({tmp_path}): nothing to do: checkpoint-6 is the end ({end})."
    said = nothing_to_do(Config({**cfg, **changes}))
    assert str(said).startswith(line) if end else said is None


def test_named_checkpoint_may_be_the_end(cfg, tmp_path):
    named = {**cfg, "max_steps": 6, "auto_resume_from_checkpoints": None}
    for checkpoint, is_end in ((tmp_path / "checkpoint-6", True), (tmp_path / "checkpoint-3", False), ("/6", False)):
        said = nothing_to_do(Config({**named, "resume_from_checkpoint": str(checkpoint)}))
        assert ("checkpoint-6 is the end" in str(said)) is is_end


@pytest.mark.parametrize("missing", ["run.json", "adapter_model.safetensors"])
def test_run_that_was_killed_before_it_saved_its_model_goes_on(cfg, tmp_path, missing):
    (tmp_path / missing).unlink()
    assert nothing_to_do(Config({**cfg, "max_steps": 6})) is None


def test_axolotl_gets_the_newest_whole_checkpoint(cfg, tmp_path):
    (tmp_path / "checkpoint-6" / "trainer_state.json").write_text("")
    choose_checkpoint(Config(cfg))
    assert cfg["resume_from_checkpoint"] == f"{tmp_path}/checkpoint-3"
    (tmp_path / "checkpoint-3" / "trainer_state.json").unlink()
    again = {"output_dir": str(tmp_path), "auto_resume_from_checkpoints": True}
    choose_checkpoint(Config(again))
    assert again == {"output_dir": str(tmp_path), "auto_resume_from_checkpoints": False}
