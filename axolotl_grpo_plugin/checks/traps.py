"""Find settings that load, but do not train as intended, or crash after the model is loaded."""

from collections.abc import Iterator
from math import lcm
from typing import Any

from axolotl_grpo_plugin.checks.batch import GENERATIONS
from axolotl_grpo_plugin.checks.parameters import parameters_of
from axolotl_grpo_plugin.config import block, completion_of, limit_prompts, number_of, tokens_of
from axolotl_grpo_plugin.findings import ConfigError, Finding, Level, at, nearest
from axolotl_grpo_plugin.load import RewardRef
from axolotl_grpo_plugin.serving.placement import mode_of

TOO_LOW_FOR_ADAPTER = 1e-5  # learning rate
TOO_HIGH_FOR_FULL = 5e-5  # learning rate of full fine-tuning
PRACTICE_PARAMETERS = 400_000_000  # smaller models are for practice, and exempt from some checks
SHORT_COMPLETION = 256  # tokens, TRL's former default
LOW_TEMPERATURE = 0.3
LOSS_TYPES = ("grpo", "dr_grpo", "bnpo", "dapo", "cispo", "luspo", "sapo", "vespo")  # TRL 1.14's
# Options of Axolotl's data producer, with their defaults.
REPLAY = {"replay_buffer_size": 0, "replay_recompute_logps": True}
REROLL = {"reroll_start_fraction": 1.0, "reroll_max_groups": 1}
REWARDS = "axolotl_grpo_plugin.rewards"
FORMAT_REWARDS = {
    f"{REWARDS}.{name}_reward_func"
    for name in (
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
}


def check_traps(cfg: Any) -> Iterator[Finding]:
    """Run all checks of this module that need no number of processes on a raw config."""
    for check in (
        check_learning_rate,
        check_lora_sync,
        check_quantized,
        check_group,
        check_limit,
        check_short_completions,
        check_rewards_for_format,
        check_sampling,
        check_reference,
        check_gdpo_steps,
        check_columns_kept,
        check_idle,
        check_streaming,
        check_sizes,
        check_loss_type,
        check_lora,
    ):
        yield from check(cfg)


def check_learning_rate(cfg: Any) -> Iterator[Finding]:
    """Check that the learning rate suits an adapter, or all weights of a model that is not small."""
    rate = number_of(cfg.get("learning_rate"))
    if rate is None:
        return
    where = at(cfg, "learning_rate")
    if cfg.get("adapter") and rate < TOO_LOW_FOR_ADAPTER:
        what = f"{rate:g} suits full fine-tuning, but an adapter hardly changes with it"
        yield Finding(where, what, "Set it between 1e-5 and 1e-4", level="warning")
    elif not cfg.get("adapter") and rate >= TOO_HIGH_FOR_FULL and _is_small(cfg) is False:
        what = f"{rate:g} suits an adapter, but full fine-tuning collapses with it"
        yield Finding(where, what, "Set it to 5e-6 or less, or train an adapter", level="warning")


def check_lora_sync(cfg: Any) -> Iterator[Finding]:
    """Check that the adapter reaches vLLM as the YAML says."""
    trl = block(cfg, "trl")
    where = at(cfg, "trl.vllm_lora_sync")
    if not trl.get("vllm_lora_sync"):
        if cfg.get("adapter") and mode_of(cfg) == "server" and not _quantized_key(cfg):
            what = "not set, so each sync merges the adapter into 16-bit weights, which rounds small changes away"
            fix = "Set it and trl.use_data_producer to true"
            yield Finding(where, what, fix, level="warning")
    elif not cfg.get("adapter"):
        yield Finding(where, "there is no adapter to sync", "Remove it, or set adapter: lora")
    elif mode_of(cfg) != "server":
        what = "adapters are sent to a vLLM server, but this config has none"
        yield Finding(where, what, "Remove it, or set trl.use_vllm: true and trl.vllm_mode: server")
    elif not trl.get("use_data_producer") and not trl.get("async_prefetch"):
        # core/builders/rl.py removes it from the arguments of the plain trainer.
        what = "Axolotl 0.21 ignores it in the trainer without trl.use_data_producer"
        yield Finding(where, what, "Add trl.use_data_producer: true")


def check_quantized(cfg: Any) -> Iterator[Finding]:
    """Check that no quantized weights go to vLLM: TRL sends 4-bit and 8-bit weights as they are in memory."""
    mode, key = mode_of(cfg), _quantized_key(cfg)
    if mode == "none" or not key:
        return
    if mode == "server" and block(cfg, "trl").get("vllm_lora_sync"):
        return
    what = "quantized weights cannot be synced to vLLM (huggingface/trl#4973)"
    fix = "Set trl.vllm_lora_sync: true and trl.use_data_producer: true"
    if mode == "colocate":
        fix = f"Set {key}: false and adapter: lora, or use trl.vllm_mode: server with trl.vllm_lora_sync: true"
    yield Finding(at(cfg, key), what, fix)


def check_group(cfg: Any) -> Iterator[Finding]:
    """Check that a prompt has enough completions to compare."""
    if tokens_of(block(cfg, "trl").get("num_generations")) == 2:
        what = "two completions always have opposite advantages of the same size, or 0"
        yield Finding(at(cfg, "trl.num_generations"), what, "Set it to 8 or more", level="warning")


def check_limit(cfg: Any) -> Iterator[Finding]:
    """Check that completions have a limit."""
    trl = block(cfg, "trl")
    if trl.get("max_completion_length") is None:
        what = "not set, so transformers stops each completion after 20 tokens"
        if mode_of(cfg) != "none":
            what = "not set, so vLLM generates until its context is full"
        # dr_grpo divides by it.
        level: Level = "error" if trl.get("loss_type") == "dr_grpo" else "warning"
        yield Finding(
            at(cfg, "trl.max_completion_length"), what, "Set it, for example to 512", level=level
        )
    try:
        limit_prompts({**cfg})
    except ConfigError as error:
        yield from error.findings


def check_short_completions(cfg: Any) -> Iterator[Finding]:
    """Check that the limit is long enough for reasoning."""
    length = completion_of(cfg)
    if length and length <= SHORT_COMPLETION and mode_of(cfg) != "none" and not _is_small(cfg):
        what = f"{length} tokens cut off most reasoning, and a truncated answer earns no reward"
        where = at(cfg, "trl.max_completion_length")
        yield Finding(where, what, "Set it to 512 or more", level="warning")


def check_rewards_for_format(cfg: Any) -> Iterator[Finding]:
    """Check that a reward pays for right answers. An unknown reward counts as one."""
    trl = block(cfg, "trl")
    keys, weights = trl.get("reward_funcs"), trl.get("reward_weights")
    if not isinstance(keys, list) or not keys:
        return
    if isinstance(weights, list) and len(weights) == len(keys):
        keys = [key for key, weight in zip(keys, weights, strict=True) if weight != 0]
    if all(isinstance(key, str) and RewardRef(key).path in FORMAT_REWARDS for key in keys):
        what = "every reward pays for the layout only, none pays for a right answer"
        fix = f"Add {REWARDS}.gsm8k.correctness_reward_func, or a reward of your own"
        yield Finding(at(cfg, "trl.reward_funcs"), what, fix, level="warning")


def check_sampling(cfg: Any) -> Iterator[Finding]:
    """Check that completions of one prompt can differ."""
    trl = block(cfg, "trl")
    temperature = number_of(trl.get("temperature"))
    where = at(cfg, "trl.temperature")
    if temperature is not None and temperature <= 0:
        what = "TRL divides logits by it, so it must be above 0"
        yield Finding(where, what, "Set it to 1.0")
    elif temperature is not None and temperature < LOW_TEMPERATURE:
        what = f"at {temperature:g} most completions of a prompt are the same, so their advantages are 0"
        yield Finding(where, what, "Set it to 0.8 or more", level="warning")
    if tokens_of(trl.get("top_k")) == 1:
        what = "with 1, all completions of a prompt are the same, so their advantages are 0"
        yield Finding(at(cfg, "trl.top_k"), what, "Remove it")


def check_reference(cfg: Any) -> Iterator[Finding]:
    """Check that the reference model to sync exists. TRL checks it only after the model is loaded."""
    where = at(cfg, "trl.sync_ref_model")
    if not block(cfg, "trl").get("sync_ref_model"):
        return
    if cfg.get("adapter"):
        what = "with an adapter there is no separate reference model to sync"
        yield Finding(where, what, "Remove it")
    elif not number_of(beta_of(cfg)):
        what = "without trl.beta there is no reference model to sync"
        yield Finding(where, what, "Remove it, or set trl.beta: 0.001")


def check_gdpo_steps(cfg: Any) -> Iterator[Finding]:
    """Check that a GDPO run has all its steps: Axolotl divides its prompts by num_generations."""
    group = tokens_of(block(cfg, "trl").get("num_generations")) or GENERATIONS
    if cfg.get("rl") == "gdpo" and not cfg.get("max_steps"):
        what = f"Axolotl 0.21 ends a GDPO run after 1/{group} of its epochs"
        fix = f"Set max_steps, or multiply num_epochs by {group}"
        yield Finding(at(cfg, "num_epochs"), what, fix, level="warning")


def check_columns_kept(cfg: Any) -> Iterator[Finding]:
    """Check that the rewards get the dataset's columns."""
    if cfg.get("remove_unused_columns") is True:
        what = "it removes the dataset's columns that rewards read"
        yield Finding(at(cfg, "remove_unused_columns"), what, "Remove it")


def check_idle(cfg: Any) -> Iterator[Finding]:
    """Check that Axolotl's options for sampling have an effect in its GRPO trainers."""
    trl = block(cfg, "trl")
    producing, prefetching = trl.get("use_data_producer"), trl.get("async_prefetch")
    replaying = prefetching and not trl.get("streaming_partial_batch")
    shuffles = block(cfg, "grpo_trl_args").get("shuffle_dataset") is not False
    replay = _changed(trl, REPLAY) if not replaying else []
    skip = ["trl.skip_zero_advantage_batches"] if trl.get("skip_zero_advantage_batches") else []
    curriculum = ["curriculum_sampling"] if cfg.get("curriculum_sampling") and shuffles else []
    for keys, what, fix in (
        (
            replay,
            "Axolotl 0.21 replays prompt groups only with trl.async_prefetch and whole batches",
            "Set trl.use_data_producer: true, trl.async_prefetch: true and "
            "trl.streaming_partial_batch: false, or remove it",
        ),
        (
            _changed(trl, REROLL),
            "it has no effect, because Axolotl 0.21 collects prompts but never draws them again",
            "Remove it",
        ),
        (
            skip if not producing else [],
            "it has no effect, because only the trainer of trl.use_data_producer skips batches",
            "Set trl.use_data_producer: true, or remove it",
        ),
        (
            curriculum,
            "it keeps the order of the rows only until TRL shuffles them",
            "Set grpo_trl_args: {shuffle_dataset: false}, too, or remove it",
        ),
    ):
        if keys:
            yield Finding(at(cfg, ", ".join(keys)), what, fix, level="warning")


def check_streaming(cfg: Any) -> Iterator[Finding]:
    """Check that streamed prompt groups fill micro-batches. Axolotl would make more and smaller ones."""
    trl, size = block(cfg, "trl"), tokens_of(cfg.get("micro_batch_size")) or 1
    if not (trl.get("async_prefetch") and trl.get("streaming_partial_batch")):
        return
    group = tokens_of(trl.get("num_generations")) or GENERATIONS
    groups = tokens_of(trl.get("streaming_min_groups")) or 1
    if groups * group % size:
        what = (
            f"{groups} prompt groups of {group} completions do not fill micro-batches of {size}, so Axolotl 0.21 "
            "makes smaller ones, and a step trains on fewer completions"
        )
        fix = f"Set it to {lcm(group, size) // group}, or remove trl.streaming_partial_batch"
        yield Finding(at(cfg, "trl.streaming_min_groups"), what, fix)


def check_lora(cfg: Any) -> Iterator[Finding]:
    """Check that an adapter has its sizes and targets. Axolotl has no defaults, and PEFT fails after the model is loaded."""
    if cfg.get("adapter") not in ("lora", "qlora") or cfg.get("lora_model_dir"):
        return
    for key, usual in (("lora_r", 16), ("lora_alpha", 32)):
        if (number_of(cfg.get(key)) or 0) <= 0:
            what = "it is missing" if cfg.get(key) is None else f"{cfg[key]!r} is not above 0"
            yield Finding(at(cfg, key), what, f"Set it, for example to {usual}")
    targets = ("lora_target_linear", "lora_target_modules", "lora_target_parameters")
    if not any(map(cfg.get, targets)):
        fix = "Set lora_target_linear: true"
        yield Finding(at(cfg, "adapter"), "no layers are named for the adapter", fix)


def check_loss_type(cfg: Any) -> Iterator[Finding]:
    """Check the loss's name. TRL refuses an unknown one only after the first rollouts."""
    name = block(cfg, "trl").get("loss_type")
    if isinstance(name, str) and name not in LOSS_TYPES:
        yield Finding(at(cfg, f"trl.loss_type ({name})"), "no such loss", nearest(name, LOSS_TYPES))


def _changed(trl: Any, defaults: dict[str, Any]) -> list[str]:
    """Return the keys of `trl` whose value is not the default, with their block."""
    return [
        f"trl.{key}" for key, default in defaults.items() if trl.get(key) not in (None, default)
    ]


def check_sizes(cfg: Any) -> Iterator[Finding]:
    """Check that sizes are at least 1. Axolotl's schema accepts any number."""
    for name, key in (
        ("trl", "max_completion_length"),
        ("vllm", "max_model_len"),
        ("vllm", "tensor_parallel_size"),
        ("vllm", "data_parallel_size"),
    ):
        size = tokens_of(block(cfg, name).get(key))
        if size is not None and size < 1:
            fix = "Set it to 1 or more, or remove it"
            yield Finding(at(cfg, f"{name}.{key}"), f"{size} is less than 1", fix)


def check_parallel(cfg: Any, ranks: int) -> Iterator[Finding]:
    """Check that colocated vLLM divides the processes. TRL checks it only after the model is loaded."""
    parallel = tokens_of(block(cfg, "vllm").get("tensor_parallel_size")) or 1
    if mode_of(cfg) == "colocate" and parallel > 1 and ranks % parallel:
        what = f"{parallel} processes share one vLLM, but {ranks} is not a multiple of {parallel}"
        fix = f"Set it to 1, or use a multiple of {parallel} GPUs"
        yield Finding(at(cfg, "vllm.tensor_parallel_size"), what, fix)


def beta_of(cfg: Any) -> Any:
    """Return the weight of the KL term: from the `trl` block, else from Axolotl's older key."""
    beta = block(cfg, "trl").get("beta")
    return cfg.get("rl_beta") if beta is None else beta


def _quantized_key(cfg: Any) -> str:
    """Return the key that quantizes the weights, or ""."""
    return next((key for key in ("load_in_4bit", "load_in_8bit") if cfg.get(key)), "")


def _is_small(cfg: Any) -> bool | None:
    """Return whether the model is for practice, None if its size is not known."""
    count = parameters_of(cfg)
    return count < PRACTICE_PARAMETERS if isinstance(count, int) else None
