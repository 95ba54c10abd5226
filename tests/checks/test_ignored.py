import pytest

from axolotl_grpo_plugin.checks.ignored import _similar, check_unread
from axolotl_grpo_plugin.checks.validation import check_names
from axolotl_grpo_plugin.config import Config


def test_proposes_the_key_of_trl_for_one_without_its_plural():
    known = {"": {"num_generations_eval"}, "trl.": {"num_generations"}}
    assert _similar("num_generation", "", known) == "trl.num_generations"


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_proposes_the_usual_optimizer(name):
    (finding,) = check_names(Config({"optimizer": name}))
    assert (finding.code, finding.fix) == ("unknown-name", "Did you mean `adamw_torch`?")


@pytest.mark.parametrize(
    "trl, fix",
    [
        ({}, "Set trl.use_vllm: true, or remove it"),
        ({"use_vllm": True}, None),
        (
            {"use_vllm": True, "vllm_importance_sampling_correction": False},
            "Set trl.vllm_importance_sampling_correction: true, or remove it",
        ),
    ],
)
def test_names_a_limit_on_a_difference_that_nothing_measures(trl, fix):
    found = check_unread(Config({"trl": trl, "grpo_max_logprob_difference": 0.5}))
    limits = [finding.fix for finding in found if finding.where == "grpo_max_logprob_difference"]
    assert limits == ([fix] if fix else [])
