"""The store of answers: Parquet files in the schema of the rollout log, read again by key."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from axolotl_grpo_plugin.evaluate.models import Model
from axolotl_grpo_plugin.evaluate.rows import Question
from axolotl_grpo_plugin.evaluate.sampling import Sampling
from axolotl_grpo_plugin.findings import first_line, stop
from axolotl_grpo_plugin.runlog.reader import Row, chat, named, raw_rows
from axolotl_grpo_plugin.runlog.schema import COLUMN, REWARD, columns_of, save


class AnswerJob(NamedTuple):
    """One answer to generate.

    Attributes:
        question: The row to answer.
        sampling: The settings.
        sample: The number of the answer among the answers to the row, from 0.
        engine: The backend with its precision, which change answers a little.
        key: A hash of everything on which the answer depends.
    """

    question: Question
    sampling: Sampling
    sample: int
    engine: str
    key: str

    @classmethod
    def of(
        cls, model: Model, question: Question, sampling: Sampling, sample: int, engine: str
    ) -> "AnswerJob":
        """Return a job with its key."""
        text = json.dumps(
            [model.digest, question.row, question.ids, asdict(sampling), sample, engine]
        )
        key = hashlib.sha256(text.encode()).hexdigest()
        return cls(question, sampling, sample, engine, key[:32])


class GeneratedAnswer(NamedTuple):
    """The answer of a model to a row. Without tools, the fields after `truncated` keep their defaults.

    Attributes:
        ids: The token ids of the completion, with the end token.
        text: The completion without special tokens.
        truncated: The completion ended because it has the most tokens.
        prompt: The prompt as the model saw it.
        chat: All messages.
        tool_tokens: The number of ids that tools wrote.
        rewards: The rewards that an environment gave, by its name.
    """

    ids: list[int]
    text: str
    truncated: bool
    prompt: Any = None
    chat: list[dict[str, Any]] | None = None
    tool_tokens: int = 0
    rewards: dict[str, float | None] | None = None


type TokensOfJobs = list[tuple[AnswerJob, list[int]]]  # each job with its completion's token ids


def seed_of(job: AnswerJob) -> int:
    """Return the seed of an answer, 63 bits. Neither its batch nor its shard changes it."""
    question = job.question
    text = f"{job.sampling.seed} {job.sample} {question.row} {question.ids}"
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


class AnswerStore(dict[str, GeneratedAnswer]):
    """The answers in a folder, by the keys of their jobs. Several processes may add to it at once."""

    def __init__(self, folder: Path):
        self.folder = folder
        for file in sorted(folder.glob("*.parquet")):
            self._read(file)

    def _read(self, file: Path) -> None:
        from pyarrow import ArrowException

        try:
            for row in raw_rows(file):
                self[row["key"]] = _answer(row)
        except (ArrowException, OSError) as error:
            stop(
                "no-answers",
                str(file),
                f"not a file of answers: {first_line(error)}",
                "Remove it. Its answers are then generated again",
            )

    def add(
        self, model: Model, jobs: Sequence[AnswerJob], answers: Sequence[GeneratedAnswer]
    ) -> None:
        """Write a batch as one file.

        Raises:
            FindingError: The disk is full.
        """
        rows = []
        for job, answer in zip(jobs, answers, strict=True):
            row = record_of(job, answer) | {
                "model": model.label,
                "step": model.step,
                "engine": job.engine,
                "text": answer.text,
                "completion_ids": answer.ids,
            }
            rows.append(row)
            self[job.key] = answer
        file = self.folder / f"{uuid4().hex}.parquet"
        try:
            save(file, columns_of(rows))
        except OSError as error:
            stop(
                "cannot-be-written",
                str(file),
                f"cannot be written: {first_line(error)}",
                "Free space, and run the command again. It goes on with the answers that are there",
            )


def record_of(job: AnswerJob, answer: GeneratedAnswer) -> Row:
    """Return an answer as a row of the log's schema, without model, step and scores."""
    question = job.question
    row = {
        "key": job.key,
        "mode": job.sampling.mode,
        "dataset": question.dataset,
        "row": question.row,
        "sample": job.sample,
        "prompt": answer.prompt or question.prompt,
        "completion": as_completion(job, answer),
        "completion_tokens": len(answer.ids) - answer.tool_tokens,
        "truncated": answer.truncated,
    }
    if answer.chat:
        row["tool_tokens"] = answer.tool_tokens
    for prefix, values in ((REWARD, answer.rewards or {}), (COLUMN, question.columns)):
        row |= {prefix + name: value for name, value in values.items()}
    return row


def _answer(row: Row) -> GeneratedAnswer:
    """Return the answer of a row of the store."""
    answer = GeneratedAnswer(row["completion_ids"], row["text"], row["truncated"])
    if "tool_tokens" not in row:
        return answer
    return answer._replace(
        prompt=chat(row["prompt"]),
        chat=chat(row["completion"]),
        tool_tokens=row["tool_tokens"],
        rewards=named(row, REWARD) or None,
    )


def as_completion(job: AnswerJob, answer: GeneratedAnswer) -> Any:
    """Return the completion as TRL passes it to rewards: a text, or a chat if the prompt is one."""
    if answer.chat:
        return answer.chat
    if isinstance(job.question.prompt, str):
        return answer.text
    return [{"role": "assistant", "content": answer.text}]
