"""The rollout log: every completion of a run with what it earned and why, in Parquet."""

import json
import logging
import os
from collections.abc import Callable
from itertools import count
from math import isnan
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from axolotl_grpo_plugin.config import block
from axolotl_grpo_plugin.scoring.worker import Outcome

LOG = logging.getLogger(__name__)

_TYPES = {
    "attempt": pa.int32(),
    "step": pa.int64(),
    "rank": pa.int32(),
    "mode": pa.string(),
    "prompt": pa.string(),
    "completion": pa.string(),
    "completion_tokens": pa.int32(),
    "truncated": pa.bool_(),
    "reward": pa.float64(),
    "advantage": pa.float64(),
}


class Rollouts:
    """Writes a file a batch and rank: FOLDER/train/ATTEMPT-STEP-RANK-NUMBER.parquet, and FOLDER/eval.

    A file is there whole or not at all, and none is written twice, so that a run which is killed leaves
    all its steps but the last. Columns: attempt (1, and one more each time that a run starts in
    the folder), step (that trains on it; of an evaluation, the last one before), rank, mode,
    prompt and completion (text, chats as JSON), completion_tokens, truncated, `column/<name>` of the
    dataset (text, else JSON), `reward/<name>`, `reason/<name>` and `error/<name>` of each reward
    function, reward (their weighted sum), advantage.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.attempt = 1
        self._numbers = count()
        self._held: dict[str, list[Any]] | None = None

    @classmethod
    def of(cls, cfg: Any) -> "Rollouts | None":
        """That of a config, None where it wants none."""
        said = cfg.get("grpo_rollouts")
        if not said:
            return None
        return cls(Path(cfg["output_dir"]) / "rollouts" if said is True else Path(said))

    def attach(self, trainer: Any) -> None:
        """Write when a trainer knows the advantages of what was held."""
        written = (
            int(file.name.split("-")[0]) for file in self.folder.glob("*/[0-9]*-*-*-*.parquet")
        )
        self.attempt = max(written, default=0) + 1
        generate = trainer._generate_and_score_completions

        def generate_and_score(inputs: Any) -> Any:
            output = generate(inputs)
            self.write(output["advantages"])
            return output

        trainer._generate_and_score_completions = generate_and_score
        # Axolotl's async trainer scores apart from generating, and calls this when it has.
        if hasattr(trainer, "_post_advantage_hook"):
            hook: Callable[..., Any] = trainer._post_advantage_hook

            def post_advantage(
                data: Any, rewards: Any, advantages: Any, *rest: Any, **more: Any
            ) -> Any:
                self.write(advantages)
                return hook(data, rewards, advantages, *rest, **more)

            trainer._post_advantage_hook = post_advantage

    def hold(
        self,
        trainer: Any,
        scores: torch.Tensor,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        ids: list[list[int]],
        outcomes: dict[str, list[Outcome]],
    ) -> None:
        """Keep this rank's batch until its advantages are known. scores: (completions, functions).

        Of the held-out rows none are made: those have held_out.jsonl.
        """
        training, rows = trainer.model.training, len(prompts)
        tokenizer = trainer.processing_class
        ends = {getattr(tokenizer, "eos_token_id", None), getattr(tokenizer, "pad_token_id", None)}
        weights = trainer.reward_weights.to(scores.device)
        totals = (scores * weights).nansum(dim=1).masked_fill(scores.isnan().all(dim=1), torch.nan)
        columns: dict[str, list[Any]] = {
            "attempt": [self.attempt] * rows,
            "step": [trainer.state.global_step + training] * rows,
            "rank": [trainer.accelerator.process_index] * rows,
            "mode": ["train" if training else "eval"] * rows,
            "prompt": [_text(prompt) for prompt in prompts],
            "completion": [_said(completion) for completion in completions],
            "completion_tokens": [len(each) for each in ids],
            "truncated": [not len(each) or int(each[-1]) not in ends for each in ids],
        }
        for name in sorted({key for row in inputs for key in row} - {"prompt", "image", "images"}):
            columns[f"column/{name}"] = [_text(row.get(name)) for row in inputs]
        for place, name in enumerate(trainer.reward_func_names):
            columns[f"reward/{name}"] = [_number(score) for score in scores[:, place].tolist()]
            if scored := outcomes.get(name):
                columns[f"reason/{name}"] = [each.said for each in scored]
                columns[f"error/{name}"] = [each.error or None for each in scored]
        columns["reward"] = [_number(total) for total in totals.tolist()]
        self._held = columns

    def write(self, advantages: torch.Tensor) -> None:
        """Write what is held. advantages: (completions,)."""
        held, self._held = self._held, None
        if held is None:
            return
        held["advantage"] = advantages.tolist()
        table = pa.table({name: pa.array(values, _type(name)) for name, values in held.items()})
        mode, step, rank = (held[name][0] for name in ("mode", "step", "rank"))
        name = f"{self.attempt:03d}-{step:06d}-{rank:03d}-{next(self._numbers):06d}.parquet"
        file = self.folder / mode / name
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        try:
            pq.write_table(table, part)
            os.replace(part, file)
        except OSError:  # a full disk: the other ranks would wait for this one
            LOG.exception("the rollouts of step %d could not be written", step)


def show_samples(cfg: Any) -> None:
    """TRL's own table of samples, in a tracker that shows one, for a run that logs its rollouts."""
    trl = block(cfg, "trl")
    if cfg.get("grpo_rollouts") and (cfg.get("wandb_project") or cfg.get("use_trackio")):
        trl.setdefault("log_completions", True)
        trl.setdefault("num_completions_to_print", 0)


def _type(name: str) -> pa.DataType:
    return _TYPES.get(name) or (pa.float64() if name.startswith("reward/") else pa.string())


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


def _said(completion: Any) -> str | None:
    """What the model wrote, where that is one message; else the chat."""
    if not isinstance(completion, str) and len(completion) == 1:
        return _text(completion[0].get("content"))
    return _text(completion)


def _number(value: float) -> float | None:
    return None if isnan(value) else value
