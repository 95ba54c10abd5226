"""Answer rows with tools outside a training, by TRL's own loop of tool calls."""

import hashlib
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import batched
from pathlib import Path
from sys import maxsize
from types import SimpleNamespace
from typing import Any

from transformers import AutoConfig, PreTrainedTokenizerBase
from trl.chat_template_utils import (
    add_response_schema,
    get_training_chat_template,
    is_chat_template_prefix_preserving,
    parse_response,
)

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.environments.names import environment_ref, limits_of, most_calls, tool_refs
from axolotl_grpo_plugin.environments.run_tools import Tools
from axolotl_grpo_plugin.environments.tool_use import GeneratedRows, ToolUse
from axolotl_grpo_plugin.evaluate.answers import AnswerJob, GeneratedAnswer
from axolotl_grpo_plugin.evaluate.generate import AnswerBackend, answer_of
from axolotl_grpo_plugin.evaluate.models import Model

_BATCH = 64  # answers at once; an environment has a process for each


class ToolBackend:
    """Answers with a config's tools.

    Args:
        cfg: The config.
        turns: Writes each turn of the model.
        tokenizer: Of the model.
        batch_size: Answers at once.

    Attributes:
        engine: The backend of the turns, and a hash of the tools, because they change the answers.
        guarded: The tools.
    """

    def __init__(
        self,
        cfg: Config,
        turns: AnswerBackend,
        tokenizer: PreTrainedTokenizerBase,
        batch_size: int | None,
    ):
        self._cfg = cfg
        self._turns = turns
        self._tokenizer = tokenizer
        self._size = batch_size or _BATCH
        self.engine = f"{turns.engine}, tools {_digest(cfg)}"
        self.guarded = Tools(cfg)
        self._trainer = _UntrainedTrainer(cfg, self.guarded, turns, tokenizer)

    def load(self, model: Model) -> None:
        """Load a model. Raises: FindingError if that fails."""
        self._turns.load(model)
        trusts = bool(self._cfg.trust_remote_code)
        config = AutoConfig.from_pretrained(model.folder, trust_remote_code=trusts)
        self._trainer.model = SimpleNamespace(config=config)  # TRL reads the longest context

    def generate(
        self, jobs: Sequence[AnswerJob]
    ) -> Iterator[list[tuple[AnswerJob, GeneratedAnswer]]]:
        """Yield batches of jobs with their answers."""
        for batch in batched(jobs, self._size):
            yield list(zip(batch, self._answers(batch), strict=True))

    def _answers(self, jobs: Sequence[AnswerJob]) -> Iterator[GeneratedAnswer]:
        """Answer jobs at once, turn by turn."""
        generated = self._trainer.answer(jobs)
        masks = generated.masks
        assert masks is not None  # there are tools
        of_jobs = zip(
            jobs,
            self._trainer.environments,
            generated.prompts,
            generated.completions,
            generated.ids,
            masks,
            strict=True,
        )
        for job, environment, prompt, chat, ids, mask in of_jobs:
            yield answer_of(ids, job, self._tokenizer)._replace(
                text=text_of(chat),
                prompt=prompt,
                chat=chat,
                tool_tokens=mask.count(0),
                rewards=_rewards(environment),
            )

    def close(self) -> None:
        """Free the memory, and end the processes."""
        self._turns.close()
        self.guarded.close()


