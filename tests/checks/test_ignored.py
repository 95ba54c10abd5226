import pytest

from axolotl_grpo_plugin.checks.ignored import _similar
from axolotl_grpo_plugin.checks.validation import check_names
from axolotl_grpo_plugin.config import Config


def test_proposes_the_key_of_trl_for_one_without_its_plural():
    known = {"": {"num_generations_eval"}, "trl.": {"num_generations"}}
    assert _similar("num_generation", "", known) == "trl.num_generations"


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_proposes_the_usual_optimizer(name):
    (finding,) = check_names(Config({"optimizer": name}))
    assert (finding.code, finding.fix) == ("unknown-name", "Did you mean `adamw_torch`?")
