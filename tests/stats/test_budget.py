import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.counts import Lengths
from axolotl_grpo_plugin.stats.budget import KEPT, budget, settings

GSM8K = Lengths([100] * 900 + [200] * 99 + [263])  # its longest, with Qwen2.5's tokenizer


def test_fewer_kept_rows_lower_the_context():
    made = budget(GSM8K, 512, kept=0.95)
    assert (made.prompt, made.dropped, made.context) == (200, 1, 736)
    assert budget(GSM8K, 512, kept=0.8)[1:] == (100, 100, 512, 640)


def test_every_budget_keeps_its_share_of_rows():
    for option in [budget(GSM8K, 500, kept) for kept in KEPT]:
        assert option.dropped <= (1 - option.kept) * GSM8K.rows + 1e-9
        assert option.context % 32 == 0 and option.prompt + 500 <= option.context


@pytest.mark.parametrize(
    "cfg, keys",
    [
        ({}, {"trl.max_completion_length", "sequence_len", "vllm.max_model_len"}),
        ({"trl": {}}, {"trl.max_completion_length", "sequence_len"}),
        ({"trl": {"use_vllm": True}}, {"trl.max_completion_length", "sequence_len", "vllm.max_model_len"}),
        ({"trl": {"use_vllm": False}}, {"trl.max_completion_length", "sequence_len"}),
        (
            {"trl": {"use_vllm": False}, "grpo_max_prompt_length": 100},
            {"trl.max_completion_length", "sequence_len", "grpo_max_prompt_length"},
        ),
    ],
)
def test_settings_name_the_keys_that_the_config_uses(cfg, keys):
    made = settings(Config(cfg), budget(GSM8K, 512))
    assert set(made) == keys
    assert made.get("grpo_max_prompt_length", 288) == 288
