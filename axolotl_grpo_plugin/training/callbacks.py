"""Trainer callbacks: the progress bar with rewards, the held-out rows, and the final report."""

import json
import logging
from hashlib import sha256
from math import isfinite, isnan
from pathlib import Path
from time import monotonic
from typing import Any
from unittest.mock import patch

import torch
from accelerate.utils import gather_object
from tqdm import tqdm
from transformers import GenerationConfig, ProgressCallback, Trainer, TrainerCallback

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.environments.seams import generate
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.training.data_producer import DataProducerRepair
from axolotl_grpo_plugin.training.health import Health
from axolotl_grpo_plugin.training.held_out import FILE, RANGES, means, read_changes
from axolotl_grpo_plugin.training.report import (
    PLOT,
    mean_of,
    plot,
    right_of,
    short,
    sparkline,
    table,
)
from axolotl_grpo_plugin.training.resume import GenerationBatch
from axolotl_grpo_plugin.training.samples import EVERY, Samples

LOG = logging.getLogger(__name__)


def callbacks(cfg: Any, trainer: Any, runner: RewardRunner) -> list[TrainerCallback]:
    """Return the callbacks of a run, and remove transformers' progress bar, which prints every metric."""
    first, *_ = names = trainer.reward_func_names
    bar = [RewardProgress(first)] if trainer.pop_callback(ProgressCallback) else []
    rows = cfg.get("grpo_held_out_rows")
    steps = cfg.get("grpo_eval_steps")
    held_out = [HeldOut(trainer, rows, steps, runner.rewards(names))] if rows else []
    answers = held_out[0].file if held_out else None
    # Before the held-out rows, because it ends other generation.
    repair = [DataProducerRepair(trainer)] if getattr(trainer, "data_producer", None) else []
    every = cfg.get("grpo_show_steps")
    every = EVERY if every is None else every
    samples = [Samples(trainer, first, every)] if every else []
    resume = GenerationBatch(cfg, trainer)
    ending = [Health(first, runner.highest()), Report(first, answers)]
    return [*bar, *repair, resume, *samples, *held_out, *ending]


class RewardProgress(ProgressCallback):
    """transformers' progress bar, with the numbers that tell whether a run learns.

    first: the reward function that says which completions are right.
    """

    def __init__(self, first: str):
        super().__init__()
        self.first = first
        self._last = (0.0, 0.0)  # time and tokens of the last log

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        super().on_train_begin(args, state, control, **more)
        self._last = (monotonic(), state.num_input_tokens_seen)
        if self.training_bar is not None:
            self.training_bar.bar_format = (
                "{n_fmt}/{total_fmt} |{bar:8}| [{elapsed}<{remaining}{postfix}]"
            )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if self.training_bar is not None and logs and "reward" in logs:
            now, tokens = monotonic(), logs.get("num_tokens") or 0.0
            rate = (tokens - self._last[1]) / (now - self._last[0])
            self._last = (now, tokens)
            self.training_bar.set_postfix_str(numbers(logs, self.first, rate))


def numbers(logs: dict[str, Any], first: str, rate: float) -> str:
    """Return a step's metrics in one short line. rate: tokens per second, of prompts and completions."""
    shown = {
        "reward": ("reward", "{:.2f}"),
        right_of(first): ("right", "{:.0%}"),
        mean_of(first): (short(first), "{:.2f}"),
        "frac_reward_zero_std": ("dead", "{:.0%}"),
        "completions/clipped_ratio": ("truncated", "{:.0%}"),
    }
    if logs.get(right_of(first)) is not None:
        del shown[mean_of(first)]
    parts = [
        f"{name} {form.format(logs[key])}"
        for key, (name, form) in shown.items()
        if logs.get(key) is not None
    ]
    per_second = f"{rate / 1000:.1f}k" if rate >= 1000 else f"{rate:.0f}"
    return " ".join([*parts, f"{per_second} tokens/s"])


class Report(TrainerCallback):
    """Shows a run's curve at its end, in the terminal and as training.png, and the held-out table.

    first: the reward function that is shown beside the reward. answers: the file of the held-out
    answers, or None.
    """

    def __init__(self, first: str, answers: Path | None):
        self.first, self.answers = first, answers

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            try:
                self.show(args, state)
            except Exception:  # Axolotl saves the model after this
                LOG.exception("the report of this run failed")

    def show(self, args: Any, state: Any) -> None:
        from rich.console import Console

        changes = read_changes(self.answers) if self.answers else []
        curves: dict[str, list[tuple[int, float]]] = {"reward": [], short(self.first): []}
        for log in state.log_history:
            for curve, key in zip(curves.values(), ("reward", mean_of(self.first)), strict=True):
                if log.get(key) is not None and isfinite(log[key]):
                    curve.append((log["step"], log[key]))
        console = Console(markup=False)
        console.print()
        for name, curve in curves.items():
            if curve:
                values = [value for _, value in curve]
                console.print(f"{name:>20}  {values[0]:5.2f} {sparkline(values)} {values[-1]:5.2f}")
        if changes:
            console.print(table(changes))
        if curves["reward"]:
            plot(curves, changes, Path(args.output_dir) / PLOT)


