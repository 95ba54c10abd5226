import json

import pytest

from axolotl_grpo_plugin.checks.parameters import PUBLIC, parameters_of
from axolotl_grpo_plugin.findings import Finding

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


@pytest.mark.parametrize("name", PUBLIC)
def test_public_models_are_known_without_their_files(name):
    assert parameters_of({"base_model": f"somebody/{name}-Instruct"}) == PUBLIC[name]


def test_counts_parameters_from_config_json(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SMOLLM2))
    assert parameters_of({"base_model": str(tmp_path)}) == 134_515_008


def test_unknown_size_is_a_skipped_finding(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    for model, words in (
        (str(tmp_path), "'mamba'"),
        ("nobody/nothing", "Needs the model's config.json"),
        (None, "Needs the model's config.json"),
    ):
        found = parameters_of({"base_model": model})
        assert isinstance(found, Finding)
        assert found.level == "skipped"
        assert words in str(found)
