"""Make a tiny random model of a config's architecture and vocabulary. No weights are downloaded."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.checks.parameters import PUBLIC
from axolotl_grpo_plugin.config import block
from axolotl_grpo_plugin.findings import Finding, at, first_line, nearest, stop_on
from axolotl_grpo_plugin.hub import is_on_hub

LAYERS = 2
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "moe_intermediate_size": 64,
    "num_attention_heads": 4,
    "head_dim": 16,
    "num_hidden_layers": LAYERS,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}
# model_type, vocabulary and tied embeddings of the models in PUBLIC. The first prefix counts.
ARCHITECTURES = {
    "Qwen2.5-7B": ("qwen2", 152_064, False),
    "Qwen2.5": ("qwen2", 151_936, True),
    "Qwen3-8B": ("qwen3", 151_936, False),
    "Qwen3": ("qwen3", 151_936, True),
    "Llama-3.2": ("llama", 128_256, True),
}
NUMBERED = (
    "lora_target_modules",
    "lora_modules_to_save",
    "unfrozen_parameters",
    "peft_layers_to_transform",
)


def make(cfg: Any, folder: Path, offline: bool) -> tuple[Any, str]:
    """Write the tiny model, and return it with a line on it.

    Raises: ConfigError if the architecture is not known or transformers cannot build it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    sizes, source = _config(cfg, offline)
    small = shrunken(sizes, deep=any(re.search(r"\d", str(cfg.get(key))) for key in NUMBERED))
    try:
        torch.manual_seed(0)
        config = AutoConfig.for_model(**small, dtype="float32")
        model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # transformers raises anything for a config that it cannot build
        what = f"transformers cannot build the model: {first_line(error)}"
        fix = "Correct config.json. A model with code of its own cannot be rehearsed"
        stop_on([Finding(at(cfg, f"base_model ({cfg.get('base_model')})"), what, fix)])
    model.save_pretrained(folder)
    line = (
        f"a random {type(model).__name__} in place of {cfg['base_model']}: {config.num_hidden_layers} "
        f"layers of width {config.hidden_size}, {config.vocab_size:,} tokens (by {source})"
    )
    return model, line


def _config(cfg: Any, offline: bool) -> tuple[dict[str, Any], str]:
    """Return the model's config.json and its origin."""
    from transformers import AutoConfig

    model = str(cfg.get("base_model_config") or cfg.get("base_model"))
    short = re.sub(r"-(Instruct|Base)$", "", model.rpartition("/")[2])
    kind = next((name for name in ARCHITECTURES if short.startswith(name)), None)
    try:
        found = AutoConfig.from_pretrained(
            model,
            revision=cfg.get("revision_of_model") or "main",
            local_files_only=offline,
            trust_remote_code=False,
        )
        return found.to_dict(), "its config.json"
    except Exception as error:  # the hub's client, or a broken file
        if is_on_hub(model) and short in PUBLIC and kind:
            model_type, vocabulary, tied = ARCHITECTURES[kind]
            known = AutoConfig.for_model(
                model_type, vocab_size=vocabulary, tie_word_embeddings=tied
            )
            return known.to_dict(), "its published shape"
        what = f"its config.json cannot be read: {first_line(error)}"
        fix = "Rehearse with access to the hub, or name the model's folder"
        stop_on([Finding(at(cfg, f"base_model ({model})"), what, fix)])
        raise


def shrunken(config: dict[str, Any], deep: bool) -> dict[str, Any]:
    """Return a config.json with small sizes and the same vocabulary. deep: keep the number of layers."""
    small = {**config, **{key: size for key, size in SIZES.items() if config.get(key)}}
    heads = config.get("num_attention_heads")
    if config.get("num_key_value_heads"):
        small["num_key_value_heads"] = 4 if config["num_key_value_heads"] == heads else 2
    if deep:
        small["num_hidden_layers"] = config["num_hidden_layers"]
    if config.get("layer_types"):
        small["layer_types"] = config["layer_types"][: small["num_hidden_layers"]]
    for key in ("quantization_config", "dtype", "torch_dtype", "architectures"):
        small.pop(key, None)
    return small


def check_modules(cfg: Any, model: Any) -> Iterator[Finding]:
    """Check that the architecture has the adapter's modules and the layers that FSDP wraps.

    PEFT ignores a target that is missing, if another one exists.
    """
    names = {name for name, _ in model.named_modules()}
    ends = {name.rpartition(".")[2] for name in names}
    for key in ("lora_target_modules", "lora_modules_to_save"):
        targets = cfg.get(key)
        for target in targets if isinstance(targets, list) and cfg.get("adapter") else ():
            if not any(f".{name}".endswith(f".{target}") for name in names):
                what = f"{type(model).__name__} has no such module"
                yield Finding(at(cfg, f"{key} ({target})"), what, nearest(str(target), ends))
    classes = {type(module).__name__ for module in model.modules()}
    key = "transformer_layer_cls_to_wrap"
    for name in str(block(cfg, "fsdp_config").get(key) or "").split(","):
        if name.strip() and name.strip() not in classes:
            what = f"{type(model).__name__} has no such layer"
            layers = {each for each in classes if each.endswith("Layer")}
            where = at(cfg, f"fsdp_config.{key} ({name.strip()})")
            yield Finding(where, what, nearest(name.strip(), layers))
