"""The gradient of an optimizer step is TRL's, for each loss and option, with fewer computed tokens."""

from itertools import product

import pytest

from tests.conftest import Later

pytestmark = [pytest.mark.xdist_group("gradients"), pytest.mark.seconds(60)]
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
