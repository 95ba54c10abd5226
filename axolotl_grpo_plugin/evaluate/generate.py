"""Generate the answers that a store lacks."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, Protocol

from tqdm import tqdm

from axolotl_grpo_plugin.evaluate.answers import Answer, AnswerStore, Job
from axolotl_grpo_plugin.evaluate.models import Model
from axolotl_grpo_plugin.evaluate.rows import Question
from axolotl_grpo_plugin.evaluate.sampling import Sampling


class Backend(Protocol):
    """Generates completions. how: names it and its precision in the keys of answers."""

    how: str

    def load(self, model: Model) -> None:
        """Load a model. Raises: FindingError if that fails."""

    def generate(self, jobs: Sequence[Job]) -> Iterator[Sequence[tuple[Job, list[int] | Answer]]]:
        """Yield batches of jobs with the token ids of their completions, or with whole answers."""

    def close(self) -> None:
        """Free the memory, and end a server that the backend has started."""


def jobs_of(
    model: Model, rows: Sequence[Question], plans: Sequence[tuple[Sampling, int]], engine: str
) -> list[Job]:
    """Return the answers to generate. plans: settings, and the number of answers per row."""
    jobs = []
    for sampling, count in plans:
        for row, sample in product(rows, range(count)):
            jobs.append(Job.of(model, row, sampling, sample, engine))
    return jobs


def generate(
    backend: Backend, store: AnswerStore, model: Model, jobs: Sequence[Job], tokenizer: Any
) -> None:
    """Generate the answers that the store lacks, and add each batch to it.

    Raises: FindingError if the model cannot be loaded, or the disk is full.
    """
    missing = [job for job in jobs if job.key not in store]
    if not missing:
        return
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(missing), desc=model.label, unit=" answers")
    with bar:
        backend.load(model)
        for batch in backend.generate(missing):
            store.add(
                model,
                [job for job, _ in batch],
                [answer_of(made, job, tokenizer) for job, made in batch],
            )
            bar.update(len(batch))


def answer_of(made: list[int] | Answer, job: Job, tokenizer: Any) -> Answer:
    """Return the answer that token ids make, or the one that a backend made."""
    if isinstance(made, Answer):
        return made
    ends = (*job.sampling.ends, tokenizer.pad_token_id)
    full = len(made) >= job.sampling.max_tokens
    return Answer(
        made, tokenizer.decode(made, skip_special_tokens=True), full and made[-1] not in ends
    )
