"""Let the model answer held-out rows before and after training."""

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from itertools import batched
from pathlib import Path
from unittest.mock import patch

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import GenerationConfig, Trainer, TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig

from axolotl_grpo_plugin.environments.tool_use import ToolUse
from axolotl_grpo_plugin.repairs.data_producer import DataProducerRepair
from axolotl_grpo_plugin.report.console import told_if_slow
from axolotl_grpo_plugin.runlog.reader import Row
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import COLUMN, READ, REWARD, columns_of, logged_text, save
from axolotl_grpo_plugin.scoring.guarded_scores import GuardedScores
from axolotl_grpo_plugin.training.best import BestModel, Result
from axolotl_grpo_plugin.training.held_out import AFTER, BEFORE, ROWS, earlier_answers, means
from axolotl_grpo_plugin.training.record import HELD_OUT, STOPPED, add_facts

LOG = logging.getLogger(__name__)


class HeldOutAnswers(GuardedScores, ToolUse, DataProducerRepair):
    """TRL's trainer that can answer and score rows between two steps, without an effect on the training.

    Attributes:
        ends_on_signal: Whether a signal ends the run, so that no rows are answered after the training.
    """

    ends_on_signal = False

    def answer_rows(self, dataset: Dataset) -> list[Row]:
        """Answer each row once greedily and once sampled.

        Returns:
            The scored answers of all ranks in the log's columns, in the order of the rows.
        """
        was_training = self.model.training
        self.model.eval()
        # Restore the random state, so that the answers do not change the training.
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        # TRL has the size of a prompt group for all evaluations.
        once = patch.object(self, "num_generations_eval", 1)
        with torch.random.fork_rng(devices), torch.no_grad(), once:
            with self._greedy():
                answers = self._answer_rows(dataset, "greedy")
            answers += self._answer_rows(dataset, "sampled")
        # TRL would log them as those of an evaluation.
        self._metrics["eval"].clear()
        self._pending_extra_logs.clear()
        self._pending_metrics.clear()
        self.model.train(was_training)
        return answers

    @contextmanager
    def _greedy(self) -> Iterator[None]:
        """Take the likeliest tokens inside a with block. TRL reads its sampling once, at the start."""
        if self.use_vllm:
            with patch.object(self.vllm_generation, "temperature", 0.0):
                yield
            return
        kept = dict(self.generation_kwargs)
        for name in ("do_sample", "temperature", "top_p", "top_k", "min_p"):
            kept.pop(name, None)
        greedy = GenerationConfig(**kept, do_sample=False, disable_compile=True)
        with patch.object(self, "generation_config", greedy):
            yield

    def _answer_rows(self, dataset: Dataset, mode: str) -> list[Row]:
        rank = self.accelerator.process_index
        ranks = self.accelerator.num_processes
        last = len(dataset) - 1
        # Ranks wait for each other in each batch, so each answers equally many rows. The last may repeat.
        own_indices = [min(start + rank, last) for start in range(0, last + 1, ranks)]
        first = self.reward_func_names[0]
        answers: dict[int, Row] = {}
        for indices in batched(own_indices, self.args.per_device_eval_batch_size):
            rows = [dataset[index] for index in indices]
            prompts, completions, ids, _ = self.generate_rows(rows)
            scores = self._calculate_rewards(rows, prompts, completions, ids).tolist()
            (batch,) = self.take_scored()
            texts = [logged_text(completion) for completion in completions]
            # A reward model says of no answer how it read it.
            reads: list[str | None] = [None] * len(indices)
            if first in batch.outcomes:
                reads = [outcome.read for outcome in batch.outcomes[first]]
            gathered = gather_object(list(zip(indices, prompts, texts, reads, strict=True)))
            for (index, prompt, completion, read), values in zip(gathered, scores, strict=True):
                named = zip(self.reward_func_names, values, strict=True)
                answers[index] = {REWARD + name: score for name, score in named} | {
                    "mode": mode,
                    "step": self.state.global_step,
                    "dataset": ROWS,
                    "row": index,
                    "sample": 0,
                    "prompt": prompt,
                    "completion": completion,
                    READ + first: read,
                }
        return [answers[index] for index in sorted(answers)]