class HeldOut(TrainerCallback):
    """Lets the model answer `rows` rows of the evaluation dataset before and after training.

    Each answer is one line of held_out.jsonl in output_dir: when ("before", "step 20", "after"), mode
    ("greedy", "sampled"), row, prompt, completion, the score and the declared range of each reward
    function, and the dataset's other columns, so that `axolotl grpo score` can score it again. The run's tracker gets the means.

    steps: also answer them every so many steps. rewards: of the run.
    """

    def __init__(self, trainer: Any, rows: int, steps: int | None, rewards: list[LoggedReward]):
        self.trainer, self.steps, self.ranges = trainer, steps, dict(rewards)
        self.dataset = _choose(trainer.eval_dataset, rows)
        self.file = Path(trainer.args.output_dir) / FILE
        self._before: dict[str, float] = {}
        self._ended = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:  # a resumed run has the answers from before its first step
            self._before = self._write(self._answers("before"), "w")

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._before:  # TensorBoard is not ready at on_train_begin
            self._log(self._before)
            self._before = {}

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step >= state.max_steps:
            self._log(self._after())  # the trackers close before this callback's on_train_end
        elif self.steps and state.global_step % self.steps == 0:
            self._log(self._write(self._answers(f"step {state.global_step}"), "a"))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._ended:  # the run was stopped
            self._after()

    def _after(self) -> dict[str, float]:
        self._ended = True
        try:
            return self._write(self._answers("after"), "a")
        except Exception:  # logged, because Axolotl saves the model after this
            if self.trainer.accelerator.num_processes > 1:
                raise  # the other ranks wait for this one
            LOG.exception("answering the held-out rows after training failed")
            return {}

    def _log(self, metrics: dict[str, float]) -> None:
        control = self.trainer.control
        should_log = control.should_log
        # `Trainer.log`, because that of GRPO's trainer would also log the step's metrics so far.
        Trainer.log(self.trainer, metrics)
        control.should_log = should_log  # else this step would have no log of its own

    def _write(self, answers: list[dict[str, Any]], mode: str) -> dict[str, float]:
        """Write the answers to the file, and return their means."""
        if self.trainer.accelerator.is_main_process:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            old = self.file.read_bytes() if mode == "a" and self.file.exists() else b""
            with self.file.open(mode, encoding="utf-8") as file:
                if old and not old.endswith(b"\n"):  # a killed run left half a line
                    file.write("\n")
                for answer in answers:
                    row = {**self.dataset[answer["row"]], **answer}
                    file.write(json.dumps(row, default=str) + "\n")
        return means(answers)

    def _answers(self, when: str) -> list[dict[str, Any]]:
        trainer = self.trainer
        was_training = trainer.model.training
        trainer.model.eval()
        # Restore the random state, so that the answers do not change the training.
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        one_each = patch.object(trainer, "num_generations_eval", 1)
        with torch.random.fork_rng(devices), torch.no_grad(), one_each:
            with _greedy(trainer):
                answers = self._answer(when, "greedy")
            answers += self._answer(when, "sampled")
        trainer.model.train(was_training)
        # These logs belong to no batch.
        trainer._metrics["eval"].clear()
        trainer._pending_extra_logs.clear()
        trainer._pending_metrics.clear()
        return answers

    def _answer(self, when: str, mode: str) -> list[dict[str, Any]]:
        trainer, count = self.trainer, len(self.dataset)
        rank, ranks = trainer.accelerator.process_index, trainer.accelerator.num_processes
        # Ranks wait for each other in each batch, so each answers equally many rows. The last may repeat.
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
            prompts, completions, ids, _ = generate(trainer, rows)
            scores = trainer._calculate_rewards(rows, prompts, completions, ids).tolist()
            texts = gather_object(list(zip(batch, prompts, map(_shown, completions), strict=True)))
            for (place, prompt, completion), row_scores in zip(texts, scores, strict=True):
                named = zip(self.ranges, row_scores, strict=True)
                answers[place] = {
                    "when": when,
                    "mode": mode,
                    "row": place,
                    "prompt": prompt,
                    "completion": completion,
                    "rewards": {name: None if isnan(score) else score for name, score in named},
                    RANGES: self.ranges,
                }
        return [answers[place] for place in sorted(answers)]


def _shown(completion: Any) -> Any:
    """Return a completion's text; of a chat with tool calls, all messages."""
    chat = not isinstance(completion, str) and len(completion) > 1
    return completion if chat else text_of(completion)


def _choose(dataset: Any, rows: int) -> Any:
    """Choose rows by a hash of their prompts, because Axolotl shuffles with the run's seed."""
    digests = [sha256(json.dumps(prompt).encode()).digest() for prompt in dataset["prompt"]]
    return dataset.select(sorted(range(len(dataset)), key=digests.__getitem__)[:rows])


def _greedy(trainer: Any) -> Any:
    """Return a context manager, inside which the trainer generates greedily."""
    if trainer.use_vllm:
        return patch.object(trainer.vllm_generation, "temperature", 0.0)
    sampling = ("do_sample", "temperature", "top_p", "top_k", "min_p")
    others = {k: v for k, v in trainer.generation_kwargs.items() if k not in sampling}
    greedy = GenerationConfig(**others, do_sample=False, disable_compile=True)
    return patch.object(trainer, "generation_config", greedy)
