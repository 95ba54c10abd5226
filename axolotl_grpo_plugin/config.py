"""Read a config: the YAML with the command line's options, as a typed view of its keys and blocks.

`Config` wraps the mapping that Axolotl reads and writes, once, where it enters: `read_config` for the commands, the
hooks of `plugin.py` for Axolotl. Each look-up of an attribute reads the mapping again, so no value is stale after
Axolotl's validation or this package has changed it. To write a value, set it in `raw`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Never, NoReturn, Self

import yaml

from axolotl_grpo_plugin.findings import stop

PLUGIN = "axolotl_grpo_plugin.GRPOPlugin"
GENERATIONS = 8  # TRL's default of num_generations
RawConfig = dict[str, Any]  # a config as Axolotl has it, before or after its validation


# Readers of a value. They read as Axolotl's validation does, which also takes text for a number. They return None,
# or nothing in a list, for a value of another type: the validation and `checks/` report it.


def whole_of(value: object) -> int | None:
    """Return a whole number, also of text or of a float without a fraction. None for anything else."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if value % 1 == 0 else None  # false for infinity and NaN


def number_of(value: Any) -> float | None:
    """Return a number, also of text, because YAML reads 1e-6 as text. None for anything else."""
    try:
        return None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None


def flag_of(value: object) -> bool | None:
    """Return a bool, also of pydantic's words for it. None for anything else."""
    word = str(value).lower()
    if word in ("true", "t", "yes", "y", "on", "1"):
        return True
    if word in ("false", "f", "no", "n", "off", "0"):
        return False
    return None


def text_of(value: object) -> str | None:
    """Return a text, or a value of Axolotl's enums of texts. None for anything else."""
    return value if isinstance(value, str) else None


def list_of(value: object) -> list[Any]:
    """Return a list, empty for anything else."""
    return value if isinstance(value, list) else []


def mapping_of(value: object) -> dict[str, Any]:
    """Return a mapping, empty for anything else."""
    return value if isinstance(value, dict) else {}


def mappings_of(value: object) -> list[dict[str, Any]]:
    """Return the mappings of a list. Axolotl refuses other entries itself."""
    return [entry for entry in list_of(value) if isinstance(entry, dict)]


def text_or_mapping(value: object) -> str | dict[str, Any] | None:
    """Return a text or a mapping, None for anything else."""
    return value if isinstance(value, str | dict) else None


def as_written(value: object) -> object:
    """Return the value itself, of a key that takes several types."""
    return value


class Key[T]:
    """The definition of one key of a block. An attribute of a block's class has the name of its key.

    So `beta = Key(number_of)` in `TRLBlock` defines `trl.beta`, a `float | None`.

    Args:
        read: Returns the value of the key, with its type. It gets None if the mapping lacks the key.
    """

    def __init__(self, read: Callable[[Any], T]):
        self.read = read
        self._name = ""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, block: "Block", _: type) -> T:
        return self.read(block.raw.get(self._name))

    def __set__(self, block: "Block", value: Never) -> NoReturn:
        raise AttributeError(f"write {self._name} into `raw`, which Axolotl reads")


class Block:
    """Keys of a config that belong together.

    Attributes:
        raw: The mapping that has the keys, as Axolotl has it. It is empty, and no part of the config, if the value of
            the block is no mapping.
    """

    def __init__(self, value: object):
        self.raw = mapping_of(value)

    def __bool__(self) -> bool:
        return bool(self.raw)


class TRLBlock(Block):
    """The block `trl`: the settings of GRPO that Axolotl passes to TRL."""

    async_prefetch = Key(flag_of)
    beta = Key(number_of)
    generation_batch_size = Key(whole_of)
    loss_type = Key(text_of)
    max_completion_length = Key(whole_of)
    min_p = Key(number_of)
    multi_objective_aggregation = Key(text_of)
    num_generations = Key(whole_of)
    repetition_penalty = Key(number_of)
    reward_funcs = Key(list_of)
    reward_num_workers = Key(whole_of)
    reward_weights = Key(list_of)
    rollout_func = Key(text_of)
    scale_rewards = Key(text_of)
    skip_zero_advantage_batches = Key(flag_of)
    streaming_partial_batch = Key(flag_of)
    sync_ref_model = Key(flag_of)
    temperature = Key(number_of)
    top_k = Key(whole_of)
    top_p = Key(number_of)
    use_data_producer = Key(flag_of)
    use_liger_loss = Key(flag_of)
    use_vllm = Key(flag_of)
    vllm_enable_sleep_mode = Key(flag_of)
    vllm_importance_sampling_correction = Key(flag_of)
    vllm_lora_sync = Key(flag_of)
    vllm_mode = Key(text_of)
    vllm_server_host = Key(text_of)
    vllm_server_port = Key(whole_of)


