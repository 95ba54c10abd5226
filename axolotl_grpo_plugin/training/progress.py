"""The terminal during and after a training: the progress bar with rewards, and the tables at the end."""

import logging
from pathlib import Path
from time import monotonic
from typing import Any

from transformers import ProgressCallback, TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig

from axolotl_grpo_plugin.report.tables import shown
from axolotl_grpo_plugin.runlog.rewards import short
from axolotl_grpo_plugin.training.held_out import compared
from axolotl_grpo_plugin.training.record import PLOT
from axolotl_grpo_plugin.training.report import curve, mean_of, plot, right_of

LOG = logging.getLogger(__name__)

type Logs = dict[str, Any]  # metrics of a step


class RewardProgress(ProgressCallback):
    """transformers' progress bar, with the numbers that tell whether a run learns.

    Args:
        first: The reward function that says which completions are right.
    """

    def __init__(self, first: str):
        super().__init__()
        self.first = first
        # The time and the tokens of the last log.
        self._time = 0.0
        self._tokens = 0.0

    def on_train_begin(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **more: object
    ) -> None:
        super().on_train_begin(args, state, control, **more)
        self._time = monotonic()
        self._tokens = state.num_input_tokens_seen
        if self.training_bar is not None:
            self.training_bar.bar_format = (
                "{n_fmt}/{total_fmt} |{bar:8}| [{elapsed}<{remaining}{postfix}]"
            )

    def on_log(
        self,
        args: GRPOConfig,
        state: TrainerState,
        control: TrainerControl,
        logs: Logs | None = None,
        **_: object,
    ) -> None:
        if self.training_bar is None or not logs or "reward" not in logs:
            return
        now = monotonic()
        tokens = logs.get("num_tokens") or 0.0
        rate = (tokens - self._tokens) / (now - self._time)
        self._time = now
        self._tokens = tokens
        self.training_bar.set_postfix_str(numbers(logs, self.first, rate))


def numbers(logs: Logs, first: str, rate: float) -> str:
    """Return a step's metrics in one short line.

    Args:
        logs: The metrics of the step.
        first: The reward function that says which completions are right.
        rate: Tokens per second, of prompts and completions.
    """
    score = mean_of(first), f"{short(first)} {{:.2f}}"
    # The share of right answers says more than the mean, if the reward declares a range.
    if logs.get(right_of(first)) is not None:
        score = right_of(first), "right {:.0%}"
    shown = [
        ("reward", "reward {:.2f}"),
        score,
        ("frac_reward_zero_std", "dead {:.0%}"),
        ("completions/clipped_ratio", "truncated {:.0%}"),
    ]
    parts = [text.format(logs[key]) for key, text in shown if logs.get(key) is not None]
    per_second = f"{rate / 1000:.1f}k" if rate >= 1000 else f"{rate:.0f}"
    return " ".join([*parts, f"{per_second} tokens/s"])


class Report(TrainerCallback):
    """Draws a run's curve at its end as training.png, and prints the held-out tables.

    Args:
        first: The reward function that is shown beside the reward.
        answers: The file of the held-out answers, or None.
    """

    def __init__(self, first: str, answers: Path | None):
        self.first = first
        self.answers = answers

    def on_train_end(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.is_world_process_zero:
            try:
                self.show(state.log_history, Path(args.output_dir))
            except Exception:  # Axolotl saves the model after this
                LOG.exception("the report of this run failed")

    def show(self, history: list[Logs], folder: Path) -> None:
        """Print the held-out tables of a run, and write training.png to its folder."""
        from rich.console import Console

        held_out = compared(self.answers) if self.answers else []
        reward = curve(history, "reward")
        curves = {"reward": reward, short(self.first): curve(history, mean_of(self.first))}
        if held_out:
            console = Console(markup=False)
            console.print()
            console.print(shown(held_out))
        if not reward.empty:
            plot(curves, folder / PLOT)
