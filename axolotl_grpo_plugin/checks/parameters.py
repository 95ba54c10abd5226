"""Count a model's parameters from its config.json."""

from functools import cache
from pathlib import Path
from typing import Any

from axolotl_grpo_plugin.findings import Finding, at, first_line
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
    """Return the number of parameters of a raw config's model, tied weights counted once.

    The model's config.json is read if it is on this machine. Otherwise the model must be in PUBLIC.
    Returns a skipped finding if the size is not known.
    """
    model = cfg.get("base_model")
    folder = _folder(model, cfg.get("revision_of_model")) if isinstance(model, str) else None
    name = str(model).rpartition("/")[2].removesuffix("-Instruct")
    if folder is None and name in PUBLIC:
        return PUBLIC[name]
    what, fix = "the model's size is not known", "Check again with the model's config.json"
    if folder:
        try:
            return _count(folder)
        except Exception as error:  # transformers raises anything for a config that it cannot build
            what = f"transformers cannot build the model: {first_line(error)}"
            fix = "Correct config.json, or ignore this if the model has code of its own"
    return Finding(at(cfg, f"base_model ({model})"), what, fix, level="skipped")


def _folder(model: str, revision: Any) -> Path | None:
    """Return the folder that has the model's config.json, None if it is not on this machine."""
    from huggingface_hub import try_to_load_from_cache

    if Path(model, "config.json").is_file():
        return Path(model)
    if not is_on_hub(model):
        return None
    cached = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(cached).parent if isinstance(cached, str) else None


@cache
def _count(folder: Path) -> int:
    """Count the parameters of a model that is built without memory for its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        return int(AutoModelForCausalLM.from_config(config).num_parameters())
