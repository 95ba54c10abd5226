"""Warn once for each sign that a run learns nothing, or the wrong thing. End a run whose vLLM has other weights.

The shares of cut-off completions and of equal groups come from Axolotl's guide (training stability).
The limits between vLLM and the trainer come from NeMo-RL and verl. All other signs compare the last
steps with the run's own first steps.
"""

import logging
from collections import Counter
from math import fsum, hypot, isfinite, isnan, nan, sqrt
from statistics import fmean, stdev
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig

from axolotl_grpo_plugin.findings import exit_on_findings, stop
from axolotl_grpo_plugin.runlog.rewards import MOST_FREQUENT, short
from axolotl_grpo_plugin.scoring.rollout_log import RolloutLog
from axolotl_grpo_plugin.training.report import mean_of

LOG = logging.getLogger(__name__)

_STEPS = 20  # logged steps that each mean covers
_FIRST = 5  # logged steps after which a run that cannot learn is named
_REPEATED = 10  # logged steps in which one answer must be the most frequent
_ONE_ANSWER = 0.8  # from this share of one answer on, the model ignores the question
# Reasons of completions without an answer that a reward can read.
_UNREADABLE = ("no_answer", "no_answer_tag", "no_tag", "no_tags", "empty_answer", "truncated")
_SOLVED = 0.9  # from this share of the highest score on, equal rewards are no fault
_ERRORS = 3  # standard errors by which a mean must fall
_LOSS = 0.1  # share of the highest score that a mean must lose
# Nats per token. NeMo-RL's tests fail from a factor of 1.1 on between the probabilities. vLLM and a
# bf16 trainer with the same weights: 0.012 (trl#4772), a standard deviation of 0.05 (trl#6789). fp16
# differs less (arXiv 2510.26788).
_GAP = 0.1
# With old weights in vLLM, the difference grows with each step. With the trainer's weights it stays near that of the
# first step, when both have the weights of the base model.
_GROWTH = 3.0
_LEAST_GROWN = 1e-4  # nats per token. Two models in float32 differ by 3e-7.
_GROWN = 3  # logged steps in a row
_HIGHEST_GAP = 1.0  # nats per token. The default of grpo_max_logprob_difference

# The mean absolute difference between the log-probabilities of vLLM and the trainer. Missing without vLLM.
_DIFFERENCE = "sampling/sampling_logp_difference/mean"
_EQUAL_GROUPS = "frac_reward_zero_std"

# The first fix for a reward that stays equal, because its own fault looks like hard problems.
_READ_THEM = (
    "Read completions with `axolotl-grpo view OUTPUT_DIR`. If right ones are unpaid, or wrong ones are paid, "
    "correct the reward or the gold answers: see `axolotl-grpo check CONFIG`. Otherwise "
)

_FIND_ERRORS = (
    "Look for errors of the weight sync in the log of the run, and of its vLLM server if it has one"
)

type Signs = dict[str, str]  # each sign with its likely cause


