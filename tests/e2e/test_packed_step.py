"""The gradient of an optimizer step is TRL's, for each loss and option, with fewer computed tokens."""

import json
from itertools import product

import pytest

from tests.conftest import Later
from tests.e2e.conftest import torchrun

gradients = Later("tests.e2e.gradients")

LOSSES = ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo")
SOME = ("grpo", "dapo", "bnpo")
CLOSE = 1e-5
SETTINGS = [
    *({"loss_type": loss, "beta": beta} for loss, beta in product(LOSSES, (0.0, 0.04))),
    *({"loss_type": loss, "mask_truncated_completions": True} for loss in SOME),
    *({"loss_type": loss, "mask_truncated_completions": True, "beta": 0.04} for loss in SOME),
    *({"loss_type": loss, "tools": True} for loss in SOME),
    *({"loss_type": loss, "num_iterations": 2, "steps": 2} for loss in SOME),
    *({"loss_type": loss, "vllm": True} for loss in (*SOME, "vespo", "cispo")),
    *({"loss_type": loss, "steps_per_generation": 8, "accumulation": 4} for loss in SOME),
    {"loss_type": "dapo", "vllm": True, "tools": True, "importance_sampling_level": "sequence"},
    {"loss_type": "dapo", "vllm": True, "vllm_importance_sampling_mode": "sequence_mask"},
    {"loss_type": "dapo", "vllm": True, "off_policy_mask_threshold": 0.5},
    {"loss_type": "grpo", "pad_to_multiple_of": 8},
    {"loss_type": "grpo", "entropy_coef": 0.01},
    {"loss_type": "grpo", "top_entropy_quantile": 0.2},
    {"loss_type": "grpo", "scale_rewards": "batch"},
    {"loss_type": "dapo", "delta": 2.0, "num_iterations": 2, "steps": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gradient_is_that_of_trl(tmp_path, settings):
    expected, _ = gradients.gradients(tmp_path, None, **settings)
    found, trainer = gradients.gradients(tmp_path, {}, **settings)
    assert gradients.difference(expected, found) < (3 if settings.get("vllm") else 1) * CLOSE
    metrics = trainer._metrics["train"]
    assert sum(metrics["tokens/computed"]) < 0.85 * sum(metrics["tokens/computed_by_trl"])


def test_step_without_gradients_logs_no_metrics_of_its_passes(tmp_path):
    found, trainer = gradients.gradients(tmp_path, {}, loss_type="dapo", dead=True)
    assert all((value == 0).all() for value in found.values())
    metrics = trainer._metrics["train"]
    assert all(metrics.values()) and "entropy" not in metrics  # TRL would log an empty list as None
    assert metrics["frac_reward_zero_std"]


def test_update_of_two_ranks_is_that_of_trl(tmp_path):
    torchrun("gradients_on_ranks.py", tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for result in (*first, *second):
        plain, lean = result["passes"]
        assert plain == lean  # else a rank would wait for the other one
        assert result["apart"] < 3 * CLOSE
    assert [result["logged"] for result in first] == [result["logged"] for result in second]  # gathered
    for own, other in zip(first, second, strict=True):
        # All groups of the second rank are dead, so it computes rows of the first one.
        if own["loss"] != "bnpo":  # which cannot sort
            assert 0.6 < own["tokens"] / other["tokens"] < 1.7


@pytest.mark.parametrize("part", ("trim_padding", "skip_zero_advantage", "share_prompts"))
def test_each_part_alone_computes_fewer_tokens(tmp_path, part):
    keys = ("trim_padding", "skip_zero_advantage", "share_prompts")
    cfg = {f"grpo_{key}": key == part for key in keys}
    settings = {"loss_type": "dapo", "beta": 0.0, "micro": 4, "accumulation": 4}
    expected, _ = gradients.gradients(tmp_path, None, **settings)
    found, trainer = gradients.gradients(tmp_path, cfg, **settings)
    assert gradients.difference(expected, found) < CLOSE
    metrics = trainer._metrics["train"]
    assert sum(metrics["tokens/computed"]) < 0.95 * sum(metrics["tokens/computed_by_trl"])


@pytest.mark.parametrize("adapter", (True, False))
def test_gradient_of_shared_prompts_with_adapter_is_that_of_trl(tmp_path, adapter):
    settings = {"loss_type": "grpo", "beta": 0.04, "micro": 16, "accumulation": 1, "lora": adapter}
    expected, _ = gradients.gradients(tmp_path, None, **settings)
    found, trainer = gradients.gradients(tmp_path, {}, **settings)
    assert "share" in trainer.lean.on
    assert gradients.difference(expected, found) < CLOSE


def test_shares_no_prompts_with_gradient_checkpointing(tmp_path):
    _, trainer = gradients.gradients(tmp_path, {}, gradient_checkpointing=True)
    assert "no share: gradient checkpointing keeps no cache" in trainer.lean.summary
