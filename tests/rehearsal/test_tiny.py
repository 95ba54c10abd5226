from axolotl_grpo_plugin.rehearsal.tiny import shrunken

QWEN = {
    "model_type": "qwen2",
    "vocab_size": 152_064,
    "hidden_size": 3584,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "num_hidden_layers": 28,
    "layer_types": ["full_attention"] * 28,
    "tie_word_embeddings": False,
    "quantization_config": {"bits": 4},
}


def test_keeps_architecture_vocabulary_and_ties():
    small = shrunken(QWEN, deep=False)
    for key in ("model_type", "vocab_size", "tie_word_embeddings"):
        assert small[key] == QWEN[key]
    assert (small["hidden_size"], small["num_hidden_layers"]) == (64, 2)
    assert (small["num_attention_heads"], small["num_key_value_heads"]) == (4, 2)
    assert small["layer_types"] == ["full_attention"] * 2
    assert "quantization_config" not in small and "head_dim" not in small


def test_keeps_the_layers_that_a_config_numbers():
    assert shrunken(QWEN, deep=True)["num_hidden_layers"] == 28
