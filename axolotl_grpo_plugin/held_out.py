"""What a run changed: the model answers held-out rows before the first step and after the last.

The trainer's own generation and its own reward functions do it, so that what is counted is what
was paid for; the rows never enter a training batch.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import isnan, sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from tqdm import tqdm
from transformers import GenerationConfig, TrainerCallback

FILE = "held_out.jsonl"
MODES = ("greedy", "sampled")


class Change(NamedTuple):
    """One reward on the held-out rows, before and after.

    before, after: means over the rows. right_before, right_after: shares of rows that scored the
    reward's highest value, None where it does not say what that is. low, high: the 95 % interval of
    after minus before, from the rows' differences. rows: how many rows have both scores.
    """

    reward: str
    mode: str
    rows: int
    before: float
    after: float
    low: float
    high: float
    right_before: float | None
    right_after: float | None


class HeldOut(TrainerCallback):
    """Answers `rows` rows of the evaluation dataset at both ends of a training.

    Each answer is a line of held_out.jsonl in the output folder: when ("before", "after"), mode
    ("greedy", "sampled"), row, prompt, completion, and the score of each reward function.
    """

    def __init__(self, trainer: Any, rows: int):
        self.trainer = trainer
        self.dataset = trainer.eval_dataset.select(range(min(rows, len(trainer.eval_dataset))))
        self.file = Path(trainer.args.output_dir) / FILE

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # A resumed run goes on with the answers that the model gave before its first start.
        if state.global_step == 0 or not self.file.exists():
            self._write(self._answers("before"), "w")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._write(self._answers("after"), "a")

    def _write(self, answers: list[dict[str, Any]], mode: str) -> None:
        if self.trainer.accelerator.is_main_process:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(answer) + "\n" for answer in answers)

    def _answers(self, when: str) -> list[dict[str, Any]]:
        trainer = self.trainer
        was_training = trainer.model.training
        trainer.model.eval()
        # The run learns the same whether it is looked at or not.
        with torch.random.fork_rng(), torch.no_grad():
            with _greedy(trainer):
                answers = self._answer(when, "greedy")
            answers += self._answer(when, "sampled")
        trainer.model.train(was_training)
        return answers

    def _answer(self, when: str, mode: str) -> list[dict[str, Any]]:
        trainer, count = self.trainer, len(self.dataset)
        rank, ranks = trainer.accelerator.process_index, trainer.accelerator.num_processes
        # Every rank answers equally many rows, for they meet in each batch; the last may repeat.
        places = [min(i, count - 1) for i in range(rank, -(-count // ranks) * ranks, ranks)]
        batch_size = trainer.args.per_device_eval_batch_size
        answers: dict[int, dict[str, Any]] = {}
        for start in tqdm(
            range(0, len(places), batch_size),
            desc=f"held-out rows {when} training, {mode}",
            disable=rank != 0,
            leave=False,
        ):
            batch = places[start : start + batch_size]
            rows = [self.dataset[place] for place in batch]
            prompts = [row["prompt"] for row in rows]
            prompt_ids, _, _ = trainer._tokenize_prompts(prompts)
            ids, _ = trainer._generate_single_turn(prompt_ids, None, {}, 1)
            completions = trainer.processing_class.batch_decode(ids, skip_special_tokens=True)
            as_given = [
                [{"role": "assistant", "content": text}] if isinstance(prompt, list) else text
                for prompt, text in zip(prompts, completions, strict=True)
            ]
            scores = trainer._calculate_rewards(rows, prompts, as_given, ids).tolist()
            said = gather_object(list(zip(batch, prompts, completions, strict=True)))
            for (place, prompt, completion), row_scores in zip(said, scores, strict=True):
                answers[place] = {
                    "when": when,
                    "mode": mode,
                    "row": place,
                    "prompt": prompt,
                    "completion": completion,
                    "rewards": {
                        name: None if isnan(score) else score
                        for name, score in zip(trainer.reward_func_names, row_scores, strict=True)
                    },
                }
        # What the reward functions logged belongs to no training batch.
        trainer._pending_extra_logs.clear()
        trainer._pending_metrics.clear()
        return [answers[place] for place in sorted(answers)]


@contextmanager
def _greedy(trainer: Any) -> Iterator[None]:
    """The trainer generates greedily within."""
    holder, name, greedy = (
        (trainer.vllm_generation, "temperature", 0.0)
        if trainer.use_vllm
        else (trainer, "generation_config", _greedy_config(trainer))
    )
    sampling = getattr(holder, name)
    setattr(holder, name, greedy)
    try:
        yield
    finally:
        setattr(holder, name, sampling)


def _greedy_config(trainer: Any) -> GenerationConfig:
    kept = (
        "max_new_tokens",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
        "cache_implementation",
    )
    config = trainer.generation_config
    return GenerationConfig(
        **{name: getattr(config, name) for name in kept}, do_sample=False, disable_compile=True
    )


def read_changes(file: Path, highest: dict[str, float] | None = None) -> list[Change]:
    """Before and after of each reward and mode, from a held_out.jsonl.

    highest: for the rewards that say so, the score that means "right".
    """
    scores: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    with file.open(encoding="utf-8") as lines:
        for answer in map(json.loads, lines):
            for name, score in answer["rewards"].items():
                if score is not None:
                    moments = scores.setdefault((name, answer["mode"]), {"before": {}, "after": {}})
                    moments[answer["when"]][answer["row"]] = score
    return [
        _change(name, mode, moments["before"], moments["after"], (highest or {}).get(name))
        for (name, mode), moments in scores.items()
        if moments["before"].keys() & moments["after"].keys()
    ]


def _change(
    name: str,
    mode: str,
    before: dict[int, float],
    after: dict[int, float],
    highest: float | None,
) -> Change:
    rows = sorted(before.keys() & after.keys())
    earlier, later = [before[row] for row in rows], [after[row] for row in rows]
    differences = [b - a for a, b in zip(earlier, later, strict=True)]
    mean = fmean(differences)
    margin = 1.96 * stdev(differences) / sqrt(len(rows)) if len(rows) > 1 else float("inf")
    shares = (
        (None, None)
        if highest is None
        else tuple(sum(score >= highest for score in each) / len(rows) for each in (earlier, later))
    )
    return Change(
        name, mode, len(rows), fmean(earlier), fmean(later), mean - margin, mean + margin, *shares
    )
