"""The counted parameters are those of the models that transformers builds."""

import pytest
from accelerate import init_empty_weights
from transformers import AutoConfig, AutoModelForCausalLM

from axolotl_grpo_plugin.checks.shapes import PUBLIC


@pytest.mark.parametrize(
    "name", ["Qwen2.5-0.5B", "Qwen2.5-7B", "Llama-3.2-1B", "Qwen3-0.6B", "Qwen3-8B"]
)
def test_parameters_are_those_that_transformers_makes(name):
    shape = PUBLIC[name]
    kind = "qwen2" if shape.bias else "qwen3" if shape.norms else "llama"
    config = AutoConfig.for_model(
        kind,
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        intermediate_size=shape.intermediate,
        vocab_size=shape.vocab,
        tie_word_embeddings=shape.tied,
    )
    with init_empty_weights():
        model = AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    assert shape.parameters == model.num_parameters()
