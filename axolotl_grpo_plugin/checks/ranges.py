"""Check that numbers are in the range that the trainer can use. Imports nothing that is slow.

Axolotl takes most of these values as any number. transformers, TRL or vLLM refuse some of them after the
model is loaded. With the others, a run trains nothing, or trains away from its rewards.
tests/e2e/test_ranges.py compares the table with the classes that have a limit of their own.
"""

from math import inf, isfinite
from typing import NamedTuple

from axolotl_grpo_plugin.config import Config, block, number_of, value_at
from axolotl_grpo_plugin.findings import Finding, Findings, fault


class Range(NamedTuple):
    """Numbers from `least` to `most`. above, below: without `least` or `most`. whole: from here on, no fractions."""

    least: float
    most: float = inf
    above: bool = False
    below: bool = False
    whole: float = inf

    @property
    def is_whole(self) -> bool:
        return self.whole <= self.least

    def has(self, number: float) -> bool:
        """Return whether a number is in the range."""
        if not isfinite(number) or (number >= self.whole and number % 1):
            return False
        if (self.above and number == self.least) or (self.below and number == self.most):
            return False
        return self.least <= number <= self.most

    def __str__(self) -> str:
        text = "whole number" if self.is_whole else "number"
        text += f" {'above' if self.above else 'of at least'} {self.least:g}"
        if self.most < inf:
            return f"{text} and {'below' if self.below else 'at most'} {self.most:.10g}"
        if self.least < self.whole < inf:
            return f"{text}, without a fraction from {self.whole} on"
        return text


POSITIVE = Range(0, above=True)
NOT_NEGATIVE = Range(0)
COUNT = Range(1, whole=1)
NO_COUNT = Range(0, whole=0)  # 0 stands for none
SHARE = Range(0, 1)
DECAY = Range(0, 1, below=True)  # at 1, nothing is learned, or torch refuses it
STEPS = Range(0, above=True, whole=1)  # transformers reads a number below 1 as a share of all steps
PORT = Range(1, 65535, whole=1)

LIMITS = (
    (
        POSITIVE,
        """
        learning_rate num_epochs logging_steps adam_epsilon embedding_lr ddp_timeout lora_alpha
        trl.temperature trl.repetition_penalty trl.vllm_server_timeout
        trl.vllm_importance_sampling_cap trl.vllm_importance_sampling_clip_max
        grpo_reward_timeout grpo_reward_batch_timeout grpo_reward_memory
        grpo_trl_args.delta
        grpo_trl_args.sapo_temperature_neg grpo_trl_args.sapo_temperature_pos
        """,
    ),
    (
        COUNT,
        """
        max_steps sequence_len micro_batch_size gradient_accumulation_steps eval_batch_size
        trl.num_generations trl.generation_batch_size save_total_limit torch_empty_cache_steps
        dataloader_prefetch_factor lora_r trl.max_completion_length trl.num_iterations
        trl.prefetch_depth trl.ref_model_sync_steps trl.vllm_sync_interval vllm.max_model_len
        vllm.tensor_parallel_size vllm.data_parallel_size grpo_trl_args.num_generations_eval
        """,
    ),
    (STEPS, "save_steps eval_steps"),
    (
        NO_COUNT,
        """
        saves_per_epoch evals_per_epoch dataloader_num_workers dataset_num_proc
        trl.num_completions_to_print
        """,
    ),
    (
        SHARE,
        """
        warmup_ratio cosine_min_lr_ratio cosine_constant_lr_ratio trl.min_p
        trl.ref_model_mixup_alpha
        """,
    ),
    (
        NOT_NEGATIVE,
        """
        warmup_steps weight_decay max_grad_norm rl_beta val_set_size trl.beta trl.epsilon
        trl.epsilon_high trl.entropy_coef trl.off_policy_mask_threshold
        trl.vllm_importance_sampling_clip_min grpo_stall_timeout
        grpo_trl_args.router_aux_loss_coef
        """,
    ),
    (DECAY, "adam_beta1 adam_beta2 adam_beta3 lora_dropout"),
    (Range(0, 2**32 - 1, whole=0), "seed"),
    (
        Range(0, 1, above=True),
        "trl.top_p vllm.gpu_memory_utilization grpo_trl_args.top_entropy_quantile",
    ),
    (PORT, "trl.vllm_server_port vllm.port grpo_trl_args.vllm_group_port"),
)
RANGES = dict[str, Range]()
for limit, keys in LIMITS:
    RANGES |= dict.fromkeys(keys.split(), limit)
NO_FILTER_IN_VLLM = Range(-1, whole=-1)  # vLLM writes -1 for all tokens, too
PAIRS = {  # a number, and one that is not below it
    "trl.epsilon": "trl.epsilon_high",
    "trl.vllm_importance_sampling_clip_min": "trl.vllm_importance_sampling_clip_max",
    "warmup_steps": "max_steps",  # a run trains, but its learning rate stays below its value
}
TRLS_DEFAULTS = {"trl.epsilon": 0.2, "trl.vllm_importance_sampling_clip_max": 3.0}


def check_ranges(cfg: Config) -> Findings:
    """Check the numbers of a raw config. Axolotl's own validation reports other values that are no numbers."""
    top_k = NO_FILTER_IN_VLLM if block(cfg, "trl").get("use_vllm") else NO_COUNT
    numbers = TRLS_DEFAULTS.copy()
    for key, range_ in {**RANGES, "trl.top_k": top_k}.items():
        value = value_at(cfg, key)
        if value is None:
            continue
        number = number_of(value)
        # Axolotl compares this key before it reads text as a number.
        is_text = key == "trl.num_generations" and isinstance(value, str)
        is_broken = range_.is_whole and (number is None or number % 1 or is_text)
        if is_broken or isinstance(value, bool):
            yield fault(
                "not-whole",
                f"{key} ({value!r})",
                f"not a {'whole ' * range_.is_whole}number",
                "Write one in digits, such as 8",
            )
        elif number is not None and range_.has(number):
            numbers[key] = number
        elif number is not None:
            wrong = "out of range" if isfinite(number) else "not finite"
            yield fault("out-of-range", key, f"{value} is {wrong}", f"Set a {range_}")
    for lower, upper in PAIRS.items():
        if numbers.get(upper, inf) < numbers.get(lower, -inf):
            yield Finding(
                upper,
                f"{numbers[upper]:g} is below {lower}, which is {numbers[lower]:g}",
                f"Set it to {lower} or more",
                level="warning" if upper == "max_steps" else "error",
                code="out-of-range",
            )
