"""Trainer callbacks: their order, and the one that answers held-out rows."""

import json
import logging
from hashlib import sha256
from itertools import batched
from pathlib import Path

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import ProgressCallback, Trainer, TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig, GRPOTrainer

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.environments.seams import generate
from axolotl_grpo_plugin.repairs import upstream
from axolotl_grpo_plugin.repairs.data_producer import DataProducerRepair
from axolotl_grpo_plugin.repairs.resume import GenerationBatch
from axolotl_grpo_plugin.runlog.reader import Row
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import COLUMN, READ, REWARD, columns_of, logged_text, save
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.training.health import Health
from axolotl_grpo_plugin.training.held_out import AFTER, BEFORE, ROWS, means
from axolotl_grpo_plugin.training.progress import Report, RewardProgress
from axolotl_grpo_plugin.training.record import HELD_OUT
from axolotl_grpo_plugin.training.samples import EVERY, Samples

LOG = logging.getLogger(__name__)


def callbacks(cfg: Config, trainer: GRPOTrainer, runner: RewardRunner) -> list[TrainerCallback]:
    """Return the callbacks of a run, and remove transformers' progress bar, which prints every metric."""
    names = trainer.reward_func_names
    first = names[0]
    added: list[TrainerCallback] = []
    if trainer.pop_callback(ProgressCallback):
        added.append(RewardProgress(first))
    # Before the held-out rows, because it ends other generation.
    if getattr(trainer, "data_producer", None):
        added.append(DataProducerRepair(trainer))
    added.append(GenerationBatch(cfg, trainer))
    every = cfg.get("grpo_show_steps")
    if every is None:
        every = EVERY
    if every:
        added.append(Samples(trainer, first, every))
    answers = None
    if rows := cfg.get("grpo_held_out_rows"):
        held_out = HeldOut(
            trainer,
            rows,
            cfg.get("grpo_eval_steps"),
            runner.rewards(names),
            runner.by_name.get(first),
        )
        added.append(held_out)
        answers = held_out.file
    return [*added, Health(first, runner.highest()), Report(first, answers)]


class HeldOut(TrainerCallback):
    """Lets the model answer `rows` rows of the evaluation dataset before and after training.

    The answers are in held_out/scores.parquet below output_dir (runlog/schema.py), with the dataset's
    other columns, so that `axolotl-grpo reward score` can score them again. The run's tracker gets the means.

    steps: also answer them every so many steps. rewards: of the run. guard: of the first reward, None if
    that is a reward model, which says of no answer how it read it.
    """

    def __init__(
        self,
        trainer: GRPOTrainer,
        rows: int,
        steps: int | None,
        rewards: list[LoggedReward],
        guard: GuardedReward | None = None,
    ):
        self.trainer = trainer
        self.steps = steps
        self.rewards = rewards
        self.guard = guard
        self.dataset = _choose(trainer.eval_dataset, rows)
        self.file = Path(trainer.args.output_dir) / HELD_OUT
        self._before: dict[str, float] = {}
        self._ended = False

    def on_train_begin(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.global_step == 0:  # a resumed run has the answers from before its first step
            self._before = self._write(self._answers(BEFORE), add=False)

    def on_step_begin(self, *_: object, **__: object) -> None:
        if self._before:  # TensorBoard is not ready at on_train_begin
            self._log(self._before)
            self._before = {}

    def on_step_end(
        self, args: GRPOConfig, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        if state.global_step >= state.max_steps:
            self._log(self._after())  # the trackers close before this callback's on_train_end
        elif self.steps and state.global_step % self.steps == 0:
            self._log(self._write(self._answers(f"step {state.global_step}")))

    def on_train_end(self, *_: object, **__: object) -> None:
        if not self._ended:  # the run was stopped
            self._after()

    def _after(self) -> dict[str, float]:
        self._ended = True
        try:
            return self._write(self._answers(AFTER))
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

    def _write(self, answers: list[Row], add: bool = True) -> dict[str, float]:
        """Write the answers to the file, and return their means."""
        if self.trainer.accelerator.is_main_process:
            columns = columns_of(answers)
            rows = self.dataset[columns["row"]]
            del rows["prompt"]
            columns |= {COLUMN + name: values for name, values in rows.items()}
            save(self.file, columns, self.rewards, add)
        return means(answers, self.rewards)

    def _answers(self, when: str) -> list[Row]:
        trainer = self.trainer
        was_training = trainer.model.training
        trainer.model.eval()
        # Restore the random state, so that the answers do not change the training.
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        once = upstream.answering_once(trainer)
        with torch.random.fork_rng(devices), torch.no_grad(), once:
            with upstream.answering_greedily(trainer):
                answers = self._answer(when, "greedy")
            answers += self._answer(when, "sampled")
        trainer.model.train(was_training)
        return answers

    def _answer(self, when: str, mode: str) -> list[Row]:
        trainer = self.trainer
        rank = trainer.accelerator.process_index
        ranks = trainer.accelerator.num_processes
        last = len(self.dataset) - 1
        # Ranks wait for each other in each batch, so each answers equally many rows. The last may repeat.
        places = [min(place + rank, last) for place in range(0, last + 1, ranks)]
        names = [REWARD + reward.name for reward in self.rewards]
        answers: dict[int, Row] = {}
        for batch in batched(places, trainer.args.per_device_eval_batch_size):
            rows = [self.dataset[place] for place in batch]
            prompts, completions, ids, _ = generate(trainer, rows)
            scores = trainer._calculate_rewards(rows, prompts, completions, ids).tolist()
            texts = map(logged_text, completions)
            reads: list[str | None] = [None] * len(batch)
            if self.guard:
                reads = [outcome.read for outcome in self.guard.outcomes]
            gathered = gather_object(list(zip(batch, prompts, texts, reads, strict=True)))
            for (place, prompt, completion, read), row_scores in zip(gathered, scores, strict=True):
                answers[place] = dict(zip(names, row_scores, strict=True)) | {
                    "model": when,
                    "step": trainer.state.global_step,
                    "mode": mode,
                    "dataset": ROWS,
                    "row": place,
                    "sample": 0,
                    "prompt": prompt,
                    "completion": completion,
                    READ + self.rewards[0].name: read,
                }
        return [answers[place] for place in sorted(answers)]


def _choose(dataset: Dataset, rows: int) -> Dataset:
    """Choose rows by a hash of their prompts, because Axolotl shuffles with the run's seed."""

    def digest(place: int) -> bytes:
        return sha256(json.dumps(prompts[place]).encode()).digest()

    prompts = dataset["prompt"]
    return dataset.select(sorted(range(len(prompts)), key=digest)[:rows])
