"""Warn once of each sign that a run learns nothing, with its likely cause.

The thresholds come from Axolotl's documentation (training stability).
"""

import logging
from collections import deque
from typing import Any

from transformers import TrainerCallback

from axolotl_grpo_plugin.training.report import mean_of

LOG = logging.getLogger(__name__)

_STEPS = 20  # logged steps that each mean covers
_SOLVED = 0.9  # from this share of the highest score on, equal rewards and low entropy are no fault


class Health(TrainerCallback):
    """Watches the logged metrics.

    first: the first reward function's logged name. highest: its highest score, None if unknown.
    """

    def __init__(self, first: str, highest: float | None):
        self.first, self.highest = first, highest
        self.recent: deque[dict[str, Any]] = deque(maxlen=_STEPS)
        self.reported: set[str] = set()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero or "reward" not in (logs or {}):
            return
        self.recent.append(dict(logs))
        if len(self.recent) == _STEPS:
            for sign, cause in self.signs(args).items():
                if sign not in self.reported:
                    self.reported.add(sign)
                    LOG.warning("in the last %d steps, %s: %s.", _STEPS, sign, cause)

    def signs(self, args: Any) -> dict[str, str]:
        """Return each sign in the last steps, with its likely cause."""
        rewards = [log["reward"] for log in self.recent]
        if all(reward is None for reward in rewards):
            return {
                "every reward function gave None": "the run learns nothing, because the dataset lacks "
                "their columns or its gold answers are unreadable"
            }
        signs = {}
        if not any(rewards):
            signs["the reward is flat at 0"] = (
                "no completion scores above 0. Read some completions (grpo_rollouts, reward_reasons), "
                "show the layout (grpo_examples), or use easier problems or a stronger model"
            )
        if (clipped := self.mean("completions/clipped_ratio")) > 0.3:
            signs["over 30 % of the completions were cut off"] = (
                f"{clipped:.0%} reach trl.max_completion_length ({args.max_completion_length} tokens). "
                "Raise it. If the model never stops, check its eos token and its chat template"
            )
        if self.highest and self.mean(mean_of(self.first)) >= _SOLVED * self.highest:
            return signs
        if (same := self.mean("frac_reward_zero_std")) > 0.8 and any(rewards):
            signs["over 80 % of the prompt groups have equal rewards"] = (
                f"{same:.0%} teach nothing, because the problems are too hard or too easy, or the "
                "temperature or num_generations is too low"
            )
        if 0 < (entropy := self.mean("entropy")) < 0.05:
            signs["the entropy fell below 0.05"] = (
                f"at {entropy:.3f} the model repeats itself. Lower the learning rate, or raise the temperature"
            )
        return signs

    def mean(self, key: str) -> float:
        """Return a metric's mean over the last steps, 0.0 if it is not logged."""
        values = [log[key] for log in self.recent if log.get(key) is not None]
        return sum(values) / len(values) if values else 0.0
