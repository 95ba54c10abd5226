"""Find settings that load, but do not train as intended, or crash after the model is loaded."""

from axolotl_grpo_plugin.checks.parameters import parameters_of
from axolotl_grpo_plugin.config import GENERATIONS, Config, limit_prompts, number_of
from axolotl_grpo_plugin.findings import FindingError, Findings, fault, nearest, warning
from axolotl_grpo_plugin.load import RewardRef
from axolotl_grpo_plugin.serving.placement import Placement, mode_of

TOO_LOW_FOR_ADAPTER = 1e-5  # learning rate
TOO_HIGH_FOR_FULL = 5e-5  # learning rate of full fine-tuning
PRACTICE_PARAMETERS = 400_000_000  # smaller models are for practice, and exempt from some checks
SHORT_COMPLETION = 256  # tokens, TRL's former default
LOW_TEMPERATURE = 0.3
LOSS_TYPES = ("grpo", "dr_grpo", "bnpo", "dapo", "cispo", "luspo", "sapo", "vespo")  # TRL 1.14's
LORA_TARGETS = ("lora_target_linear", "lora_target_modules", "lora_target_parameters")
REWARDS = "axolotl_grpo_plugin.rewards"
FORMAT_REWARDS = (
    "gsm8k.int",
    "gsm8k.strict_format",
    "gsm8k.soft_format",
    "gsm8k.xmlcount",
    "format.think_strict_format",
    "format.think_soft_format",
    "format.think_format",
    "format.tag_count",
    "format.hash_format",
    "shaping.reasoning_steps",
)


def check_traps(cfg: Config) -> Findings:
    """Run all checks of this module that need no number of processes on a raw config."""
    for check in (
        check_learning_rate,
        check_lora,
        check_lora_sync,
        check_quantized,
        check_limit,
        check_rewards_for_format,
        check_sampling,
        check_loss,
        check_rows_kept,
    ):
        yield from check(cfg)


def check_learning_rate(cfg: Config) -> Findings:
    """Check that the learning rate suits an adapter, or all weights of a model that is not small."""
    rate = cfg.learning_rate
    if rate is None:
        return
    if cfg.adapter:
        if rate < TOO_LOW_FOR_ADAPTER:
            yield warning(
                "low-learning-rate",
                "learning_rate",
                f"{rate:g} suits full fine-tuning, but an adapter hardly changes with it",
                "Set it between 1e-5 and 1e-4",
            )
    # A model of unknown size (None) may be small, and a small model learns at such a rate.
    elif rate >= TOO_HIGH_FOR_FULL and _is_small(cfg) is False:
        yield warning(
            "high-learning-rate",
            "learning_rate",
            f"{rate:g} suits an adapter, but full fine-tuning collapses with it",
            "Set it to 5e-6 or less, or train an adapter",
        )


def check_precision(cfg: Config, placement: Placement | None) -> Findings:
    """Check that a run on a CPU has a precision that torch can train with there."""
    if placement is None or placement.train:
        return
    for key, value in (("bf16", "auto"), ("fp16", True), ("fp16", "auto")):
        if cfg.value_at(key) == value:
            yield fault(
                "no-precision",
                key,
                f"{str(value).lower()} trains on a GPU only: on a CPU, torch gets matrices of two types",
                f"Set {key}: false, or check for the run's machine with --gpus",
            )


def check_lora(cfg: Config) -> Findings:
    """Check that an adapter has its sizes and targets. Axolotl has no defaults, and PEFT fails after the model is loaded."""
    if cfg.adapter not in ("lora", "qlora") or cfg.lora_model_dir:
        return
    for key, usual in (("lora_r", 16), ("lora_alpha", 32)):
        value = cfg.value_at(key)  # as it is written, to report a wrong value
        if (number_of(value) or 0) <= 0:
            yield fault(
                "no-lora-size",
                key,
                "it is missing" if value is None else f"{value!r} is not above 0",
                f"Set it, for example to {usual}",
            )
    if not any(map(cfg.value_at, LORA_TARGETS)):
        yield fault(
            "no-lora-target",
            "adapter",
            "no layers are named for the adapter",
            "Set lora_target_linear: true",
        )


