"""Warn once of each sign that a run learns nothing, or something else than its task.

The shares of cut-off completions and of equal groups come from Axolotl's guide (training stability).
The limits between vLLM and the trainer come from NeMo-RL and verl. All other signs compare the last
steps with the run's own first steps.
"""

import logging
from collections import defaultdict
from math import isfinite, sqrt
from statistics import fmean, variance
from typing import Any

from transformers import TrainerCallback

from axolotl_grpo_plugin.training.report import mean_of, short

LOG = logging.getLogger(__name__)

_STEPS = 20  # logged steps that each mean covers
_SOLVED = 0.9  # from this share of the highest score on, equal rewards are no fault
_ERRORS = 3  # standard errors by which a mean must fall
_LOSS = 0.1  # share of the highest score that a mean must lose
# Nats per token. NeMo-RL's tests fail from a factor of 1.1 on between the probabilities. vLLM and a
# bf16 trainer with the same weights: 0.012 (trl#4772), a standard deviation of 0.05 (trl#6789). fp16
# differs less (arXiv 2510.26788).
_GAP = 0.1


class Health(TrainerCallback):
    """Watches the logged metrics.

    first: the logged name of the first reward function, which says what is right. highest: the
    highest score of each reward function, by its logged name. Unknown ones are left out.
    """

    def __init__(self, first: str, highest: dict[str, float]):
        self.first, self.highest = first, highest
        self.reported: dict[str, str] = {}  # each sign with its cause

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero or "reward" not in (logs or {}):
            return
        steps = [log for log in state.log_history if "reward" in log]
        if len(steps) >= _STEPS:
            for sign, cause in self.signs(steps, args.max_completion_length).items():
                if sign not in self.reported:
                    self.reported[sign] = cause
                    LOG.warning("in the last %d steps, %s: %s.", _STEPS, sign, cause)

    def signs(self, steps: list[dict[str, Any]], length: int) -> dict[str, str]:
        """Return each sign in the last steps, with its likely cause. length: of a completion, in tokens."""
        recent = steps[-_STEPS:]
        rewards = _values(recent, "reward")
        if not rewards:
            return {
                "every reward function gave None": "the run learns nothing, because the dataset lacks "
                "their columns or its gold answers are unreadable"
            }
        if not any(rewards):
            signs = {
                "the reward is flat at 0": f"no completion scores above 0{_reasons(recent, self.first)}. "
                "Read some completions (grpo_rollouts), show the layout (grpo_examples), or use easier "
                "problems or a stronger model"
            }
        else:
            signs = self._flat(steps)
        if len(steps) >= 2 * _STEPS:
            signs |= self._fallen(steps)
        signs |= _disagreement(
            _mean(recent, "sampling/sampling_logp_difference/mean"),
            _mean(recent, "sampling/importance_sampling_ratio/mean"),
        )
        if (clipped := _mean(recent, "completions/clipped_ratio")) > 0.3:
            signs["over 30 % of the completions were cut off"] = (
                f"{clipped:.0%} reach trl.max_completion_length ({length} tokens). "
                "Raise it. If the model never stops, check its eos token and its chat template"
            )
        highest = self.highest.get(self.first, 0.0)
        if 0 < _SOLVED * highest <= _mean(recent, mean_of(self.first)):
            return signs
        if (same := _mean(recent, "frac_reward_zero_std")) > 0.8 and any(rewards):
            groups = "all" if same == 1 else "over 80 % of the"
            signs[f"{groups} prompt groups have equal rewards"] = (
                f"{same:.0%} teach nothing, because the problems are too hard or too easy, or the "
                "temperature or num_generations is too low"
            )
        return signs

    def _flat(self, steps: list[dict[str, Any]]) -> dict[str, str]:
        """Return a sign for each reward that stays at 0 beside others."""
        recent, signs = steps[-_STEPS:], {}
        for name, highest in self.highest.items():
            scores = _values(recent, mean_of(name))
            if highest > 0 and len(scores) == _STEPS and not any(scores):
                signs[f"{short(name)} is flat at 0"] = (
                    f"the run learns only from its other rewards (whole reward: "
                    f"{_change(steps, 'reward')}){_reasons(recent, name)}. Read some completions "
                    "(grpo_rollouts). If they are right, correct the reward or the gold answers. "
                    "Otherwise use easier problems or a stronger model"
                )
        return signs

    def _fallen(self, steps: list[dict[str, Any]]) -> dict[str, str]:
        """Return a sign for each reward that fell since the start, and for an entropy that did."""
        start, recent, signs = steps[:_STEPS], steps[-_STEPS:], {}
        rises = _mean(recent, "reward") > _mean(start, "reward")
        for name, highest in self.highest.items():
            key = mean_of(name)
            lost = _mean(start, key) - _mean(recent, key)
            if highest <= 0 or lost <= max(_LOSS * highest, _ERRORS * _error(start, recent, key)):
                continue
            why = "Training makes the model worse. Lower the learning rate, or raise trl.beta"
            if rises:
                why = (
                    f"The whole reward rises ({_change(steps, 'reward')}), so the model earns more by "
                    "other rewards (reward hacking). Read some completions (grpo_rollouts), and correct "
                    "those rewards or trl.reward_weights"
                )
            signs[f"{short(name)} fell"] = f"{_change(steps, key)}{_reasons(recent, name)}. {why}"
        first = mean_of(self.first)
        before, entropy = _mean(start, "entropy"), _mean(recent, "entropy")
        if 0 < entropy < before / 5 and _mean(recent, first) <= _mean(start, first):
            signs["the entropy fell below a fifth of its start"] = (
                f"at {entropy:.3f} the model repeats itself, and {short(self.first)} does not rise. "
                "Lower the learning rate, or raise the temperature"
            )
        return signs


