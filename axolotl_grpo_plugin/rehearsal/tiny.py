"""Make a tiny random model of a config's architecture and vocabulary. No weights are downloaded."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from axolotl_grpo_plugin.checks.parameters import PUBLIC
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.hub import is_on_hub
from axolotl_grpo_plugin.findings import Finding, Findings, fault, first_line, nearest, stop

if TYPE_CHECKING:
    from transformers import PreTrainedModel

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
# model_type of the models in PUBLIC, by the beginning of their names.
ARCHITECTURES = {"Qwen2.5": "qwen2", "Qwen3": "qwen3", "Llama": "llama"}
UNTIED = ("-7B", "-8B")  # these have other weights for the embeddings than for the logits
NUMBERED = (
    "lora_target_modules",
    "lora_modules_to_save",
    "unfrozen_parameters",
    "peft_layers_to_transform",
)


def make(cfg: Config, folder: Path, offline: bool) -> tuple["PreTrainedModel", str]:
    """Write the tiny model, and return it with a line on it.

    Raises: FindingError if the architecture is not known or transformers cannot build it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    sizes, source = _config(cfg, offline)
    deep = any(re.search(r"\d", str(cfg.value_at(key))) for key in NUMBERED)
    try:
        torch.manual_seed(0)
        config = AutoConfig.for_model(**shrunken(sizes, deep), dtype="float32")
        model = AutoModelForCausalLM.from_config(config)
    except Exception as error:  # transformers raises anything for a config that it cannot build
        stop(
            "cannot-be-built",
            f"base_model ({cfg.base_model})",
            f"transformers cannot build the model: {first_line(error)}",
            "Correct config.json. A model with code of its own cannot be rehearsed",
        )
    model.save_pretrained(folder)
    return model, (
        f"a random {type(model).__name__} in place of {cfg.base_model}: "
        f"{config.num_hidden_layers} layers, {config.vocab_size:,} tokens (by {source})"
    )


def _config(cfg: Config, offline: bool) -> tuple[dict[str, Any], str]:
    """Return the model's config.json and its origin."""
    from transformers import AutoConfig

    model = str(cfg.base_model_config or cfg.base_model)
    try:
        found = AutoConfig.from_pretrained(
            model, revision=cfg.revision_of_model or "main", local_files_only=offline
        )
        return found.to_dict(), "its config.json"
    except Exception as error:  # the hub's client, or a broken file
        what = f"its config.json cannot be read: {first_line(error)}"
    name = re.sub(r"-(Instruct|Base)$", "", model.rpartition("/")[2])
    if name in PUBLIC and is_on_hub(model):
        known = AutoConfig.for_model(
            ARCHITECTURES[name.partition("-")[0]],
            vocab_size=PUBLIC[name].vocabulary,
            tie_word_embeddings=not name.endswith(UNTIED),
        )
        return known.to_dict(), "its published shape"
    stop(
        "unreadable",
        f"base_model ({model})",
        what,
        "Rehearse with access to the hub, or name the model's folder",
    )


def shrunken(config: Mapping[str, Any], deep: bool) -> dict[str, Any]:
    """Return a config.json with small sizes and the same vocabulary. deep: keep the number of layers."""
    small = dict(config)
    for key, size in SIZES.items():
        if config.get(key):
            small[key] = size
    if heads := config.get("num_key_value_heads"):
        # Grouped attention stays grouped.
        small["num_key_value_heads"] = 4 if heads == config.get("num_attention_heads") else 2
    if deep:
        small["num_hidden_layers"] = config["num_hidden_layers"]
    if config.get("layer_types"):
        small["layer_types"] = config["layer_types"][: small["num_hidden_layers"]]
    for key in ("quantization_config", "dtype", "torch_dtype", "architectures"):
        small.pop(key, None)
    return small


def check_modules(cfg: Config, model: "PreTrainedModel") -> Findings:
    """Check that the architecture has the adapter's modules and the layers that FSDP wraps.

    PEFT ignores a target that is missing, if another one exists.
    """
    names = [f".{name}" for name, _ in model.named_modules()]
    ends = {name.rpartition(".")[2] for name in names}
    for key in ("lora_target_modules", "lora_modules_to_save"):
        targets = cfg.value_at(key)
        if not isinstance(targets, list):  # a pattern, or "all-linear"
            continue
        for target in targets:
            if not any(name.endswith(f".{target}") for name in names):
                yield _missing(model, f"{key} ({target})", "module", target, ends)
    classes = {type(module).__name__ for module in model.modules()}
    key = "transformer_layer_cls_to_wrap"
    wrapped = cfg.fsdp_config.transformer_layer_cls_to_wrap or ""
    for name in wrapped.replace(",", " ").split():
        if name not in classes:
            layers = {layer for layer in classes if layer.endswith("Layer")}
            yield _missing(model, f"fsdp_config.{key} ({name})", "layer", name, layers)


def _missing(model: object, where: str, kind: str, name: str, known: set[str]) -> Finding:
    return fault(
        f"no-such-{kind}", where, f"{type(model).__name__} has no such {kind}", nearest(name, known)
    )
