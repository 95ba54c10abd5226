"""Generate the answers that a store lacks."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from axolotl_grpo_plugin.findings import Finding, stop_on
from axolotl_grpo_plugin.generation.answers import Answer, AnswerStore, Job
from axolotl_grpo_plugin.generation.models import Model
from axolotl_grpo_plugin.generation.rows import Question
from axolotl_grpo_plugin.generation.sampling import Sampling


class Backend(Protocol):
    """Generates completions. how: names it and its precision in the keys of answers."""

    how: str

    def load(self, model: Model) -> None:
        """Load a model. Raises: ConfigError if that fails."""

    def generate(self, jobs: Sequence[Job]) -> Iterator[Sequence[tuple[Job, list[int] | Answer]]]:
        """Yield batches of jobs with the token ids of their completions, or with whole answers."""

    def close(self) -> None:
        """Free the memory, and end a server that the backend has started."""


class Shard(NamedTuple):
    """One part of all rows, `number` from 1 to `parts`."""

    number: int = 1
    parts: int = 1

    @classmethod
    def of(cls, text: str) -> "Shard":
        """Read "3/64". Raises: ConfigError if it is no shard."""
        number, _, parts = text.partition("/")
        if not (number.isdigit() and parts.isdigit() and 1 <= int(number) <= int(parts)):
            stop_on([Finding(f"--shard {text}", "not a shard", "Write it as 3/64")])
        return cls(int(number), int(parts))


def jobs_of(
    model: Model,
    rows: Sequence[Question],
    plans: Sequence[tuple[Sampling, int]],
    engine: str,
    shard: Shard | None = None,
) -> list[Job]:
    """Return the answers to generate. plans: settings, and the number of answers per row."""
    shard = shard or Shard()
    return [
        Job.of(model, row, sampling, sample, engine)
        for sampling, count in plans
        for row in rows[shard.number - 1 :: shard.parts]
        for sample in range(count)
    ]


def generate(
    backend: Backend, store: AnswerStore, model: Model, jobs: Sequence[Job], tokenizer: Any
) -> None:
    """Generate the answers that the store lacks, and add each batch to it.

    Raises: ConfigError if the model cannot be loaded, or the disk is full.
    """
    missing = [job for job in jobs if job.key not in store]
    if not missing:
        return
    bar = tqdm(total=len(jobs), initial=len(jobs) - len(missing), desc=model.label, unit=" answers")
    with bar:
        backend.load(model)
        for batch in backend.generate(missing):
            answers = [
                made if isinstance(made, Answer) else answer_of(made, job, tokenizer)
                for job, made in batch
            ]
            store.add(model, [job for job, _ in batch], answers)
            bar.update(len(batch))


def answer_of(ids: list[int], job: Job, tokenizer: Any) -> Answer:
    """Return the answer that token ids make."""
    ends = (*job.sampling.ends, tokenizer.pad_token_id)
    full = len(ids) >= job.sampling.max_tokens
    text = tokenizer.decode(ids, skip_special_tokens=True)
    return Answer(ids, text, full and ids[-1] not in ends)
