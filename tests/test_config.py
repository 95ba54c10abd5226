"""The typed view of a config."""

import pytest

from axolotl_grpo_plugin.config import Config, limit_prompts


@pytest.mark.parametrize(
    "written, whole, number, flag",
    [
        (8, 8, 8.0, None),
        ("8", 8, 8.0, None),
        (" -1 ", -1, -1.0, None),
        (8.0, 8, 8.0, None),
        (0.5, None, 0.5, None),
        ("1e-6", None, 1e-6, None),
        (1, 1, 1.0, True),
        ("No", None, None, False),
        (True, None, None, True),
        (float("inf"), None, float("inf"), None),
        ("many", None, None, None),
        ([8], None, None, None),
        (None, None, None, None),
    ],
)
def test_values_are_read_leniently(written, whole, number, flag):
    trl = Config({"trl": {"top_k": written, "beta": written, "use_vllm": written}}).trl
    assert (trl.top_k, trl.beta, trl.use_vllm) == (whole, number, flag)


@pytest.mark.parametrize("written", [None, "no block", ["trl"]])
def test_block_that_is_no_mapping_is_empty(written):
    cfg = Config({"trl": written, "datasets": written})
    assert not cfg.trl and cfg.trl.reward_funcs == [] and cfg.datasets == []
    assert cfg.value_at("trl") == written and cfg.value_at("trl.beta") is None


def test_look_up_sees_every_change_of_the_mapping():
    raw = {"trl": {"max_completion_length": "512"}, "sequence_len": 800}
    cfg = Config(raw)
    trl = cfg.trl
    assert cfg.grpo_max_prompt_length is None
    limit_prompts(cfg)
    assert (cfg.grpo_max_prompt_length, raw["grpo_max_prompt_length"]) == (288, 288)
    raw["trl"]["beta"] = "0.1"
    assert cfg.trl.beta == trl.beta == 0.1
    raw["trl"] = {"beta": 0.2}
    assert cfg.trl.beta == 0.2


def test_attribute_cannot_be_set():
    """The block of a config without the key is no part of it, so that the value would be lost."""
    with pytest.raises(AttributeError, match="write beta into `raw`"):
        Config({}).trl.beta = 0.1


def test_changed_copy_leaves_the_config_as_it_is():
    cfg = Config({"rl": "grpo", "axolotl_config_path": "a.yaml"})
    assert (cfg.changed(rl="gdpo").rl, cfg.rl) == ("gdpo", "grpo")
    assert cfg.at("rl") == "a.yaml: rl" and Config({}).at("rl") == "rl"