class _UntrainedTrainer(ToolUse):
    """TRL's loop of tool calls without a training: a backend writes the turns of the model.

    TRL 1.14 has the loop only as a method of its trainer, whose `__init__` needs a model, rewards and a dataset.
    So this `__init__` sets the attributes that `generate_rows` and the loop read, and nothing else.
    """

    use_vllm = _is_vlm = False
    chat_template = None

    def __init__(
        self, cfg: Config, tools: Tools, turns: AnswerBackend, tokenizer: PreTrainedTokenizerBase
    ):
        self._turns = turns
        # Of the batch that is answered now.
        self._jobs: Sequence[AnswerJob] = ()
        self._starts: list[list[int]] = []  # the prompts
        self._ids: list[list[int]] = []
        self._messages: list[list[dict[str, Any]]] = []
        self._tokenizer = self.processing_class = tokenizer
        self.tools = tools.all
        # TRL's name of a single kind of environment is None.
        self.environment_factories: Any = None
        if factory := tools.keyword.get("environment_factory"):
            self.environment_factories = {None: factory}
        self._env_tools = {None: self.tools}
        self._environment_pool: Any = {None: []}
        most = most_calls(cfg)
        self.max_tool_calling_iterations = maxsize if most is None else most
        self.chat_template_kwargs = dict(cfg.grpo_trl_args.chat_template_kwargs)
        # The template says how to read a tool call, in a new or an old way, or TRL knows it.
        names = ("response_template", "response_schema")
        if not any(getattr(tokenizer, name, None) for name in names):
            add_response_schema(tokenizer)
        # Tokens of earlier turns must not change when later ones follow.
        if not is_chat_template_prefix_preserving(tokenizer):
            self.chat_template = get_training_chat_template(tokenizer)

    def answer(self, jobs: Sequence[AnswerJob]) -> GeneratedRows:
        """Answer jobs at once. `environments` then has the episode of each job, or None."""
        self._jobs = jobs
        self.max_completion_length = jobs[0].sampling.max_tokens  # all have the config's
        self.environments = [None] * len(jobs)
        return self.generate_rows(
            [{"prompt": job.question.prompt} | job.question.columns for job in jobs]
        )

    def _generate(self, prompts: list[Any]) -> tuple[Any, ...]:
        """Return the tokens of the prompts and of the completions, masks, and messages, as TRL does."""
        prompts = [list(prompt) for prompt in prompts]  # the loop adds its messages
        self._starts, *_ = self._tokenize_prompts(prompts)
        # The first turn of all jobs. The loop asks for the others.
        self._ids = self._write_turns(range(len(prompts)), self._starts)
        self._messages = []
        for start, ids in zip(self._starts, self._ids, strict=True):
            message = parse_response(self._tokenizer, ids, prefix=start)
            self._messages.append([message])
        masks, *_ = self._tool_call_loop(
            prompts, self._starts, self._ids, self._messages, None, None, {}
        )
        return self._starts, self._ids, masks, self._messages

    def _generate_single_turn(self, prompt_ids: list[list[int]], *_: object, **__: object) -> Any:
        """Return the next turns of the chats whose tools have answered, and no log-probabilities."""
        waiting = []
        for index, messages in enumerate(self._messages):
            # A full completion may end with a tool's answer.
            has_room = len(self._ids[index]) < self.max_completion_length
            if messages[-1]["role"] == "tool" and has_room:
                waiting.append(index)
        return self._write_turns(waiting, prompt_ids), None

    def _write_turns(self, indices: Sequence[int], before: list[list[int]]) -> list[list[int]]:
        """Return the tokens of a turn of some jobs.

        Args:
            indices: Of the jobs.
            before: All tokens before the turn, of each job.
        """
        asked = []
        for index, ids in zip(indices, before, strict=True):
            job = self._jobs[index]
            # The turns before, and the answers of tools, count towards the limit.
            left = self.max_completion_length + len(self._starts[index]) - len(ids)
            if left > 0:
                question = job.question._replace(ids=ids)
                sampling = replace(job.sampling, max_tokens=left)
                asked.append(job._replace(question=question, sampling=sampling))
        turns: dict[str, Any] = {}
        for batch in self._turns.generate(asked):
            for job, turn in batch:
                turns[job.key] = turn
        return [turns.get(self._jobs[index].key, []) for index in indices]


def _rewards(environment: Any) -> dict[str, float | None] | None:
    """Return the reward of the episode by the environment's name, None if it has none."""
    # Also None for an answer without an environment.
    if not hasattr(environment, "get_reward"):
        return None
    return {type(environment).__name__: environment.get_reward()}


def _digest(cfg: Config) -> str:
    """Return a hash of the tools: paths, arguments, limits, and the files with their code."""
    refs = tool_refs(cfg)
    if environment := environment_ref(cfg):
        refs.append(environment)
    settings = repr((refs, limits_of(cfg), most_calls(cfg)))
    total = hashlib.sha256(settings.encode())
    for ref in refs:
        total.update(Path(inspect.getfile(ref.load())).read_bytes())
    return total.hexdigest()[:8]
