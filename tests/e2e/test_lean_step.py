"""The gradient of an optimizer step is TRL's, for each loss and option, with fewer computed tokens."""

import json
import subprocess
import sys
from itertools import product

import pytest

from tests.conftest import Later
from tests.e2e.conftest import ROOT, environment

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


def test_step_without_gradients_logs_no_metrics_of_its_passes(tmp_path):
    found, trainer = gradients.gradients(tmp_path, {}, loss_type="dapo", dead=True)
    assert all((value == 0).all() for value in found.values())
    metrics = trainer._metrics["train"]
    assert all(metrics.values()) and "entropy" not in metrics  # TRL would log an empty list as None
    assert metrics["frac_reward_zero_std"]


def test_update_of_two_ranks_is_that_of_trl(tmp_path):
    script = ROOT / "tests" / "e2e" / "gradients_on_ranks.py"
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        [sys.executable, *torchrun, script, tmp_path],
        env=environment(PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for result in (*first, *second):
        apart, passes, lean_passes, *_ = result
        assert apart < 3 * CLOSE
        assert passes == lean_passes  # else a rank would wait for the other one
    assert [result[3:] for result in first] == [result[3:] for result in second]  # gathered
