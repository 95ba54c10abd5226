"""Check that numbers are in the range that the trainer can use. Imports nothing that is slow.

Axolotl takes most of these values as any number. transformers, TRL or vLLM refuse some of them after the
model is loaded. With the others, a run trains nothing, or trains away from its rewards.
tests/e2e/test_ranges.py compares the table with the classes that have a limit of their own.
"""

from math import inf, isfinite
from typing import NamedTuple

from axolotl_grpo_plugin.checks.batch import SIZES
from axolotl_grpo_plugin.config import Config, block, number_of, value_at
from axolotl_grpo_plugin.findings import Findings, fault


class Range(NamedTuple):
    """Numbers from `least` to `most`. above: `least` itself is not in the range. whole: no fractions."""

    least: float
    most: float = inf
    above: bool = False
    whole: bool = False

    def has(self, number: float) -> bool:
        """Return whether a number is in the range."""
        if not isfinite(number) or (self.whole and number % 1):
            return False
        if self.above and number == self.least:
            return False
        return self.least <= number <= self.most

    def __str__(self) -> str:
        kind = "whole number" if self.whole else "number"
        if self.most < inf:
            bound = "above" if self.above else "from"
            return f"{kind} {bound} {self.least:g} up to {self.most:g}"
        return f"{kind} above {self.least:g}" if self.above else f"{kind} from {self.least:g} on"


POSITIVE = Range(0, above=True)
NOT_NEGATIVE = Range(0)
COUNT = Range(1, whole=True)
SHARE = Range(0, 1)
PORT = Range(1, 65535, whole=True)

RANGES = {
    "learning_rate": POSITIVE,
    "num_epochs": POSITIVE,
    "max_steps": COUNT,
    "sequence_len": COUNT,
    "logging_steps": POSITIVE,
    "save_steps": POSITIVE,
    "save_total_limit": COUNT,
    "warmup_ratio": SHARE,
    "warmup_steps": NOT_NEGATIVE,
    "weight_decay": NOT_NEGATIVE,
    "max_grad_norm": NOT_NEGATIVE,
    "adam_beta1": SHARE,
    "adam_beta2": SHARE,
    "adam_beta3": SHARE,
    "adam_epsilon": POSITIVE,
    "cosine_min_lr_ratio": SHARE,
    "cosine_constant_lr_ratio": SHARE,
    "embedding_lr": POSITIVE,
    "torch_empty_cache_steps": COUNT,
    "ddp_timeout": POSITIVE,
    "dataloader_num_workers": Range(0, whole=True),
    "dataloader_prefetch_factor": COUNT,
    "lora_dropout": SHARE,
    "seed": Range(0, 2**32 - 1, whole=True),
    "val_set_size": NOT_NEGATIVE,
    "trl.max_completion_length": COUNT,
    "trl.beta": NOT_NEGATIVE,
    "trl.epsilon": NOT_NEGATIVE,
    "trl.epsilon_high": NOT_NEGATIVE,
    "trl.num_iterations": COUNT,
    "trl.temperature": POSITIVE,
    "trl.top_p": Range(0, 1, above=True),
    "trl.min_p": SHARE,
    "trl.repetition_penalty": POSITIVE,
    "trl.entropy_coef": NOT_NEGATIVE,
    "trl.num_completions_to_print": Range(0, whole=True),
    "trl.off_policy_mask_threshold": NOT_NEGATIVE,
    "trl.ref_model_mixup_alpha": SHARE,
    "trl.ref_model_sync_steps": COUNT,
    "trl.vllm_server_timeout": POSITIVE,
    "trl.vllm_server_port": PORT,
    "trl.vllm_sync_interval": COUNT,
    "trl.vllm_importance_sampling_cap": POSITIVE,
    "trl.vllm_importance_sampling_clip_max": POSITIVE,
    "trl.vllm_importance_sampling_clip_min": NOT_NEGATIVE,
    "vllm.port": PORT,
    "vllm.max_model_len": COUNT,
    "vllm.tensor_parallel_size": COUNT,
    "vllm.data_parallel_size": COUNT,
    "vllm.gpu_memory_utilization": Range(0, 1, above=True),
    "grpo_trl_args.top_entropy_quantile": Range(0, 1, above=True),
    "grpo_trl_args.num_generations_eval": COUNT,
    "grpo_trl_args.router_aux_loss_coef": NOT_NEGATIVE,
    "grpo_trl_args.sapo_temperature_neg": POSITIVE,
    "grpo_trl_args.sapo_temperature_pos": POSITIVE,
    "grpo_trl_args.vllm_group_port": PORT,
}
ANY_COUNT = Range(-inf, whole=True)  # checks/batch.py has the limits
BATCH = dict.fromkeys(("trl.num_generations", *SIZES), ANY_COUNT)
NO_FILTER = Range(0, whole=True)  # top_k: 0 takes all tokens
NO_FILTER_IN_VLLM = Range(-1, whole=True)  # vLLM writes -1 for all tokens, too


def check_ranges(cfg: Config) -> Findings:
    """Check the numbers of a raw config. Axolotl's own validation reports other values that are no numbers."""
    trl = block(cfg, "trl")
    top_k = NO_FILTER_IN_VLLM if trl.get("use_vllm") else NO_FILTER
    for key, range_ in {**RANGES, **BATCH, "trl.top_k": top_k}.items():
        value = value_at(cfg, key)
        number = number_of(value)
        # Axolotl compares this key before it reads text as a number.
        is_text = key == "trl.num_generations" and isinstance(value, str)
        is_broken = number is None or number % 1 or is_text
        if range_.whole and value is not None and is_broken:
            yield fault(
                "not-whole", f"{key} ({value!r})", "not a whole number", "Set one, such as 8"
            )
        elif number is not None and not range_.has(number):
            yield fault("out-of-range", key, f"{value} is out of range", f"Set a {range_}")
    low, high = number_of(trl.get("epsilon")), number_of(trl.get("epsilon_high"))
    if low is not None and high is not None and high < low:
        yield fault(
            "out-of-range",
            "trl.epsilon_high",
            f"{high:g} is below trl.epsilon, which is {low:g}",
            "Set it to trl.epsilon or more",
        )
