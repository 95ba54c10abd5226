import json

import pytest
import yaml

from axolotl_grpo_plugin.checks.parameters import PUBLIC, parameters_of, shape_of
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Finding

# From the published config.json of each model.
KEYS = (
    "model_type hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim "
    "intermediate_size vocab_size tie_word_embeddings"
).split()
SHAPES = """
SmolLM2-135M llama 576  30 9  3 64  1536  49152  true
Qwen2.5-0.5B qwen2 896  24 14 2 64  4864  151936 true
Qwen2.5-1.5B qwen2 1536 28 12 2 128 8960  151936 true
Qwen2.5-3B   qwen2 2048 36 16 2 128 11008 151936 true
Qwen2.5-7B   qwen2 3584 28 28 4 128 18944 152064 false
Qwen2.5-14B  qwen2 5120 48 40 8 128 13824 152064 false
Qwen2.5-32B  qwen2 5120 64 40 8 128 27648 152064 false
Llama-3.2-1B llama 2048 16 32 8 64  8192  128256 true
Llama-3.2-3B llama 3072 28 24 8 128 8192  128256 true
Qwen3-0.6B   qwen3 1024 28 16 8 128 3072  151936 true
Qwen3-1.7B   qwen3 2048 28 16 8 128 6144  151936 true
Qwen3-4B     qwen3 2560 36 32 8 128 9728  151936 true
Qwen3-8B     qwen3 4096 36 32 8 128 12288 151936 false
"""


@pytest.mark.parametrize("line", SHAPES.strip().splitlines())
def test_known_sizes_match_config_json(line, tmp_path):
    name, *values = line.split()
    config = dict(zip(KEYS, map(yaml.safe_load, values), strict=True))
    (tmp_path / "config.json").write_text(json.dumps(config))
    shape = shape_of(Config({"base_model": str(tmp_path)}))
    assert shape == PUBLIC.get(name, (134_515_008, 30, 576, 1536, 49152))
    assert name not in PUBLIC or shape_of(Config({"base_model": f"a/{name}-Instruct"})) == shape
    assert parameters_of(Config({"base_model": str(tmp_path)})) == shape.parameters


@pytest.mark.parametrize("model", ["nobody/nothing", None, "an unknown kind"])
def test_unknown_size_is_a_skipped_finding(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "an unknown kind").mkdir()
    (tmp_path / "an unknown kind" / "config.json").write_text('{"model_type": "no-such-kind"}')
    found = parameters_of(Config({"base_model": model}))
    assert isinstance(found, Finding)
    assert found.level == "skipped"
    assert ("`no-such-kind`" in found.what) == (model == "an unknown kind")