class VLLMBlock(Block):
    """The block `vllm`: the settings of the server, and of vLLM in the trainer's processes."""

    data_parallel_size = Key(whole_of)
    dtype = Key(text_of)
    gpu_memory_utilization = Key(number_of)
    host = Key(text_of)
    max_model_len = Key(whole_of)
    port = Key(whole_of)
    serve_module = Key(text_of)
    tensor_parallel_size = Key(whole_of)


class TRLArgsBlock(Block):
    """The block `grpo_trl_args`: fields of TRL's GRPOConfig that no key of Axolotl sets."""

    chat_template_kwargs = Key(mapping_of)
    generation_kwargs = Key(mapping_of)
    max_tool_calling_iterations = Key(whole_of)
    num_generations_eval = Key(whole_of)
    shuffle_dataset = Key(flag_of)
    vllm_group_port = Key(whole_of)


class ColumnsBlock(Block):
    """The block `grpo_columns`: the names of a dataset's columns."""

    answer = Key(text_of)
    options = Key(text_of)
    question = Key(text_of)


class ToolLimitsBlock(Block):
    """The block `grpo_tool_limits`: the limits of one call of a tool."""

    characters = Key(whole_of)
    memory = Key(number_of)
    seconds = Key(number_of)


class FSDPBlock(Block):
    """The block `fsdp_config`."""

    offload_params = Key(flag_of)
    transformer_layer_cls_to_wrap = Key(text_of)


class Config(Block):
    """A config with its blocks, before or after Axolotl's validation.

    It has only the keys that this package reads. A table of keys, such as `LIMITS` of checks/ranges.py, reads them by
    `value_at`.

    Args:
        raw: The mapping that Axolotl reads and writes.
    """

    def __init__(self, raw: RawConfig):
        self.raw = raw

    trl = Key(TRLBlock)
    vllm = Key(VLLMBlock)
    fsdp_config = Key(FSDPBlock)
    grpo_columns = Key(ColumnsBlock)
    grpo_trl_args = Key(TRLArgsBlock)

    # Of Axolotl.
    adapter = Key(text_of)
    attn_implementation = Key(text_of)
    auto_resume_from_checkpoints = Key(flag_of)
    axolotl_config_path = Key(text_of)
    base_model = Key(text_of)
    base_model_config = Key(text_of)
    batch_flattening = Key(as_written)  # a bool or "auto"
    batch_size = Key(whole_of)
    bf16 = Key(as_written)  # a bool or "auto"
    chat_template = Key(text_of)
    chat_template_jinja = Key(text_of)
    context_parallel_size = Key(whole_of)
    curriculum_sampling = Key(flag_of)
    datasets = Key(mappings_of)
    ddp_timeout = Key(whole_of)
    deepspeed = Key(text_or_mapping)  # a file, or its contents
    eval_batch_size = Key(whole_of)
    eval_steps = Key(number_of)
    eval_strategy = Key(text_of)
    evals_per_epoch = Key(whole_of)
    flash_attention = Key(flag_of)
    fp16 = Key(flag_of)
    fsdp = Key(as_written)  # a list or a text
    gradient_accumulation_steps = Key(whole_of)
    gradient_checkpointing = Key(as_written)  # a bool or "offload"
    hf_use_auth_token = Key(flag_of)
    learning_rate = Key(number_of)
    load_in_4bit = Key(flag_of)
    load_in_8bit = Key(flag_of)
    lora_model_dir = Key(text_of)
    max_steps = Key(whole_of)
    micro_batch_size = Key(whole_of)
    nemo_gym_enabled = Key(flag_of)
    num_epochs = Key(number_of)
    optimizer = Key(text_of)
    output_dir = Key(text_of)
    plugins = Key(list_of)
    processor_type = Key(text_of)
    remove_unused_columns = Key(flag_of)
    resources_per_worker = Key(mapping_of)  # of Ray
    resume_from_checkpoint = Key(text_of)
    revision_of_model = Key(text_of)
    rl = Key(text_of)
    rl_beta = Key(number_of)
    save_only_model = Key(flag_of)
    save_strategy = Key(as_written)  # YAML reads `no` as false
    save_total_limit = Key(whole_of)
    sequence_len = Key(whole_of)
    test_datasets = Key(mappings_of)
    tokenizer_config = Key(text_of)
    torch_compile = Key(as_written)  # a bool or "auto"
    trainer_cls = Key(text_of)
    trust_remote_code = Key(flag_of)
    use_ray = Key(flag_of)
    use_wandb = Key(flag_of)
    val_set_size = Key(number_of)
    wandb_mode = Key(text_of)
    wandb_name = Key(text_of)
    wandb_project = Key(text_of)

    # Of this plugin: `args.py` describes them.
    grpo_advantage = Key(text_of)
    grpo_cpu_threads = Key(whole_of)
    grpo_dynamic_sampling = Key(flag_of)
    grpo_dynamic_sampling_reward = Key(text_of)
    grpo_dynamic_sampling_rounds = Key(whole_of)
    grpo_environment = Key(text_of)
    grpo_environment_args = Key(mapping_of)
    grpo_eval_steps = Key(whole_of)
    grpo_examples = Key(mappings_of)
    grpo_held_out_rows = Key(whole_of)
    grpo_hub_files = Key(list_of)
    grpo_keep_best = Key(flag_of)
    grpo_max_logprob_difference = Key(number_of)
    grpo_max_prompt_length = Key(whole_of)
    grpo_max_tool_calls = Key(whole_of)
    grpo_packed_step = Key(flag_of)
    grpo_prompt_template = Key(text_of)
    grpo_reward_args = Key(mapping_of)
    grpo_reward_batch_timeout = Key(number_of)
    grpo_reward_error_limit = Key(number_of)
    grpo_reward_isolation = Key(text_or_mapping)  # one for all rewards, or a mapping
    grpo_reward_memory = Key(number_of)
    grpo_reward_range = Key(mapping_of)
    grpo_reward_timeout = Key(number_of)
    grpo_rollouts = Key(as_written)  # a folder or a bool
    grpo_show_steps = Key(whole_of)
    grpo_shuffle_options = Key(whole_of)
    grpo_stall_timeout = Key(number_of)
    grpo_stop_at = Key(number_of)
    grpo_system_in = Key(text_of)
    grpo_system_prompt = Key(text_of)
    grpo_tokens_per_pass = Key(whole_of)
    grpo_tool_args = Key(mapping_of)
    grpo_tool_limits = Key(ToolLimitsBlock)
    grpo_tools = Key(list_of)

    def value_at(self, key: str) -> Any:
        """Return the value of a key such as "rl" or "trl.beta" as it is written, None if there is none."""
        name, dot, inner = key.partition(".")
        value = self.raw.get(name)
        return mapping_of(value).get(inner) if dot else value

    @property
    def file(self) -> str | None:
        """The YAML of the config, None if it has none."""
        return self.axolotl_config_path

    def at(self, key: object) -> str:
        """Return a place in the config for a finding."""
        return f"{self.file}: {key}" if self.file else str(key)

    def changed(self, **values: object) -> Self:
        """Return a copy with other values."""
        return type(self)({**self.raw, **values})


