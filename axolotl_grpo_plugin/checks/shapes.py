"""What a model's config.json says of its size: shapes, parameters, bytes of a token in the KV cache."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks import Finding
from axolotl_grpo_plugin.checks.hub import is_on_hub
from axolotl_grpo_plugin.checks.modules import at


class Shape(NamedTuple):
    """A dense decoder of the Llama family, in its config.json's words. Sizes in numbers, not bytes.

    bias: query, key and value have one (Qwen2). norms: query and key have a norm (Qwen3).
    positions: the longest sequence that the model takes, 0 where it is not known.
    """

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    tied: bool
    bias: bool = False
    norms: bool = False
    positions: int = 0

    @property
    def linear(self) -> dict[str, tuple[int, int]]:
        """A layer's matrices, by their names in transformers: numbers in, numbers out."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, key),
            "v_proj": (self.hidden, key),
            "o_proj": (query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }

    @property
    def matrices(self) -> int:
        """Parameters in all layers' matrices: what 4-bit and 8-bit loading quantizes."""
        return self.layers * sum(taken * given for taken, given in self.linear.values())

    @property
    def embeddings(self) -> int:
        """Parameters of the embedding and, where it is another, of the head."""
        return self.vocab * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All of them, a tied head counted once."""
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim if self.bias else 0
        norms = 2 * self.hidden + (2 * self.head_dim if self.norms else 0)
        return self.matrices + self.embeddings + self.layers * (biases + norms) + self.hidden

    def kv_token_bytes(self, size: int = 2) -> int:
        """Bytes that a token takes in the KV cache, at `size` bytes a number."""
        return 2 * self.layers * self.kv_heads * self.head_dim * size


# hidden, layers, heads, kv heads, head dim, intermediate, vocabulary, tied: the published config.json files.
PUBLIC = {
    "Qwen2.5-0.5B": Shape(896, 24, 14, 2, 64, 4864, 151936, True, bias=True, positions=32768),
    "Qwen2.5-1.5B": Shape(1536, 28, 12, 2, 128, 8960, 151936, True, bias=True, positions=32768),
    "Qwen2.5-3B": Shape(2048, 36, 16, 2, 128, 11008, 151936, True, bias=True, positions=32768),
    "Qwen2.5-7B": Shape(3584, 28, 28, 4, 128, 18944, 152064, False, bias=True, positions=32768),
    "Llama-3.2-1B": Shape(2048, 16, 32, 8, 64, 8192, 128256, True, positions=131072),
    "Llama-3.2-3B": Shape(3072, 28, 24, 8, 128, 8192, 128256, True, positions=131072),
    "Qwen3-0.6B": Shape(1024, 28, 16, 8, 128, 3072, 151936, True, norms=True, positions=40960),
    "Qwen3-1.7B": Shape(2048, 28, 16, 8, 128, 6144, 151936, True, norms=True, positions=40960),
    "Qwen3-4B": Shape(2560, 36, 32, 8, 128, 9728, 151936, True, norms=True, positions=40960),
    "Qwen3-8B": Shape(4096, 36, 32, 8, 128, 12288, 151936, False, norms=True, positions=40960),
}


def shape_of(cfg: Any) -> Shape | Finding:
    """The shape of a raw config's model: from its config.json if that is on this machine, else a public one."""
    model = cfg.get("base_model")
    where = at(cfg, f"base_model ({model})")
    file = _config_file(model, cfg.get("revision_of_model")) if isinstance(model, str) else None
    if file:
        said = json.loads(file.read_text(encoding="utf-8"))
        shape = _read(said)
        if shape:
            return shape
        what = f"the size of a {said.get('model_type')!r} model is not computed here"
        return Finding(where, what, "needs a Llama, Mistral, Qwen2 or Qwen3", level="skipped")
    name = str(model).rpartition("/")[2].removesuffix("-Instruct")
    if name in PUBLIC:
        return PUBLIC[name]
    what, mend = "the model's size is not known", "needs the model's config.json"
    return Finding(where, what, mend, level="skipped")


def _config_file(model: str, revision: Any) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    local = Path(model, "config.json")
    if model and local.is_file():
        return local
    if not is_on_hub(model):
        return None
    cached = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(cached) if isinstance(cached, str) else None


def _read(said: dict[str, Any]) -> Shape | None:
    kind = said.get("model_type")
    if kind not in ("llama", "mistral", "qwen2", "qwen3"):
        return None
    heads = said["num_attention_heads"]
    return Shape(
        hidden=said["hidden_size"],
        layers=said["num_hidden_layers"],
        heads=heads,
        kv_heads=said.get("num_key_value_heads") or heads,
        head_dim=said.get("head_dim") or said["hidden_size"] // heads,
        intermediate=said["intermediate_size"],
        vocab=said["vocab_size"],
        tied=said.get("tie_word_embeddings", False),
        bias=kind == "qwen2",
        norms=kind == "qwen3",
        positions=said.get("max_position_embeddings") or 0,
    )
