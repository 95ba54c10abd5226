"""Show a prompt group of the training in the terminal from time to time."""

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import compress, count, islice
from math import isnan, sumprod
from operator import itemgetter
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig, GRPOTrainer

from axolotl_grpo_plugin.runlog.reader import Row, readable

EVERY = 25  # steps
WIDTH = 100  # columns of a terminal
_READ = 100_000  # characters
_TEMPLATE_END = re.compile(r"\n(assistant|model)\s*$")  # what a chat template adds to a prompt


class Samples(TrainerCallback):
    """Prints a prompt group of steps 1, 26, 51, .... TRL's `log_completions` sends all to W&B or Trackio.

    Args:
        trainer: Its `_logs` have the last batch of all ranks.
        first: The reward function whose reason is printed.
        every: The number of steps from one group to the next.
    """

    def __init__(self, trainer: GRPOTrainer, first: str, every: int):
        self.trainer = trainer
        self.first = first
        self.every = every

    def on_step_end(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if not state.is_world_process_zero or (state.global_step - 1) % self.every:
            return
        trainer = self.trainer
        rows = group(
            trainer._logs,
            trainer.num_generations,
            trainer.reward_weights.tolist(),
            state.global_step,
        )
        if rows:  # Axolotl's sequence-parallel trainer has no such logs
            # To the bar's stream, because `axolotl-grpo train` copies that one later than the other.
            tqdm.write("\n".join(screen(rows, self.first)), file=sys.stderr)


def group(logs: Mapping[str, Any], size: int, weights: list[float], step: int) -> list[Row]:
    """Return the completions of the first group that teaches, else of the first, the best first.

    Args:
        logs: TRL's texts or chats, scores and advantages of a batch.
        size: Completions per group.
        weights: One per reward function.
        step: The step of the batch.
    """
    table = {
        "prompt": logs["prompt"],
        "completion": logs["completion"],
        **logs["rewards"],
        **logs["extra"],
        "advantage": logs["advantages"],
    }
    advantages = logs["advantages"]
    # A group without an advantage teaches nothing.
    first = next(compress(count(), advantages), 0) // size * size
    # Axolotl's async trainer has no reasons.
    names = [name for name, values in table.items() if len(values) == len(advantages)]
    lines = zip(*map(table.get, names), strict=True)
    rows = []
    for values in islice(lines, first, first + size):
        row: Row = {"step": step} | dict(zip(names, map(_none_for_nan, values), strict=True))
        for name in ("prompt", "completion"):
            # TRL logs chats as messages since 1.15.
            row[name] = readable(row[name], _READ).removeprefix("assistant: ")
        row["reward"] = sumprod([row[name] or 0.0 for name in logs["rewards"]], weights)
        rows.append(row)
    return sorted(rows, key=itemgetter("reward"), reverse=True)


def _none_for_nan(value: object) -> object:
    """Return a value of a row, with None in place of a missing score."""
    if isinstance(value, float) and isnan(value):
        return None
    return value


def screen(rows: list[Row], first: str) -> Iterator[str]:
    """Yield lines on a prompt group: the prompt, and its best, median and worst completion.

    A line has at most `WIDTH` columns. It shows the end of a text, because the answer is there.
    """
    prompt = _TEMPLATE_END.sub("", rows[0]["prompt"])
    head = f"step {rows[0]['step']}"
    if not any(row["advantage"] for row in rows):  # else `group` would have found another
        head += ", all groups are dead"
    yield _line(f"{head}, prompt of {len(rows)} completions: ", prompt)
    # A set, because a small group has no three different ones.
    for index in sorted({0, len(rows) // 2, len(rows) - 1}):
        row = rows[index]
        reason = str(row.get(f"{first}/reason") or "")[:20]
        yield _line(
            f"{row['reward']:8.2f} {row['advantage']:+6.2f}  {reason:20}  ", row["completion"]
        )


def _line(head: str, text: str) -> str:
    """Return a line with the end of a text."""
    words = " ".join(text.split())
    width = WIDTH - len(head)
    if len(words) > width:
        words = f"...{words[3 - width :]}"
    return head + words
