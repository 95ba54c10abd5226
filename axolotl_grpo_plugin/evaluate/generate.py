"""Generate the answers that a store lacks."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Protocol

from tqdm import tqdm

from axolotl_grpo_plugin.evaluate.answers import AnswerJob, AnswerStore, GeneratedAnswer
from axolotl_grpo_plugin.evaluate.models import Model
from axolotl_grpo_plugin.evaluate.rows import Question
from axolotl_grpo_plugin.evaluate.sampling import Sampling


class AnswerBackend(Protocol):
    """Generates completions.

    Attributes:
        engine: The name of the backend with its precision, for the keys of answers.
    """

    engine: str

    def load(self, model: Model) -> None:
        """Load a model.

        Raises:
            FindingError: If the model cannot be loaded.
        """

    def generate(
        self, jobs: Sequence[AnswerJob]
    ) -> Iterator[Sequence[tuple[AnswerJob, list[int] | GeneratedAnswer]]]:
        """Yield batches of jobs with the token ids of their completions, or with whole answers."""

    def close(self) -> None:
        """Free the memory, and end a server that the backend has started."""


def jobs_of(
    model: Model, rows: Sequence[Question], plans: Sequence[tuple[Sampling, int]], engine: str
) -> list[AnswerJob]:
    """Return the answers to generate.

    Args:
        model: The model that answers.
        rows: The rows to answer.
        plans: Settings, each with the number of answers per row.
        engine: The backend with its precision.
    """
    jobs = []
    for sampling, count in plans:
        for row, sample in product(rows, range(count)):
            jobs.append(AnswerJob.of(model, row, sampling, sample, engine))
    return jobs


def generate(
    backend: AnswerBackend,
    store: AnswerStore,
    model: Model,
    jobs: Sequence[AnswerJob],
    tokenizer: Any,
) -> None:
    """Generate the answers that the store lacks, and add each batch to it.

    Raises:
        FindingError: The model cannot be loaded, or the disk is full.
    """
    missing = [job for job in jobs if job.key not in store]
    if not missing:
        return
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(missing), desc=model.label, unit=" answers")
    with bar:
        backend.load(model)
        for batch in backend.generate(missing):
            answered = [job for job, _ in batch]
            answers = [answer_of(generated, job, tokenizer) for job, generated in batch]
            store.add(model, answered, answers)
            bar.update(len(batch))


def answer_of(
    generated: list[int] | GeneratedAnswer, job: AnswerJob, tokenizer: Any
) -> GeneratedAnswer:
    """Return the answer that a backend generated, whole or as token ids."""
    if isinstance(generated, GeneratedAnswer):
        return generated
    text = tokenizer.decode(generated, skip_special_tokens=True)
    is_full = len(generated) >= job.sampling.max_tokens
    ends = (*job.sampling.ends, tokenizer.pad_token_id)
    return GeneratedAnswer(generated, text, truncated=is_full and generated[-1] not in ends)
