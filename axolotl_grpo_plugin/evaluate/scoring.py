"""Score stored answers with a config's rewards, in the guarded processes of a training."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.evaluate.answers import (
    AnswerJob,
    GeneratedAnswer,
    as_completion,
    record_of,
)
from axolotl_grpo_plugin.findings import raised
from axolotl_grpo_plugin.load import is_model, reward_refs
from axolotl_grpo_plugin.report.console import progress
from axolotl_grpo_plugin.report.lenient import forms, reads_gold
from axolotl_grpo_plugin.reward import Row
from axolotl_grpo_plugin.runlog.schema import LENIENT, READ, REASON, REWARD
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.guards import Guards
from axolotl_grpo_plugin.scoring.worker import Outcome
from axolotl_grpo_plugin.thinking import with_closing


class AnswerScorer:
    """The rewards of a config. Reward models are left out, because they need a trainer.

    Attributes:
        left_out: The keys of reward models.
        rewards: The other rewards with their declared ranges.
        highest: The score that counts as right, by logged name.
        failures: The number of failed scores, by logged name.
        errors: The first error of each reward function that failed, by logged name.
    """

    def __init__(self, cfg: Config):
        self._guards = Guards.of(cfg)
        self.left_out = [ref.key for ref in reward_refs(cfg) if is_model(ref.key)]
        self.highest = self._guards.highest()
        self.rewards = self._guards.rewards(self._guards.by_name)
        self.failures: Counter[str] = Counter()
        self.errors: dict[str, str] = {}

    def scored(self, jobs: Sequence[AnswerJob], answers: Sequence[GeneratedAnswer]) -> list[Row]:
        """Return answers as scored rows of the log's schema. Answers to a row are neighbors."""
        answered = list(zip(jobs, answers, strict=True))
        rows = [_row(job, answer) for job, answer in answered]
        completions = [as_completion(job, answer) for job, answer in answered]
        records = [record_of(job, answer) for job, answer in answered]
        first = next(iter(self._guards.by_name), "")
        for name, guard in self._guards.by_name.items():
            for index, outcome in enumerate(_outcomes(guard, rows, completions)):
                if outcome.error:
                    self.failures[name] += 1
                    self.errors.setdefault(name, raised(outcome.error))
                record = records[index]
                record[REWARD + name] = outcome.value
                record[REASON + name] = outcome.status
                if name == first:  # it says what is right
                    record[READ + name] = outcome.read
                    record[LENIENT + name] = self._is_lenient(
                        name, rows[index], answers[index].text, outcome.value
                    )
        return records

    def _is_lenient(self, name: str, row: Row, text: str, value: float | None) -> bool | None:
        """Return whether an answer would be right if its last box or number were the answer.

        value: its own score. Returns None if that is not known.
        """
        guard = self._guards.by_name[name]
        best = self.highest.get(name)
        if value is None or best is None or not reads_gold(guard.function):
            return None
        if value >= best:
            return True

        (mark,) = self._guards.ends([row.get("prompt")])
        texts = [with_closing(form, mark, "It is known.") for form in forms(text)]
        for outcome in guard.score_list([row] * len(texts), texts):
            if outcome.value is not None and outcome.value >= best:
                return True
        return False

    def close(self) -> None:
        """End the scoring processes."""
        self._guards.close()


def _outcomes(
    guard: GuardedReward, rows: Sequence[Row], completions: Sequence[Any]
) -> Iterator[Outcome]:
    """Yield the outcomes of a reward function, and show how far it is."""
    names = dict.fromkeys(chain.from_iterable(rows))
    with progress(f"scoring with {guard.name}", len(rows), "answers") as bar:
        for outcomes in guard.score_batches(zip(rows, completions, strict=True), names):
            bar.update(len(outcomes))
            yield from outcomes


def _row(job: AnswerJob, answer: GeneratedAnswer) -> Row:
    return job.question.columns | {
        "prompt": answer.prompt or job.question.prompt,
        "completion_ids": answer.ids,
    }
