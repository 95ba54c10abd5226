import json

import pytest

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks.shapes import PUBLIC, Shape, shape_of

SMOLLM2 = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
# As the models' pages on the hub have them, in thousands of millions.
PUBLISHED = {
    "Qwen2.5-0.5B": 0.494,
    "Qwen2.5-1.5B": 1.54,
    "Qwen2.5-3B": 3.09,
    "Qwen2.5-7B": 7.62,
    "Llama-3.2-1B": 1.24,
    "Llama-3.2-3B": 3.21,
    "Qwen3-0.6B": 0.596,
    "Qwen3-1.7B": 1.72,
    "Qwen3-4B": 4.02,
    "Qwen3-8B": 8.19,
}


@pytest.mark.parametrize("name", PUBLIC)
def test_parameters_are_the_published_ones(name):
    digits = len(str(PUBLISHED[name]).partition(".")[2])
    assert round(PUBLIC[name].parameters / 1e9, digits) == PUBLISHED[name]
    assert shape_of({"base_model": f"somebody/{name}-Instruct"}) == PUBLIC[name]


def test_smollm2_from_its_config(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    shape = shape_of({"base_model": str(tmp_path)})
    assert isinstance(shape, Shape)
    assert shape.parameters == 134_515_008
    assert shape.kv_token_bytes() == 2 * 30 * 3 * 64 * 2


def test_what_is_not_known_is_skipped(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    for model, words in (
        (str(tmp_path), "'mamba'"),
        ("nobody/nothing", "needs the model's config.json"),
        (None, "needs the model's config.json"),
    ):
        found = shape_of({"base_model": model})
        assert isinstance(found, Finding)
        assert found.level == "skipped"
        assert words in str(found)
