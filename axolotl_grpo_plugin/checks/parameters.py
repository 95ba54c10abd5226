"""Count a model's parameters from its config.json, and read the sizes of its layers."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.hub import is_on_hub
from axolotl_grpo_plugin.findings import Finding, first_line


class Shape(NamedTuple):
    """A model's parameters (tied weights counted once), layers, and the widths of its tensors.

    hidden: between layers. inner: inside a layer's MLP. vocabulary: of the logits.
    """

    parameters: int
    layers: int
    hidden: int
    inner: int
    vocabulary: int


# Models whose config.json need not be on this machine. Counted from the published files.
PUBLIC = {
    "Qwen2.5-0.5B": Shape(494_032_768, 24, 896, 4864, 151936),
    "Qwen2.5-Coder-0.5B": Shape(494_032_768, 24, 896, 4864, 151936),
    "Qwen2.5-1.5B": Shape(1_543_714_304, 28, 1536, 8960, 151936),
    "Qwen2.5-3B": Shape(3_085_938_688, 36, 2048, 11008, 151936),
    "Qwen2.5-7B": Shape(7_615_616_512, 28, 3584, 18944, 152064),
    "Qwen2.5-14B": Shape(14_770_033_664, 48, 5120, 13824, 152064),
    "Qwen2.5-32B": Shape(32_763_876_352, 64, 5120, 27648, 152064),
    "Llama-3.2-1B": Shape(1_235_814_400, 16, 2048, 8192, 128256),
    "Llama-3.2-3B": Shape(3_212_749_824, 28, 3072, 8192, 128256),
    "Qwen3-0.6B": Shape(596_049_920, 28, 1024, 3072, 151936),
    "Qwen3-1.7B": Shape(1_720_574_976, 28, 2048, 6144, 151936),
    "Qwen3-4B": Shape(4_022_468_096, 36, 2560, 9728, 151936),
    "Qwen3-8B": Shape(8_190_735_360, 36, 4096, 12288, 151936),
}


def parameters_of(cfg: Config) -> int | Finding:
    """Return the number of parameters of a raw config's model, or the finding of `shape_of`."""
    shape = shape_of(cfg)
    return shape if isinstance(shape, Finding) else shape.parameters


def shape_of(cfg: Config) -> Shape | Finding:
    """Return the shape of a raw config's model.

    The model's config.json is read if it is on this machine. Otherwise the model must be in PUBLIC.
    Returns a skipped finding if the size is not known.
    """
    model = cfg.base_model
    folder = _folder(model, cfg.revision_of_model) if model else None
    name = str(model).rpartition("/")[2].removesuffix("-Instruct")
    if folder is None and name in PUBLIC:
        return PUBLIC[name]
    what, fix = "the model's size is not known", "Check again with the model's config.json"
    if folder:
        try:
            return _read(folder)
        except Exception as error:  # transformers raises anything for a config that it cannot build
            what = f"transformers cannot build the model: {first_line(error)}"
            fix = "Correct config.json, or ignore this if the model has code of its own"
    return Finding(f"base_model ({model})", what, fix, level="skipped", code="unknown-size")


def _folder(model: str, revision: str | None) -> Path | None:
    """Return the folder that has the model's config.json, None if it is not on this machine."""
    from huggingface_hub import try_to_load_from_cache

    if Path(model, "config.json").is_file():
        return Path(model)
    if not is_on_hub(model):
        return None
    cached = try_to_load_from_cache(model, "config.json", revision=revision)
    return Path(cached).parent if isinstance(cached, str) else None


@cache
def _read(folder: Path) -> Shape:
    """Return the shape of a model that is built without memory for its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        parameters = AutoModelForCausalLM.from_config(config).num_parameters()
    text = config.get_text_config()
    return Shape(
        int(parameters),
        text.num_hidden_layers,
        text.hidden_size,
        # GPT-2's configs name no width of the MLP, which is then four times as wide.
        getattr(text, "intermediate_size", None) or 4 * text.hidden_size,
        text.vocab_size,
    )