def check_lora_sync(cfg: Config) -> Findings:
    """Check that the adapter reaches vLLM as the YAML says."""
    where = "trl.vllm_lora_sync"
    if not cfg.trl.vllm_lora_sync:
        if cfg.adapter and mode_of(cfg) == "server" and not _quantized_key(cfg):
            yield warning(
                "merged-adapter",
                where,
                "not set, so each sync merges the adapter into 16-bit weights, which rounds small changes away",
                "Set it and trl.use_data_producer to true",
            )
    elif not cfg.adapter:
        yield fault(
            "no-adapter-to-sync",
            where,
            "there is no adapter to sync",
            "Remove it, or set adapter: lora",
        )
    elif mode_of(cfg) != "server":
        yield fault(
            "no-server-to-sync",
            where,
            "adapters are sent to a vLLM server, but this config has none",
            "Remove it, or set trl.use_vllm: true and trl.vllm_mode: server",
        )
    elif not cfg.trl.use_data_producer and not cfg.trl.async_prefetch:
        # core/builders/rl.py removes it from the arguments of the plain trainer.
        yield fault(
            "sync-without-producer",
            where,
            "Axolotl 0.21 ignores it in the trainer without trl.use_data_producer",
            "Add trl.use_data_producer: true",
        )


def check_quantized(cfg: Config) -> Findings:
    """Check that no quantized weights go to vLLM: TRL sends 4-bit and 8-bit weights as they are in memory."""
    mode, key = mode_of(cfg), _quantized_key(cfg)
    if mode == "none" or not key:
        return
    if mode == "colocate":
        fix = f"Set {key}: false and adapter: lora, or use trl.vllm_mode: server with trl.vllm_lora_sync: true"
    elif cfg.trl.vllm_lora_sync:
        return
    else:
        fix = "Set trl.vllm_lora_sync: true and trl.use_data_producer: true"
    yield fault(
        "quantized-weights",
        key,
        "quantized weights cannot be synced to vLLM (huggingface/trl#4973)",
        fix,
    )


def check_limit(cfg: Config) -> Findings:
    """Check that completions have a limit, which is long enough for reasoning and leaves room for prompts."""
    where = "trl.max_completion_length"
    if cfg.value_at(where) is None:  # another check reports a value that is no number
        what = "not set, so vLLM generates until its context is full"
        if mode_of(cfg) == "none":
            what = "not set, so transformers stops each completion after 20 tokens"
        divides = cfg.trl.loss_type == "dr_grpo"  # by the limit
        kind = fault if divides else warning
        yield kind("no-limit", where, what, "Set it, for example to 512")
    length = cfg.trl.max_completion_length or 0
    if 0 < length <= SHORT_COMPLETION and mode_of(cfg) != "none" and not _is_small(cfg):
        yield warning(
            "short-completions",
            where,
            f"{length} tokens cut off most reasoning, and a truncated answer earns no reward",
            "Set it to 512 or more",
        )
    try:
        limit_prompts(cfg.changed())
    except FindingError as error:
        yield from error.findings


def check_rewards_for_format(cfg: Config) -> Findings:
    """Check that a reward pays for right answers. An unknown reward counts as one."""
    keys, weights = cfg.trl.reward_funcs, cfg.trl.reward_weights
    if not keys:
        return
    if len(weights) != len(keys):
        weights = [1.0] * len(keys)
    for key, weight in zip(keys, weights, strict=True):
        path = RewardRef(str(key)).path.removesuffix("_reward_func")
        if weight != 0 and path.removeprefix(f"{REWARDS}.") not in FORMAT_REWARDS:
            return
    yield warning(
        "only-format",
        "trl.reward_funcs",
        "every reward pays for the layout only, none pays for a right answer",
        f"Add {REWARDS}.gsm8k.correctness_reward_func, or a reward of your own",
    )


