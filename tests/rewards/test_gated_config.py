"""The scores of plain and gated layout rewards in the two GSM8K configs."""

import pytest
import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.load import load_reward, logged_names, reward_refs
from axolotl_grpo_plugin.paths import shipped
from tests.rewards.helpers import named, tagged

CONFIGS = {
    name: yaml.safe_load((shipped("configs") / path).read_text())
    for name, path in (("plain", "quickstart.yaml"), ("gated", "shaping/quickstart-gated.yaml"))
}


def scores(name, completion, answer):
    rewards = [load_reward(reward) for reward in reward_refs(Config(CONFIGS[name]))]
    return [reward([""], [completion], answer=[answer])[0] for reward in rewards]


# id, completion, sum of the plain config's scores, sum of the gated config's; the gold is 18
TOTALS = [
    ("well-formed, right", tagged("18"), 3.75, 3.75),
    ("well-formed, wrong", tagged("17"), 1.75, 0),
    ("a reasoning of one dot", tagged("0", "."), 1.0, 0),  # a block without a letter or digit is empty
    ("well-formed, several numbers", tagged("17 or 18"), 1.25, 0),
    ("well-formed, no number", tagged("x"), 1.25, 0),
    ("right, with a unit", tagged("18 dollars"), 3.25, 3.25),
    ("right, on one line", "<reasoning>a</reasoning><answer>18</answer>", 3.25, 3.25),
    ("right, no reasoning tags", "<answer>18</answer>", 2.75, 2.75),
    ("wrong, no reasoning tags", "<answer>17</answer>", 0.75, 0),
    ("right answer, then a wrong one", tagged("18") + "\n<answer>17</answer>", 0.75, 0),
    ("text after a right answer", tagged("18") + "x" * 10_000, 2.875, 2.875),
    ("truncated", tagged("18").removesuffix("\n</answer>"), 0.375, 0),
    ("right, without tags", "18", 0, 0),
    ("empty tags", tagged("", ""), 0, 0),
    ("nothing", "", 0, 0),
]


@pytest.mark.parametrize(("completion", "plain", "gated"), named(TOTALS))
def test_gated_config_pays_layout_of_right_answers_only(completion, plain, gated):
    assert sum(scores("plain", completion, "18")) == pytest.approx(plain)
    assert sum(scores("gated", completion, "18")) == pytest.approx(gated)


def test_unreadable_gold_is_neutral_in_every_gated_reward():
    assert scores("plain", tagged("18"), "?") == [None, 0.5, 0.5, 0.25, 0.5]
    assert scores("gated", tagged("18"), "?") == [None] * 5


def test_gated_rewards_are_logged_under_their_aliases():
    names = ["correctness_reward_func", "int", "strict_format", "soft_format", "xmlcount"]
    assert logged_names(reward_refs(Config(CONFIGS["gated"]))) == names


def test_configs_differ_in_rewards_and_output_dir_only():
    plain, gated = ({**given, "trl": {**given["trl"]}} for given in CONFIGS.values())
    for given in (plain, gated):
        del given["trl"]["reward_funcs"], given["output_dir"]
    del gated["grpo_reward_args"]
    assert plain == gated
