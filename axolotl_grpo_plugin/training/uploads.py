"""Choose the files of the output folder that `hub_model_id` uploads: the model, its card and its picture.

transformers uploads all but the checkpoints: also rollouts with gold answers, held-out answers, logs and run.yaml.
"""

from collections.abc import Sequence
from fnmatch import fnmatch
from glob import escape
from pathlib import Path

from axolotl_grpo_plugin.training.record import CARD, PLOT

_MODEL = (
    *("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin*", "adapter_model.bin"),
    *("config.json", "*_config.json", "*processor*.json", "chat_template.json", "*.jinja"),
    *("tokenizer*.json", "vocab.json", "vocab.txt", "merges.txt", "*.model", "*.tiktoken"),
    *("added_tokens.json", "special_tokens_map.json", "additional_chat_templates/*.jinja"),
    # A model with code of its own.
    *("modeling_*.py", "configuration_*.py", "tokenization_*.py", "processing_*.py"),
)


def uploaded_files(folder: Path, more: Sequence[str] = ()) -> list[str]:
    """Return the files of an output folder that the hub gets, as patterns that match only them.

    Args:
        folder: The output folder.
        more: Patterns or folders of further files, below the folder.
    """
    names = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.is_file() and (_is_of_model(name) or any(_matches(name, each) for each in more)):
            names.append(escape(name))
    return names


def _is_of_model(name: str) -> bool:
    """Return whether a file belongs to the model or its card. In `fnmatch`, a star matches slashes, too."""
    patterns = [each for each in (*_MODEL, CARD, PLOT) if each.count("/") == name.count("/")]
    return any(fnmatch(name, each) for each in patterns)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch(name, pattern) or fnmatch(name, f"{pattern.rstrip('/')}/*")