def check_sampling(cfg: Config) -> Findings:
    """Check that a prompt has enough completions to compare, and that they can differ."""
    if cfg.trl.num_generations == 2:
        yield warning(
            "two-completions",
            "trl.num_generations",
            "two completions always have opposite advantages of the same size, or 0",
            "Set it to 8 or more",
        )
    temperature = cfg.trl.temperature
    if temperature is not None and 0 < temperature < LOW_TEMPERATURE:
        yield warning(
            "low-temperature",
            "trl.temperature",
            f"at {temperature:g} most completions of a prompt are the same, so their advantages are 0",
            "Set it to 0.8 or more",
        )
    if cfg.trl.top_k == 1:
        yield fault(
            "same-completions",
            "trl.top_k",
            "with 1, all completions of a prompt are the same, so their advantages are 0",
            "Remove it",
        )


def check_loss(cfg: Config) -> Findings:
    """Check the loss's name, and that the reference model to sync exists. TRL checks them after the model is loaded."""
    name = cfg.trl.loss_type
    if name is not None and name not in LOSS_TYPES:
        yield fault(
            "unknown-loss", f"trl.loss_type ({name})", "no such loss", nearest(name, LOSS_TYPES)
        )
    if not cfg.trl.sync_ref_model:
        return
    if cfg.adapter:
        yield fault(
            "no-reference",
            "trl.sync_ref_model",
            "with an adapter there is no separate reference model to sync",
            "Remove it",
        )
    elif not beta_of(cfg):
        yield fault(
            "no-reference",
            "trl.sync_ref_model",
            "without trl.beta there is no reference model to sync",
            "Remove it, or set trl.beta: 0.001",
        )


def check_rows_kept(cfg: Config) -> Findings:
    """Check that the run trains on all rows, in their order, and that the rewards get their columns."""
    if cfg.remove_unused_columns is True:
        yield fault(
            "columns-removed",
            "remove_unused_columns",
            "it removes the dataset's columns that rewards read",
            "Remove it",
        )
    if cfg.rl == "gdpo" and not cfg.max_steps:
        # Axolotl divides its prompts by num_generations.
        group = cfg.trl.num_generations or GENERATIONS
        yield warning(
            "gdpo-epochs",
            "num_epochs",
            f"Axolotl 0.21 ends a GDPO run after 1/{group} of its epochs",
            f"Set max_steps, or multiply num_epochs by {group}",
        )
    if cfg.trl.skip_zero_advantage_batches and not cfg.trl.use_data_producer:
        yield warning(
            "unread-key",
            "trl.skip_zero_advantage_batches",
            "it has no effect, because only the trainer of trl.use_data_producer skips batches",
            "Set trl.use_data_producer: true, or remove it",
        )
    shuffles = cfg.grpo_trl_args.shuffle_dataset is not False
    if shuffles and cfg.curriculum_sampling:
        yield warning(
            "curriculum-shuffled",
            "curriculum_sampling",
            "it keeps the order of the rows only until TRL shuffles them",
            "Set grpo_trl_args: {shuffle_dataset: false}, too, or remove it",
        )


def check_parallel(cfg: Config, ranks: int) -> Findings:
    """Check that colocated vLLM divides the processes. TRL checks it only after the model is loaded."""
    parallel = cfg.vllm.tensor_parallel_size or 1
    if mode_of(cfg) == "colocate" and parallel > 1 and ranks % parallel:
        yield fault(
            "uneven-parallel",
            "vllm.tensor_parallel_size",
            f"{parallel} processes share one vLLM, but {ranks} is not a multiple of {parallel}",
            f"Set it to 1, or use a multiple of {parallel} GPUs",
        )


def beta_of(cfg: Config) -> float | None:
    """Return the weight of the KL term: from the `trl` block, else from Axolotl's older key."""
    return cfg.rl_beta if cfg.trl.beta is None else cfg.trl.beta


def _quantized_key(cfg: Config) -> str:
    """Return the key that quantizes the weights, or ""."""
    if cfg.load_in_4bit:
        return "load_in_4bit"
    return "load_in_8bit" if cfg.load_in_8bit else ""


def _is_small(cfg: Config) -> bool | None:
    """Return whether the model is for practice, None if its size is not known."""
    count = parameters_of(cfg)
    return count < PRACTICE_PARAMETERS if isinstance(count, int) else None
