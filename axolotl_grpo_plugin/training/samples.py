"""Show a prompt group of the training from time to time: in the terminal, and in the tracker."""

import re
import sys
from collections.abc import Iterator
from itertools import batched
from math import isnan
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from axolotl_grpo_plugin.runlog.reader import readable

EVERY = 25  # steps
TABLE = "samples"
WIDTH = 100  # columns of a terminal
_READ = 100_000  # characters


class Samples(TrainerCallback):
    """Prints a prompt group of steps 1, 26, 51, ..., and adds it to a table of W&B or Trackio.

    W&B shows only the last table of a name, so this one grows. trainer: its `_logs` have the last batch
    of all ranks. first: the reward function whose reason is printed. every: number of steps.
    """

    def __init__(self, trainer: Any, first: str, every: int):
        self.trainer, self.first, self.every = trainer, first, every
        self._table: Any = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero or (state.global_step - 1) % self.every:
            return
        trainer = self.trainer
        weights = trainer.reward_weights.tolist()
        rows = group(trainer._logs, trainer.num_generations, weights, state.global_step)
        if rows:  # Axolotl's sequence-parallel trainer has no such logs
            # To the bar's stream, because `axolotl grpo train` copies that one later than the other.
            tqdm.write("\n".join(screen(rows, self.first)), file=sys.stderr)
            self._track(args.report_to, rows)

    def _track(self, trackers: list[str], rows: list[dict[str, Any]]) -> None:
        if "wandb" in trackers:
            import wandb

            columns = self._table.columns if self._table else list(rows[0])
            self._table = self._table or wandb.Table(columns, log_mode="INCREMENTAL")
            for row in rows:
                self._table.add_data(*map(row.get, columns))
            wandb.log({TABLE: self._table})
        if "trackio" in trackers:
            import trackio

            values = [list(row.values()) for row in rows]
            trackio.log({TABLE: trackio.Table(list(rows[0]), values)})


def group(logs: Any, size: int, weights: list[float], step: int) -> list[dict[str, Any]]:
    """Return the completions of the first group that teaches, else of the first, the best first.

    logs: TRL's texts or chats, scores and advantages of a batch. size: completions per group.
    """
    columns = {name: [*map(_text, logs[name])] for name in ("prompt", "completion")}
    columns |= {**logs["rewards"], **logs["extra"], "advantage": logs["advantages"]}
    # Axolotl's async trainer has no reasons.
    columns = {name: each for name, each in columns.items() if len(each) == len(logs["prompt"])}
    values = zip(*columns.values(), strict=True)
    rows = [dict(zip(columns, map(_plain, row), strict=True)) for row in values]
    groups = [*batched(rows, size)]
    alive = (each for each in groups if any(row["advantage"] for row in each))
    chosen = next(alive, groups[0] if groups else ())
    for row in chosen:
        scores = zip(weights, map(row.get, logs["rewards"]), strict=True)
        row["reward"] = sum((w * score for w, score in scores if score is not None), 0.0)
    best_first = sorted(chosen, key=lambda row: -row["reward"])
    return [{"step": step, **row} for row in best_first]


def _text(said: Any) -> str:
    """Return the text of a prompt or completion. TRL logs chats as messages since 1.15."""
    return readable(said, _READ).removeprefix("assistant: ")


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and isnan(value) else value


def screen(rows: list[dict[str, Any]], first: str) -> Iterator[str]:
    """Yield lines on a prompt group: the prompt, and its best, median and worst completion.

    A line has at most `WIDTH` columns. It shows the end of a text, because the answer is there.
    """
    prompt = re.sub(r"\n(assistant|model)\s*$", "", rows[0]["prompt"])  # its chat template's end
    yield _line(f"step {rows[0]['step']}, prompt of {len(rows)} completions: ", prompt)
    for place in sorted({0, len(rows) // 2, len(rows) - 1}):
        row = rows[place]
        reason = str(row.get(f"{first}/reason") or "")[:20]
        numbers = f"{row['reward']:8.2f} {row['advantage']:+6.2f}  "
        yield _line(f"{numbers}{reason:20}  ", row["completion"])


def _line(head: str, text: str) -> str:
    """Return a line with the end of a text."""
    words, width = " ".join(text.split()), WIDTH - len(head)
    return head + (words if len(words) <= width else f"...{words[len(words) - width + 3 :]}")
