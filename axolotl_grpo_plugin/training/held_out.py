"""Compare the model's answers to held-out rows before and after training."""

from collections.abc import Iterable
from pathlib import Path

from pandas import DataFrame

from axolotl_grpo_plugin.report.tables import Plain, summarize
from axolotl_grpo_plugin.runlog.reader import Row, raw_rows, rewards_in
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import REWARD

ROWS = "held-out rows"  # the name of their dataset
BEFORE = "before"
AFTER = "after"


def means(answers: Iterable[Row], rewards: Iterable[LoggedReward]) -> dict[str, float]:
    """Return the metrics of held-out answers: mean and share of right answers per reward and mode."""
    metrics = {}
    for mode, same_mode in DataFrame(answers).groupby("mode"):
        for reward in rewards:
            scores = same_mode[REWARD + reward.name].dropna()
            if scores.empty:
                continue
            prefix = f"held_out/{mode}/{reward.name}"
            metrics[f"{prefix}/mean"] = float(scores.mean())
            if reward.range:
                metrics[f"{prefix}/right"] = float(scores.ge(reward.least_right).mean())
    return metrics


def compared(file: Path) -> list[Plain]:
    """Return the results before and after training by mode, as in eval.json. [] for an unfinished run.

    Args:
        file: The held-out answers. It may be missing.
    """
    if not file.exists():
        return []
    answers = [row for row in raw_rows(file) if row["model"] in (BEFORE, AFTER)]
    summary = summarize(answers, rewards_in(file))
    return [part for part in summary["parts"] if part["differences"]]