def _disagreement(gap: float, ratio: float) -> dict[str, str]:
    """Return signs that vLLM and the trainer give completions different probabilities.

    gap: mean absolute difference of log-probabilities, in nats per token; 0 without vLLM. ratio: mean
    importance ratio, which TRL caps or masks before it logs it.
    """
    signs = {}
    if gap > _GAP:
        signs["vLLM and the trainer disagree"] = (
            f"by {gap:.2f} nats per token. Remove trl.top_p, top_k, min_p and repetition_penalty, give "
            "both the same dtype (4 bits differ most, fp16 less than bf16), or see with --canary whether "
            "weights reach the server"
        )
    if gap and not 0.5 <= ratio <= 2:  # verl's limits, docs/algo/rollout_corr.md
        # TRL's default multiplies the ratios of all tokens of a completion (trl#5814).
        signs["the importance ratio is far from 1"] = (
            f"vLLM's completions count {ratio:.2f} times on average. If they are long, set "
            "trl.vllm_importance_sampling_mode: token_truncate"
        )
    return signs


def _values(steps: list[dict[str, Any]], key: str) -> list[float]:
    """Return a metric's values in the steps that have one."""
    values = [step[key] for step in steps if step.get(key) is not None]
    return [value for value in values if isfinite(value)]


def _mean(steps: list[dict[str, Any]], key: str) -> float:
    """Return a metric's mean, 0.0 if it is not logged."""
    return fmean(_values(steps, key) or [0.0])


def _error(start: list[dict[str, Any]], recent: list[dict[str, Any]], key: str) -> float:
    """Return the standard error of the difference between two means."""
    samples = [_values(start, key), _values(recent, key)]
    return sqrt(sum(variance(each) / len(each) for each in samples if len(each) > 1))


def _change(steps: list[dict[str, Any]], key: str) -> str:
    """Return a metric's mean in the first and in the last steps."""
    count = min(_STEPS, len(steps) // 2)
    return f"{_mean(steps[:count], key):.2f} -> {_mean(steps[-count:], key):.2f}"


def _reasons(steps: list[dict[str, Any]], name: str) -> str:
    """Return the three most frequent reasons of a reward with their shares, or ""."""
    prefix = f"reward_reasons/{name}/"
    shares: dict[str, float] = defaultdict(float)
    for step in steps:
        for key, share in step.items():
            if key.startswith(prefix):
                shares[key.removeprefix(prefix)] += share or 0.0
    often = sorted(shares.items(), key=lambda pair: -pair[1])[:3]
    shown = [f"{reason} {share / len(steps):.0%}" for reason, share in often if share]
    return f", reasons: {', '.join(shown)}" if shown else ""
