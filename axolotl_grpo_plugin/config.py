"""Read a config: the YAML with the command line's options, its blocks, numbers and token limits."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from axolotl_grpo_plugin.findings import stop

PLUGIN = "axolotl_grpo_plugin.GRPOPlugin"
GENERATIONS = 8  # TRL's default of num_generations
Config = MutableMapping[str, Any]  # a raw or a validated config, or one of its blocks


def read_config(file: str, options: Mapping[str, object] | None = None) -> Any:
    """Read a raw config as Axolotl does.

    options: of the command line, by the names of Axolotl's parser: {"trl__beta": "0.1"}.
    Raises: FindingError if the file is missing or is not a YAML mapping.
    """
    from axolotl.utils.dict import DictDefault

    keys = read_yaml(file)
    cfg = DictDefault({**keys, "axolotl_config_path": file})
    for key, value in (options or {}).items():
        parent, inside, name = key.partition("__")
        if inside:
            cfg[parent] = block(cfg, parent)
        holder = cfg[parent] if inside else cfg
        holder[name or key] = yaml.safe_load(value) if isinstance(value, str) else value
    return cfg


def read_yaml(file: str) -> dict[str, Any]:
    """Read the keys of a YAML.

    Raises:
        FindingError: The file is missing, or it is not a YAML mapping.
    """
    if Path(file).suffix == ".py":
        stop(
            "python-file",
            file,
            "this is a Python script, and no Axolotl config",
            "A script with TRL's GRPOTrainer needs one other import: docs/coming-from.md, TRL",
        )
    try:
        with open(file, encoding="utf-8") as opened:
            keys = yaml.safe_load(opened)
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        _stop_unreadable(file, error)
    if not isinstance(keys, dict):
        stop("no-config", file, "not an Axolotl config", "Write a YAML of keys and values")
    return keys


def _stop_unreadable(file: str, error: Exception) -> NoReturn:
    if not isinstance(error, yaml.MarkedYAMLError):
        words = " ".join(str(error).split())
        stop("unreadable", file, f"cannot be read: {words}", "Correct the file")
    where, what, fix = (
        file,
        str(error.problem),
        "Correct the YAML, or name a config if this file holds rows",
    )
    if mark := error.problem_mark:
        where += f": line {mark.line + 1}, column {mark.column + 1}"
    if "'\\t'" in what:
        fix = "Indent with spaces instead of tabs"
    stop("unreadable", where, what, fix)


def is_grpo(cfg: Config) -> bool:
    """Return whether a config trains by GRPO or GDPO."""
    return cfg.get("rl") in ("grpo", "gdpo")


def is_named(cfg: Config) -> bool:
    """Return whether the config names the plugin. Otherwise it is only installed."""
    return any(str(name).replace(":", ".") == PLUGIN for name in plugins_of(cfg))


def plugins_of(cfg: Config) -> list[object]:
    """Return the list under `plugins:`, empty for any other value."""
    plugins = cfg.get("plugins")
    return plugins if isinstance(plugins, list) else []


def block(cfg: Config, key: str) -> Any:
    """Return a block ("trl", "vllm") of a raw config, empty if there is none."""
    value = cfg.get(key)
    return value if isinstance(value, dict) else {}


def value_at(cfg: Config, key: str) -> Any:
    """Return the value of a key such as "rl" or "trl.beta", None if there is none."""
    name, dot, inner = key.partition(".")
    return block(cfg, name).get(inner) if dot else cfg.get(name)


def template_options(cfg: Config) -> dict[str, object]:
    """Return the options of the chat template in `grpo_trl_args`, for example enable_thinking."""
    return {**block(block(cfg, "grpo_trl_args"), "chat_template_kwargs")}


def dicts(value: object) -> list[Any]:
    """Return the dictionaries of a list in a raw config. Axolotl refuses other entries itself."""
    if not isinstance(value, list):
        return []
    return [entry for entry in value if isinstance(entry, dict)]


def tokens_of(value: object) -> int | None:
    """Return a whole number as Axolotl's validation reads it, None for anything else."""
    if isinstance(value, str) and value.strip().isdigit():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value % 1 == 0 else None  # false for infinity and NaN


def tokens_at(cfg: Config, key: str) -> int | None:
    """Return `tokens_of` the value of a key such as "trl.num_generations"."""
    return tokens_of(value_at(cfg, key))


def number_of(value: Any) -> float | None:
    """Return a number as Axolotl's validation reads it (YAML reads 1e-6 as text), else None."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def completion_of(cfg: Config) -> int | None:
    """Return a raw config's trl.max_completion_length, None if it sets none."""
    return tokens_at(cfg, "trl.max_completion_length")


def context_of(cfg: Config) -> tuple[str, int] | None:
    """Return the key and value of the limit on prompt and completion together, in tokens, if a raw config sets one.

    `vllm.max_model_len` comes before `sequence_len`, because vLLM ends a run at a longer prompt.
    """
    for key in ("vllm.max_model_len", "sequence_len"):
        if tokens := tokens_at(cfg, key):
            return key, tokens
    return None


def output_dir(cfg: Config) -> Path:
    """Return the folder of a run's results. Axolotl's default is model-out."""
    return Path(cfg.get("output_dir") or "model-out")


def limit_prompts(cfg: Config) -> None:
    """Set `grpo_max_prompt_length` in a raw config that sets a context but not this key.

    Call it before Axolotl's validation, which gives every config a sequence_len of 512.
    Raises: FindingError if the completion takes the whole context.
    """
    context = context_of(cfg)
    completion = completion_of(cfg)
    if cfg.get("grpo_max_prompt_length") or not context or not completion:
        return
    key, length = context
    if length <= completion:
        stop(
            "no-room-for-prompts",
            key,
            f"{length} leaves no token for a prompt, because trl.max_completion_length is {completion}",
            f"Raise {key}, or lower trl.max_completion_length",
        )
    cfg["grpo_max_prompt_length"] = length - completion
