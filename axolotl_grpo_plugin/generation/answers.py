"""The store of answers: Parquet files in the schema of the rollout log, read again by key."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from axolotl_grpo_plugin.findings import ConfigError, Finding, first_line
from axolotl_grpo_plugin.generation.models import Model
from axolotl_grpo_plugin.generation.rows import Question
from axolotl_grpo_plugin.generation.sampling import Sampling
from axolotl_grpo_plugin.runlog.reader import chat
from axolotl_grpo_plugin.runlog.schema import COLUMN, REWARD, as_text, save


class Job(NamedTuple):
    """One answer to generate. sample: its number among the answers to the row, from 0.

    engine: the backend and its precision, which change answers a little.
    """

    question: Question
    sampling: Sampling
    sample: int
    engine: str
    key: str

    @classmethod
    def of(
        cls, model: Model, question: Question, sampling: Sampling, sample: int, engine: str
    ) -> "Job":
        """Return a job. Its key is a hash of all that the answer depends on."""
        settings = [model.digest, question.row, question.ids, asdict(sampling), sample, engine]
        key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:32]
        return cls(question, sampling, sample, engine, key)


class Answer(NamedTuple):
    """The generated part of a row. text: without special tokens. ids: with the EOS token.

    The others are None or 0 without tools. prompt: as the model saw it. chat: all messages. tool_tokens:
    how many of the ids tools wrote. rewards: that an environment gave, by its name.
    """

    ids: list[int]
    text: str
    truncated: bool
    prompt: Any = None
    chat: list[dict[str, Any]] | None = None
    tool_tokens: int = 0
    rewards: dict[str, float | None] | None = None

    @property
    def tokens(self) -> int:
        """The number of tokens that the model wrote."""
        return len(self.ids) - self.tool_tokens


def seed_of(job: Job) -> int:
    """Return the seed of an answer, so that neither batches nor shards change it. 63 bits."""
    text = f"{job.sampling.seed} {job.sample} {job.question.row} {job.question.ids}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1


class AnswerStore:
    """The answers in a folder. Several processes may add to it at once. engines: of all answers."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._found: dict[str, Answer] = {}
        self.engines: set[str] = set()
        for file in sorted(folder.glob("*.parquet")):
            self._read(file)

    def _read(self, file: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        names, own = ["engine", "key", "completion_ids", "text", "truncated"], list[str]()
        try:
            columns = pq.read_schema(file).names
            if "tool_tokens" in columns:
                names += ["prompt", "completion", "tool_tokens"]
                own = [name for name in columns if name.startswith(REWARD)]
            rows = pq.read_table(file, columns=[*names, *own]).to_pylist()
        except (pa.ArrowException, OSError) as error:
            what = f"not a file of answers: {first_line(error)}"
            fix = "Remove it. Its answers are then generated again"
            raise ConfigError(str(Finding(str(file), what, fix))) from error
        for row in rows:
            rewards = {name.removeprefix(REWARD): row.pop(name) for name in own} or None
            engine, key, ids, text, truncated, *rest = row.values()
            self.engines.add(engine)
            answer = Answer(ids, text, truncated, *map(chat, rest))
            self._found[key] = answer._replace(rewards=rewards)

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __getitem__(self, key: str) -> Answer:
        return self._found[key]

    def add(self, model: Model, jobs: Sequence[Job], answers: Sequence[Answer]) -> None:
        """Write a batch as one file. Raises: ConfigError if the disk is full."""
        names = dict.fromkeys(name for job in jobs for name in job.question.columns)
        columns: dict[str, list[Any]] = {
            "key": [job.key for job in jobs],
            "engine": [job.engine for job in jobs],
            "model": [model.label] * len(jobs),
            "step": [model.step] * len(jobs),
            "mode": [job.sampling.mode for job in jobs],
            "dataset": [job.question.dataset for job in jobs],
            "row": [job.question.row for job in jobs],
            "sample": [job.sample for job in jobs],
            "prompt": [
                as_text(answer.prompt or job.question.prompt)
                for job, answer in zip(jobs, answers, strict=True)
            ],
            "completion": [
                as_text(as_completion(*each)) for each in zip(jobs, answers, strict=True)
            ],
            "text": [answer.text for answer in answers],
            "completion_ids": [answer.ids for answer in answers],
            "completion_tokens": [answer.tokens for answer in answers],
            "truncated": [answer.truncated for answer in answers],
        }
        if answers[0].chat:
            columns["tool_tokens"] = [answer.tool_tokens for answer in answers]
        for name in answers[0].rewards or ():
            columns[REWARD + name] = [(answer.rewards or {})[name] for answer in answers]
        for name in names:
            values = [as_text(job.question.columns.get(name)) for job in jobs]
            columns[COLUMN + name] = values
        file = self.folder / f"{uuid4().hex}.parquet"
        try:
            save(file, columns)
        except OSError as error:
            what = f"cannot be written: {first_line(error)}"
            fix = (
                "Free space, and run the command again. It goes on with the answers that are there"
            )
            raise ConfigError(str(Finding(str(file), what, fix))) from error
        self._found.update(zip((job.key for job in jobs), answers, strict=True))


def as_completion(job: Job, answer: Answer) -> Any:
    """Return the completion as TRL passes it to rewards: a text, or a chat if the prompt is one."""
    if answer.chat:
        return answer.chat
    if isinstance(job.question.prompt, str):
        return answer.text
    return [{"role": "assistant", "content": answer.text}]
