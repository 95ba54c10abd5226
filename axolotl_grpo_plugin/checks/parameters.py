"""Count a model's parameters from its config.json."""

import json
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.findings import Finding, at
from axolotl_grpo_plugin.hub import is_on_hub

# Models whose config.json need not be on this machine. Counted from the published files.
PUBLIC = {
    "Qwen2.5-0.5B": 494_032_768,
    "Qwen2.5-1.5B": 1_543_714_304,
    "Qwen2.5-3B": 3_085_938_688,
    "Qwen2.5-7B": 7_615_616_512,
    "Llama-3.2-1B": 1_235_814_400,
    "Llama-3.2-3B": 3_212_749_824,
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-1.7B": 1_720_574_976,
    "Qwen3-4B": 4_022_468_096,
    "Qwen3-8B": 8_190_735_360,
}


def parameters_of(cfg: Any) -> int | Finding:
    """Return the number of parameters of a raw config's model, a tied head counted once.

    The model's config.json is read if it is on this machine. Otherwise the model must be in PUBLIC.
    Returns a skipped finding if the size is not known.
    """
    model = cfg.get("base_model")
    where = at(cfg, f"base_model ({model})")
    file = _config_file(model, cfg.get("revision_of_model")) if isinstance(model, str) else None
    if file:
        config = json.loads(file.read_text(encoding="utf-8"))
        if count := count_parameters(config):
            return count
        what = f"the size of a {config.get('model_type')!r} model is not known"
        return Finding(where, what, "Needs a Llama, Mistral, Qwen2 or Qwen3", level="skipped")
    name = str(model).rpartition("/")[2].removesuffix("-Instruct")
    if name in PUBLIC:
        return PUBLIC[name]
    what, fix = "the model's size is not known", "Needs the model's config.json"
    return Finding(where, what, fix, level="skipped")


def _config_file(model: str, revision: Any) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    local = Path(model, "config.json")
    if model and local.is_file():
        return local
    if not is_on_hub(model):
        return None
    cached = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def count_parameters(config: dict[str, Any]) -> int | None:
    """Return the parameters of a dense decoder of the Llama family, None for any other model.

    >>> count_parameters({"model_type": "mamba"})
    """
    kind = config.get("model_type")
    if kind not in ("llama", "mistral", "qwen2", "qwen3"):
        return None
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head = config.get("head_dim") or hidden // heads
    attention = 2 * hidden * (heads + kv_heads) * head
    biases = (heads + 2 * kv_heads) * head if kind == "qwen2" else 0
    norms = 2 * hidden + (2 * head if kind == "qwen3" else 0)
    layer = attention + biases + norms + 3 * hidden * config["intermediate_size"]
    embeddings = config["vocab_size"] * hidden * (1 if config.get("tie_word_embeddings") else 2)
    return int(config["num_hidden_layers"] * layer + embeddings + hidden)