class HeldOut(TrainerCallback):
    """Lets the model answer rows of the evaluation dataset before and after training.

    The answers are in held_out/scores.parquet below output_dir (runlog/schema.py), with the dataset's
    other columns, so that `axolotl-grpo reward score` can score them again. The run's tracker gets the means.

    Args:
        trainer: Answers the rows.
        rows: The number of rows.
        steps: Also answer them every so many steps.
        rewards: Of the run.
        best: Keeps the model with the best answers, or None.
        stop_at: The share of right greedy answers at which the run ends, or None.
    """

    def __init__(
        self,
        trainer: HeldOutAnswers,
        rows: int,
        steps: int | None,
        rewards: list[LoggedReward],
        best: BestModel | None = None,
        stop_at: float | None = None,
    ):
        self.trainer = trainer
        self.steps = steps
        self.rewards = rewards
        self.best = best
        self.stop_at = stop_at
        self.dataset = _choose(trainer.eval_dataset, rows)
        self.file = Path(trainer.args.output_dir) / HELD_OUT
        self._before: dict[str, float] = {}
        self._ended = False

    def on_train_begin(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if self.best:
            self.best.begin()
        if state.global_step == 0:  # a resumed run has the answers from before its first step
            self._before = self._answer(BEFORE, add=False)

    def on_step_begin(self, *_: object, **__: object) -> None:
        if self._before:  # TensorBoard is not ready at on_train_begin
            self._log(self._before)
            self._before = {}

    def on_step_end(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.global_step >= state.max_steps:
            metrics = self._after()
            self._log(metrics)  # the trackers close before this callback's on_train_end
            self._judge(metrics)
        elif self.trainer.ends_on_signal:
            return  # the save comes next, and the time until a kill is short
        elif self.steps and state.global_step % self.steps == 0:
            metrics = self._answer(f"step {state.global_step}")
            self._log(metrics)
            if stopped := self._judge(metrics):
                control.should_training_stop = True
                self._stop(stopped)

    def _judge(self, metrics: dict[str, float]) -> Result | None:
        """Keep the model if its answers are the best so far. Return their result if it is good enough to stop."""
        result = Result.of(metrics, self.rewards[0].name, self.trainer.state.global_step)
        if result and self.best:
            self.best.offer(result)
        if result and self.stop_at is not None and result.kind == "right":
            return result if result.greedy >= self.stop_at else None
        return None

    def _stop(self, result: Result) -> None:
        if self.trainer.accelerator.is_main_process:
            line = f"{result}, so grpo_stop_at {self.stop_at:g} ends the run"
            print(f"\naxolotl-grpo-plugin: {line}.")
            add_facts(Path(self.trainer.args.output_dir), {STOPPED: line})

    def on_train_end(self, *_: object, **__: object) -> None:
        if not self._ended and not self.trainer.ends_on_signal:  # another callback stopped the run
            self._judge(self._after())

    def _after(self) -> dict[str, float]:
        self._ended = True
        try:
            self.trainer.prepare_last_answers()
            return self._answer(AFTER)
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

    def _told(self, when: str) -> AbstractContextManager[None]:
        """Say on the first rank that rows are answered, if that takes long. A progress bar shows only steps."""
        if not self.trainer.accelerator.is_main_process:
            return nullcontext()
        line = f"answering {len(self.dataset)} held-out rows ({when}), greedily and sampled"
        return told_if_slow(f"\naxolotl-grpo-plugin: {line}")

    def _answer(self, when: str, add: bool = True) -> dict[str, float]:
        """Let the model answer the rows. Write the answers to the file, and return their means."""
        with self._told(when):
            answers = [
                {"model": when} | answer for answer in self.trainer.answer_rows(self.dataset)
            ]
        if self.trainer.accelerator.is_main_process:
            columns = columns_of(answers)
            rows = self.dataset[columns["row"]]
            del rows["prompt"]
            columns |= {COLUMN + name: values for name, values in rows.items()}
            earlier = earlier_answers(self.file) if add else None
            save(self.file, columns, self.rewards, earlier)
        return means(answers, self.rewards)


def _choose(dataset: Dataset, rows: int) -> Dataset:
    """Choose rows by a hash of their prompts, because Axolotl shuffles with the run's seed."""

    def digest(index: int) -> bytes:
        return sha256(json.dumps(prompts[index]).encode()).digest()

    prompts = dataset["prompt"]
    return dataset.select(sorted(range(len(prompts)), key=digest)[:rows])
