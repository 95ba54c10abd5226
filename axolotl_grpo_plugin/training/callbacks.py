"""What stands beside a training: a bar that says reward and correctness, the held-out rows, the report."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from math import isfinite, isnan
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from tqdm import tqdm
from transformers import GenerationConfig, ProgressCallback, TrainerCallback

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.training.health import Health
from axolotl_grpo_plugin.training.held_out import FILE, read_changes
from axolotl_grpo_plugin.training.report import PLOT, mean_of, plot, short, sparkline, table

LOG = logging.getLogger(__name__)


def callbacks(cfg: Any, trainer: Any, highest: dict[str, float]) -> list[TrainerCallback]:
    """Return the callbacks of a run. transformers' bar, which prints every metric of every step, goes.

    highest: the best score of each reward by its logged name, if that is known.
    """
    first, *_ = trainer.reward_func_names
    bar = [RewardProgress(first)] if trainer.pop_callback(ProgressCallback) else []
    rows = cfg.get("grpo_held_out_rows")
    held_out = [HeldOut(trainer, rows)] if rows else []
    answers = held_out[0].file if held_out else None
    return [*bar, *held_out, Health(first, highest.get(first)), Report(first, highest, answers)]


class RewardProgress(ProgressCallback):
    """transformers' bar, with the reward and the first reward function's mean beside the step."""

    def __init__(self, first: str):
        super().__init__()
        self.first = first

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if self.training_bar is not None and logs and "reward" in logs:
            shown = {"reward": logs["reward"], short(self.first): logs.get(mean_of(self.first))}
            self.training_bar.set_postfix(
                {name: f"{value:.2f}" for name, value in shown.items() if value is not None}
            )


class Report(TrainerCallback):
    """At the end: the training's curve, as a line in the terminal and as training.png; the held-out table.

    first: the reward function that is shown beside the reward. highest: what "right" is, for those
    that say it. answers: the held-out answers' file, None where there are none.
    """

    def __init__(self, first: str, highest: dict[str, float], answers: Path | None):
        self.first, self.highest, self.answers = first, highest, answers

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            try:
                self.show(args, state)
            except Exception:  # Axolotl saves the model after this
                LOG.exception("the report of this run could not be made")

    def show(self, args: Any, state: Any) -> None:
        from rich.console import Console

        drawn = Path(args.output_dir) / PLOT
        changes = read_changes(self.answers, self.highest) if self.answers else []
        curves = {
            name: [
                (log["step"], log[key])
                for log in state.log_history
                if log.get(key) is not None and isfinite(log[key])
            ]
            for name, key in (("reward", "reward"), (short(self.first), mean_of(self.first)))
        }
        console = Console(markup=False)
        console.print()
        for name, curve in curves.items():
            if curve:
                values = [value for _, value in curve]
                console.print(f"{name:>20}  {values[0]:5.2f} {sparkline(values)} {values[-1]:5.2f}")
        if changes:
            console.print(table(changes))
        if curves["reward"]:
            plot(curves, changes, drawn)
            console.print(f"curve    {drawn}", soft_wrap=True)
        if changes:
            console.print(f"answers  {self.answers}", soft_wrap=True)


class HeldOut(TrainerCallback):
    """Answers `rows` rows of the evaluation dataset at both ends of a training.

    Each answer is a line of held_out.jsonl in the output folder: when ("before", "after"), mode
    ("greedy", "sampled"), row, prompt, completion, and the score of each reward function.
    """

    def __init__(self, trainer: Any, rows: int):
        self.trainer = trainer
        self.dataset = _choose(trainer.eval_dataset, rows)
        self.file = Path(trainer.args.output_dir) / FILE

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:  # a resumed run has the answers from before its first step
            self._write(self._answers("before"), "w")

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        try:
            self._write(self._answers("after"), "a")
        except Exception:
            if self.trainer.accelerator.num_processes > 1:
                raise  # the other ranks wait for this one
            # Axolotl saves the model after this.
            LOG.exception("the held-out rows could not be answered after the training")

    def _write(self, answers: list[dict[str, Any]], mode: str) -> None:
        if self.trainer.accelerator.is_main_process:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(answer) + "\n" for answer in answers)

    def _answers(self, when: str) -> list[dict[str, Any]]:
        trainer = self.trainer
        was_training, several = trainer.model.training, trainer.num_generations_eval
        trainer.model.eval()
        trainer.num_generations_eval = 1
        # The run learns the same whether it is looked at or not.
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        with torch.random.fork_rng(devices), torch.no_grad():
            with _greedy(trainer):
                answers = self._answer(when, "greedy")
            answers += self._answer(when, "sampled")
        trainer.model.train(was_training)
        trainer.num_generations_eval = several
        # What was logged meanwhile belongs to no batch.
        for log in (
            trainer._metrics["eval"],
            trainer._pending_extra_logs,
            trainer._pending_metrics,
        ):
            log.clear()
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
            _, ids, _, completions, *_ = trainer._generate(prompts)
            scores = trainer._calculate_rewards(rows, prompts, completions, ids).tolist()
            said = gather_object(list(zip(batch, prompts, map(text_of, completions), strict=True)))
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
        return [answers[place] for place in sorted(answers)]


def _choose(dataset: Any, rows: int) -> Any:
    """That many rows, the same ones in every run: Axolotl shuffles by the run's seed."""
    digests = [sha256(json.dumps(prompt).encode()).digest() for prompt in dataset["prompt"]]
    return dataset.select(sorted(range(len(dataset)), key=digests.__getitem__)[:rows])


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
    sampling = ("do_sample", "temperature", "top_p", "top_k", "min_p")
    others = {k: v for k, v in trainer.generation_kwargs.items() if k not in sampling}
    return GenerationConfig(**others, do_sample=False, disable_compile=True)
