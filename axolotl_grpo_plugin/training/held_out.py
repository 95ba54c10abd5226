"""Compare the model's answers to held-out rows before and after training."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pandas import DataFrame

from axolotl_grpo_plugin.report.tables import Plain, summarize
from axolotl_grpo_plugin.runlog.reader import Row, raw_rows, rewards_in, why_unreadable
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import REWARD

LOG = logging.getLogger(__name__)

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


def earlier_answers(file: Path) -> Any:
    """Return the table of a run's held-out answers so far, None if there are none that can be read."""
    import pyarrow.parquet as pq

    return pq.read_table(file) if _is_readable(file) else None


def _is_readable(file: Path) -> bool:
    """Return whether a file of answers can be read. Log why an existing one cannot."""
    why = why_unreadable(file) if file.exists() else "it is missing"
    if why and file.exists():
        LOG.warning("%s is left out, because it cannot be read: %s.", file, why)
    return not why


def compared(file: Path) -> list[Plain]:
    """Return the results before and after training by mode, as in eval.json. [] for an unfinished run.

    Args:
        file: The held-out answers. It may be missing.
    """
    if not _is_readable(file):
        return []
    answers = [row for row in raw_rows(file) if row["model"] in (BEFORE, AFTER)]
    summary = summarize(answers, rewards_in(file))
    return [part for part in summary["parts"] if part["differences"]]