class Health(TrainerCallback):
    """Watches the logged metrics.

    Attributes:
        first: The logged name of the first reward function, which says which completions are right.
        highest: The highest score of each reward function that declares one, by its logged name.
        rollout_log: The rollout log of the run, if it has one.
        highest_gap: The difference between vLLM's and the trainer's log-probabilities that ends the run, in nats per
            token. 0 ends no run.
        reported: The signs that were logged.
    """

    def __init__(
        self,
        first: str,
        highest: dict[str, float],
        rollout_log: RolloutLog | None = None,
        highest_gap: float | None = None,
    ):
        self.first = first
        self.highest = highest
        self.rollout_log = rollout_log
        self.highest_gap = _HIGHEST_GAP if highest_gap is None else highest_gap
        self.reported: Signs = {}
        self._history: list[dict[str, Any]] = []  # of the trainer's state
        self._read = 0  # logs of the history
        self._steps: list[dict[str, Any]] = []  # the logs that have a reward
        self._gaps: list[float] = []

    @exit_on_findings()
    def on_log(
        self,
        args: GRPOConfig,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Look at the last steps.

        Raises:
            SystemExit: vLLM's log-probabilities are too far from the trainer's. All ranks log the same, so all end.
        """
        # Each rank counts the lost rollouts, and the first one reports them.
        lost = self.rollout_log.loss() if self.rollout_log else ""
        if lost and state.is_world_process_zero:
            self.reported["rollouts are lost"] = lost.removesuffix(".")  # the log names each
        if "reward" not in (logs or {}):
            return
        self._read_new(state.log_history)
        steps = self._steps
        gaps = self._gaps
        if len(gaps) >= _FIRST:
            self._stop_if_apart(gaps[-_FIRST:])
        if not state.is_world_process_zero:
            return
        if len(gaps) >= _FIRST:
            self._report(_FIRST, _old_weights(gaps, args))
        if len(steps) == _FIRST:
            self._report(_FIRST, self._cannot_begin(_Steps(steps)))
        if len(steps) >= _REPEATED:
            self._report(_REPEATED, self._collapsed(_Steps(steps[-_REPEATED:])))
        if len(steps) >= _STEPS:
            self._report(_STEPS, self.signs(steps, args.max_completion_length))

    def _read_new(self, history: list[dict[str, Any]]) -> None:
        """Read the logs that are new, because reading all in each step would make long runs quadratic."""
        if history is not self._history or len(history) < self._read:  # a checkpoint was loaded
            self._history = history
            self._read = 0
            self._steps = []
            self._gaps = []
        new = [log for log in history[self._read :] if "reward" in log]
        self._read = len(history)
        self._steps += new
        self._gaps += _gaps(new)

    def _report(self, steps: int, signs: Signs) -> None:
        """Log the signs of the last steps that were not logged before."""
        for sign, cause in signs.items():
            if sign not in self.reported:
                self.reported[sign] = cause
                LOG.warning("in the last %d steps, %s: %s.", steps, sign, cause)

    def _stop_if_apart(self, gaps: list[float]) -> None:
        """Raise FindingError if all of the last differences between vLLM and the trainer are too large."""
        if 0 < self.highest_gap < min(gaps):
            stop(
                "old-weights",
                f"grpo_max_logprob_difference ({self.highest_gap:g})",
                f"vLLM's and the trainer's log-probabilities of the same tokens differed by {fmean(gaps):.2f} nats on "
                f"average in the last {_FIRST} steps, so vLLM may have other weights",
                f"{_FIND_ERRORS}. With a higher limit the run goes on",
            )

    def _cannot_begin(self, start: "_Steps") -> Signs:
        """Return a sign that the first steps teach nothing: no answer to read, or no gradient."""
        if start.all_zero(mean_of(self.first)) and start.unreadable(self.first):
            return {
                "no completion has a readable answer": f"{short(self.first)} is 0 in all of them"
                f"{start.reasons(self.first)}. Show the layout (grpo_examples), and try the model "
                "with `axolotl-grpo passrate` before the training"
            }
        if not start.all_zero("grad_norm") or self._is_solved(start):
            return {}
        cause = (
            "some prompt groups have different rewards. Check the learning rate and frozen weights"
        )
        if start.mean(_EQUAL_GROUPS) == 1:
            cause = (
                f"all prompt groups have equal rewards. {_READ_THEM}choose rows with "
                "`axolotl-grpo passrate`, or raise the temperature or trl.num_generations"
            )
        return {"every gradient is 0, so the weights cannot change": cause}

    def _collapsed(self, recent: "_Steps") -> Signs:
        """Return a sign that most answers are the same text."""
        same = all(share > _ONE_ANSWER for share in recent.values(MOST_FREQUENT))
        if not same or self._is_solved(recent):
            return {}
        return {
            "one answer is over 80 % of all answers": f"{recent.mean(MOST_FREQUENT):.0%} on average, "
            "so the model does not use the question. Name the possible answers in "
            "grpo_system_prompt, and show an example of each (grpo_examples)"
        }

    def signs(self, steps: list[dict[str, Any]], length: int) -> Signs:
        """Return each sign in the last steps.

        Args:
            steps: The logged metrics of all steps.
            length: The most tokens of a completion.
        """
        recent = _Steps(steps[-_STEPS:])
        if recent.all_missing("reward"):
            return {
                "every reward function gave None": "the run learns nothing, because the dataset lacks "
                "their columns or its gold answers are unreadable"
            }
        scored = not recent.all_zero("reward")
        signs = self._flat(recent)
        if not scored:
            signs = {
                "the reward is flat at 0": f"no completion scores above 0{recent.reasons(self.first)}. "
                f"{_READ_THEM}show the layout (grpo_examples), or use easier problems or a stronger model"
            }
        if len(steps) >= 2 * _STEPS:
            signs |= self._fallen(_Steps(steps[:_STEPS]), recent)
        signs |= _disagreement(recent)
        clipped = recent.mean("completions/clipped_ratio")
        if clipped > 0.3:
            signs["over 30 % of the completions were cut off"] = (
                f"{clipped:.0%} reach trl.max_completion_length ({length} tokens). "
                "Raise it. If the model never stops, check its eos token and its chat template"
            )
        same = recent.mean(_EQUAL_GROUPS)
        if scored and same > 0.8 and not self._is_solved(recent):
            signs["over 80 % of the prompt groups have equal rewards"] = (
                f"{same:.0%} teach nothing, because the problems are too hard or too easy, or the "
                "temperature or num_generations is too low"
            )
        return signs

    def _is_solved(self, recent: "_Steps") -> bool:
        highest = self.highest.get(self.first, 0.0)
        return 0 < _SOLVED * highest <= recent.mean(mean_of(self.first))

    def _flat(self, recent: "_Steps") -> Signs:
        """Return a sign for each reward that stays at 0 beside others."""
        signs = {}
        for name, highest in self.highest.items():
            if highest > 0 and recent.all_zero(mean_of(name)):
                signs[f"{short(name)} is flat at 0"] = (
                    f"the run learns only from its other rewards{recent.reasons(name)}. "
                    f"{_READ_THEM}use easier problems or a stronger model"
                )
        return signs

    def _fallen(self, start: "_Steps", recent: "_Steps") -> Signs:
        """Return a sign for each reward that fell since the start, and for an entropy that did."""
        signs = {}
        rises = recent.mean("reward") > start.mean("reward")
        for name, highest in self.highest.items():
            key = mean_of(name)
            lost = start.mean(key) - recent.mean(key)
            noise = _ERRORS * hypot(start.error(key), recent.error(key))
            if highest <= 0 or not lost > max(_LOSS * highest, noise):
                continue
            why = "Training makes the model worse. Lower the learning rate, or raise trl.beta"
            if rises:
                why = (
                    f"The whole reward rises ({_change(start, recent, 'reward')}), so the model earns more by "
                    "other rewards (reward hacking). Read completions with `axolotl-grpo view OUTPUT_DIR`, and correct "
                    "those rewards or trl.reward_weights"
                )
            signs[f"{short(name)} fell"] = (
                f"{_change(start, recent, key)}{recent.reasons(name)}. {why}"
            )
        entropy = recent.mean("entropy")
        first = mean_of(self.first)
        # A model that becomes right may also become sure.
        rises = recent.mean(first) > start.mean(first)
        if 0 < entropy < start.mean("entropy") / 5 and not rises:
            signs["the entropy fell below a fifth of its start"] = (
                f"at {entropy:.3f} the model repeats itself, and {short(self.first)} does not rise. "
                "Lower the learning rate, or raise the temperature"
            )
        return signs


def _gaps(steps: list[dict[str, Any]]) -> list[float]:
    """Return the difference between vLLM and the trainer in each step that has measured it."""
    gaps = []
    for step in steps:
        gap = _number(step.get(_DIFFERENCE))
        # A step without gradient computes no log-probabilities, and then logs 0.
        if gap > 0 or (gap == 0 and step.get(_EQUAL_GROUPS) != 1):
            gaps.append(gap)
    return gaps


def _old_weights(gaps: list[float], args: GRPOConfig) -> Signs:
    """Return a sign that vLLM keeps old weights, or that it had others from the start.

    Args:
        gaps: The difference of each step, in nats per token.
        args: The arguments of the training.
    """
    recent = gaps[-_FIRST:]
    if min(recent) > _GAP:
        return _disagreement_sign(fmean(recent))
    # Axolotl's arguments. Completions with weights of an earlier step differ in a healthy run, too.
    interval = getattr(args, "vllm_sync_interval", None) or 1
    is_behind = getattr(args, "async_prefetch", False) or interval > 1
    grown = min(gaps[-_GROWN:])
    if is_behind or len(gaps) > _STEPS or grown <= max(_GROWTH * gaps[0], _LEAST_GROWN):
        return {}
    return {
        "vLLM's log-probabilities drift away from the trainer's": f"they differed by {gaps[0]:.4f} nats per token in "
        f"the first step, and by {gaps[-1]:.4f} in the last one, so new weights may not reach vLLM. {_FIND_ERRORS}"
    }


def _disagreement(recent: "_Steps") -> Signs:
    """Return signs that vLLM and the trainer give completions different probabilities."""
    gap = recent.mean(_DIFFERENCE)
    # TRL caps or masks the ratio before it logs it.
    ratio = recent.mean("sampling/importance_sampling_ratio/mean")
    signs = _disagreement_sign(gap) if gap > _GAP else {}
    if gap > 0 and not 0.5 <= ratio <= 2:  # verl's limits, docs/algo/rollout_corr.md
        # TRL's default multiplies the ratios of all tokens of a completion (trl#5814).
        signs["the importance ratio is far from 1"] = (
            f"vLLM's completions count {ratio:.2f} times on average. If they are long, set "
            "trl.vllm_importance_sampling_mode: token_truncate"
        )
    return signs


def _disagreement_sign(gap: float) -> Signs:
    return {
        "vLLM and the trainer disagree": f"by {gap:.2f} nats per token. Remove trl.top_p, top_k, min_p and "
        "repetition_penalty, or give both the same dtype (4 bits differ most, fp16 less than bf16). If it grows, "
        "new weights may not reach vLLM"
    }


class _Steps:
    """The metrics of some steps. A value that is missing is NaN, so no comparison with it is true."""

    def __init__(self, steps: list[dict[str, Any]]):
        self._steps = steps

    def values(self, key: str) -> list[float]:
        """Return a value for each step."""
        return [_number(step.get(key)) for step in self._steps]

    def mean(self, key: str) -> float:
        """Return the mean of the steps that have a value, NaN if none has one."""
        values = self._present(key)
        return fmean(values) if values else nan

    def error(self, key: str) -> float:
        """Return the standard error of the mean, in the metric's unit. It is NaN for fewer than two values."""
        values = self._present(key)
        return stdev(values) / sqrt(len(values)) if len(values) > 1 else nan

    def _present(self, key: str) -> list[float]:
        return [value for value in self.values(key) if not isnan(value)]

    def unreadable(self, name: str) -> bool:
        """Return whether each completion of every step lacks an answer that the reward can read."""
        keys = [f"reward_reasons/{name}/{reason}" for reason in _UNREADABLE]
        return all(fsum(step.get(key) or 0 for key in keys) > 1 - 1e-6 for step in self._steps)

    def all_missing(self, key: str) -> bool:
        """Return whether no step has a value."""
        return not self._present(key)

    def all_zero(self, key: str) -> bool:
        """Return whether every step has the value 0."""
        return all(value == 0 for value in self.values(key))

    def reasons(self, name: str) -> str:
        """Return the three most frequent reasons of a reward with their shares, or ""."""
        prefix = f"reward_reasons/{name}/"
        sums: Counter[str] = Counter()
        for step in self._steps:
            for key, share in step.items():
                if key.startswith(prefix) and share:
                    sums[key.removeprefix(prefix)] += share
        shown = [
            f"{reason} {total / len(self._steps):.0%}" for reason, total in sums.most_common(3)
        ]
        return f", reasons: {', '.join(shown)}" if shown else ""


def _number(value: Any) -> float:
    """Return a metric as a number, NaN if it is no finite one."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return nan
    return number if isfinite(number) else nan


def _change(start: _Steps, end: _Steps, key: str) -> str:
    """Return a metric's mean in the first and in the last steps."""
    return f"{start.mean(key):.2f} -> {end.mean(key):.2f}"
