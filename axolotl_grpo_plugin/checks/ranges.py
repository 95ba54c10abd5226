"""Check that numbers are in the range that the trainer can use. Imports nothing that is slow.

Axolotl takes most of these values as any number. transformers, TRL or vLLM refuse some of them after the
model is loaded. With the others, a run trains nothing, or trains away from its rewards.
tests/e2e/test_ranges.py compares the table with the classes that have a limit of their own.
"""

from collections.abc import Callable
from math import inf, isfinite
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config, number_of
from axolotl_grpo_plugin.findings import Finding, Findings, Level, fault


class Range(NamedTuple):
    """Finite numbers. name: as messages call them. has: whether a number is one of them."""

    name: str
    has: Callable[[float], bool]


POSITIVE = Range("number above 0", lambda number: number > 0)
NOT_NEGATIVE = Range("number of at least 0", lambda number: number >= 0)
COUNT = Range("whole number of at least 1", lambda number: number >= 1)
NO_COUNT = Range("whole number of at least 0", lambda number: number >= 0)
PORT = Range("whole number from 1 up to 65535", lambda number: 1 <= number <= 65535)
# Above it, one step destroys any model. 1e5 is a slip for 1e-5.
RATE = Range("number above 0 and below 0.1", lambda number: 0 < number < 0.1)
SEED = Range("whole number from 0 up to 4294967295", lambda number: 0 <= number < 2**32)
NO_FILTER_IN_VLLM = Range("whole number of at least -1", lambda number: number >= -1)
SHARE = Range("number from 0 up to 1", lambda number: 0 <= number <= 1)
PART = Range("number above 0 up to 1", lambda number: 0 < number <= 1)
# At 1, nothing is learned, or torch refuses it.
DECAY = Range("number from 0 to below 1", lambda number: 0 <= number < 1)
STEPS = Range(
    "share of all steps below 1, or a whole number above 0",
    lambda number: number > 0 and (number < 1 or number % 1 == 0),
)

LIMITS = {
    POSITIVE: [
        "num_epochs",
        "logging_steps",
        "adam_epsilon",
        "ddp_timeout",
        "lora_alpha",
        "trl.temperature",
        "trl.repetition_penalty",
        "trl.vllm_server_timeout",
        "trl.vllm_importance_sampling_cap",
        "trl.vllm_importance_sampling_clip_max",
        "grpo_reward_timeout",
        "grpo_reward_batch_timeout",
        "grpo_reward_memory",
        "grpo_trl_args.delta",
        "grpo_trl_args.sapo_temperature_neg",
        "grpo_trl_args.sapo_temperature_pos",
    ],
    COUNT: [
        "max_steps",
        "sequence_len",
        "micro_batch_size",
        "gradient_accumulation_steps",
        "eval_batch_size",
        "trl.num_generations",
        "trl.generation_batch_size",
        "save_total_limit",
        "torch_empty_cache_steps",
        "dataloader_prefetch_factor",
        "lora_r",
        "trl.max_completion_length",
        "trl.num_iterations",
        "trl.prefetch_depth",
        "trl.ref_model_sync_steps",
        "trl.vllm_sync_interval",
        "vllm.max_model_len",
        "vllm.tensor_parallel_size",
        "vllm.data_parallel_size",
        "grpo_trl_args.num_generations_eval",
        "grpo_held_out_rows",
        "grpo_eval_steps",
        "grpo_max_prompt_length",
        "grpo_cpu_threads",
        "grpo_dynamic_sampling_rounds",
        "grpo_max_tool_calls",
        "grpo_tokens_per_pass",
    ],
    STEPS: ["save_steps", "eval_steps"],
    NO_COUNT: [
        "saves_per_epoch",
        "evals_per_epoch",
        "dataloader_num_workers",
        "dataset_num_proc",
        "trl.num_completions_to_print",
        "grpo_show_steps",
    ],
    SHARE: [
        "warmup_ratio",
        "cosine_min_lr_ratio",
        "cosine_constant_lr_ratio",
        "trl.min_p",
        "trl.ref_model_mixup_alpha",
        "grpo_reward_error_limit",
    ],
    NOT_NEGATIVE: [
        "warmup_steps",
        "weight_decay",
        "max_grad_norm",
        "rl_beta",
        "val_set_size",
        "trl.beta",
        "trl.epsilon",
        "trl.epsilon_high",
        "trl.entropy_coef",
        "trl.off_policy_mask_threshold",
        "trl.vllm_importance_sampling_clip_min",
        "grpo_stall_timeout",
        "grpo_max_logprob_difference",
        "grpo_trl_args.router_aux_loss_coef",
    ],
    DECAY: ["adam_beta1", "adam_beta2", "adam_beta3", "lora_dropout"],
    RATE: ["learning_rate", "embedding_lr"],
    SEED: ["seed"],
    PART: [
        "trl.top_p",
        "vllm.gpu_memory_utilization",
        "grpo_stop_at",
        "grpo_trl_args.top_entropy_quantile",
    ],
    PORT: ["trl.vllm_server_port", "vllm.port", "grpo_trl_args.vllm_group_port"],
}
RANGES = dict[str, Range]()
for limit, keys in LIMITS.items():
    RANGES |= dict.fromkeys(keys, limit)
# Two keys and a level. The number of the second key must not be below the number of the first.
NOT_BELOW: tuple[tuple[str, str, Level], ...] = (
    ("trl.epsilon", "trl.epsilon_high", "error"),
    ("trl.vllm_importance_sampling_clip_min", "trl.vllm_importance_sampling_clip_max", "error"),
    # Such a run trains, but its learning rate stays below the value that is set.
    ("warmup_steps", "max_steps", "warning"),
)
TRLS_DEFAULTS = {"trl.epsilon": 0.2, "trl.vllm_importance_sampling_clip_max": 3.0}


def check_ranges(cfg: Config) -> Findings:
    """Check the numbers of a raw config. Axolotl's own validation reports other values that are no numbers."""
    top_k = NO_FILTER_IN_VLLM if cfg.trl.use_vllm else NO_COUNT
    numbers = TRLS_DEFAULTS.copy()
    for key, range_ in {**RANGES, "trl.top_k": top_k}.items():
        value = cfg.value_at(key)  # as it is written, to report a wrong value
        if value is None:
            continue
        number = number_of(value)
        is_whole = range_.name.startswith("whole")
        # Axolotl compares this key before it reads text as a number.
        is_text = key == "trl.num_generations" and isinstance(value, str)
        is_broken = is_whole and (number is None or number % 1 or is_text)
        if is_broken or isinstance(value, bool):
            yield fault(
                "not-whole",
                f"{key} ({value!r})",
                "not a whole number" if is_whole else "not a number",
                "Write one in digits, such as 8",
            )
        elif number is not None and isfinite(number) and range_.has(number):
            numbers[key] = number
        elif number is not None:
            wrong = "out of range" if isfinite(number) else "not finite"
            yield fault("out-of-range", key, f"{value} is {wrong}", f"Set a {range_.name}")
    for lower, upper, level in NOT_BELOW:
        if numbers.get(upper, inf) < numbers.get(lower, -inf):
            yield Finding(
                upper,
                f"{numbers[upper]:g} is below {lower}, which is {numbers[lower]:g}",
                f"Set it to {lower} or more",
                level=level,
                code="out-of-range",
            )