def read_config(file: str, options: Mapping[str, object] | None = None) -> Config:
    """Read a raw config as Axolotl does.

    Args:
        file: The YAML.
        options: Those of the command line, by the names of Axolotl's parser: {"trl__beta": "0.1"}.

    Raises:
        FindingError: The file is missing, or is not a YAML mapping.
    """
    from axolotl.utils.dict import DictDefault

    raw = DictDefault({**read_yaml(file), "axolotl_config_path": file})
    for option, value in (options or {}).items():
        parent, inside, name = option.partition("__")
        if inside:
            raw[parent] = mapping_of(raw[parent])
        holder = raw[parent] if inside else raw
        holder[name or option] = yaml.safe_load(value) if isinstance(value, str) else value
    return Config(raw)


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
    return cfg.rl in ("grpo", "gdpo")


def is_named(cfg: Config) -> bool:
    """Return whether the config names the plugin. Otherwise it is only installed."""
    return any(str(name).replace(":", ".") == PLUGIN for name in cfg.plugins)


def context_of(cfg: Config) -> tuple[str, int] | None:
    """Return the key and value of the limit on prompt and completion together, in tokens, if a raw config sets one.

    `vllm.max_model_len` comes before `sequence_len`, because vLLM ends a run at a longer prompt.
    """
    if cfg.vllm.max_model_len:
        return "vllm.max_model_len", cfg.vllm.max_model_len
    if cfg.sequence_len:
        return "sequence_len", cfg.sequence_len
    return None


def output_dir(cfg: Config) -> Path:
    """Return the folder of a run's results. Axolotl's default is model-out."""
    return Path(cfg.output_dir or "model-out")


def limit_prompts(cfg: Config) -> None:
    """Set `grpo_max_prompt_length` in a raw config that sets a context but not this key.

    Call it before Axolotl's validation, which gives every config a sequence_len of 512.

    Raises:
        FindingError: The completion takes the whole context.
    """
    context = context_of(cfg)
    completion = cfg.trl.max_completion_length
    # As it is written, because a wrong value must stay for Axolotl's validation.
    if cfg.value_at("grpo_max_prompt_length") or not context or not completion:
        return
    key, length = context
    if length <= completion:
        stop(
            "no-room-for-prompts",
            key,
            f"{length} leaves no token for a prompt, because trl.max_completion_length is {completion}",
            f"Raise {key}, or lower trl.max_completion_length",
        )
    cfg.raw["grpo_max_prompt_length"] = length - completion
