"""Signs that a run learns nothing, each said once, with its likely cause.

The thresholds are those of Axolotl's guide (docs: training stability).
"""

import logging
from collections import deque
from typing import Any

from transformers import TrainerCallback

from axolotl_grpo_plugin.training.report import mean_of

LOG = logging.getLogger(__name__)

_STEPS = 20  # logged steps that a sign is the mean of
_SOLVED = 0.9  # of the first reward's highest: groups that agree and a sure model are then well


class Health(TrainerCallback):
    """first: the reward function that is shown beside the reward. highest: its best score, None if unknown."""

    def __init__(self, first: str, highest: float | None):
        self.first, self.highest = first, highest
        self.recent: deque[dict[str, Any]] = deque(maxlen=_STEPS)
        self.said: set[str] = set()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero or "reward" not in (logs or {}):
            return
        self.recent.append(dict(logs))
        if len(self.recent) == _STEPS:
            for sign, cause in self.signs(args).items():
                if sign not in self.said:
                    self.said.add(sign)
                    LOG.warning("in the last %d steps, %s: %s", _STEPS, sign, cause)

    def signs(self, args: Any) -> dict[str, str]:
        """What the last steps show, and its likely cause."""
        rewards = [log["reward"] for log in self.recent]
        if all(reward is None for reward in rewards):
            return {
                "every reward function gave None": "the dataset lacks the columns that they read, "
                "or no gold answer can be read; the run learns nothing"
            }
        signs = {}
        if not any(rewards):
            signs["the reward is flat at 0"] = (
                "no completion earns anything: read some (grpo_rollouts, reward_reasons), "
                "show the layout (grpo_examples), or take easier problems or a stronger model"
            )
        if (clipped := self.mean("completions/clipped_ratio")) > 0.3:
            signs["over 30 % of the completions were cut off"] = (
                f"{clipped:.0%} reach trl.max_completion_length ({args.max_completion_length} tokens) "
                "before they end: raise it, or the model never stops (its eos token, its chat template)"
            )
        if self.highest and self.mean(mean_of(self.first)) >= _SOLVED * self.highest:
            return signs
        if (same := self.mean("frac_reward_zero_std")) > 0.8 and any(rewards):
            signs["over 80 % of the prompt groups were of one reward"] = (
                f"{same:.0%} teach nothing: the problems are too hard or too easy, or the temperature "
                "or num_generations too low"
            )
        if 0 < (entropy := self.mean("entropy")) < 0.05:
            signs["the entropy fell below 0.05"] = (
                f"at {entropy:.3f} the model repeats itself: lower the learning rate, raise the temperature"
            )
        return signs

    def mean(self, key: str) -> float:
        """Of that metric in the last steps; 0.0 where it is not logged."""
        values = [log[key] for log in self.recent if log.get(key) is not None]
        return sum(values) / len(values) if values else 0.0
