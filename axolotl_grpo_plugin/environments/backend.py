"""Answer rows with tools outside a training, by TRL's own loop."""

import hashlib
import inspect
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import batched
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer
from trl.rewards import think_format_reward

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.config import block, template_options
from axolotl_grpo_plugin.environments.names import (
    MOST_CALLS,
    environment_ref,
    limits_of,
    tool_refs,
    training_args,
)
from axolotl_grpo_plugin.environments.seams import Tools, generate
from axolotl_grpo_plugin.generation.answers import Answer, Job
from axolotl_grpo_plugin.generation.generate import Backend, answer_of
from axolotl_grpo_plugin.generation.models import Model

_BATCH = 64  # answers at once; an environment has a process for each
_MOST = "max_tool_calling_iterations"


class ToolBackend:
    """Answers with a config's tools. how: with a hash of the tools, because they change the answers.

    turns: the backend that writes each turn of the model. TRL's trainer calls the tools. Its own model is
    a tiny one, which writes nothing.
    """

    def __init__(
        self, cfg: Any, turns: Backend, tokenizer: Any, max_tokens: int, batch_size: int | None
    ):
        self._cfg, self._turns, self._tokenizer = cfg, turns, tokenizer
        self._size = batch_size or _BATCH
        self._open: list[tuple[Job, list[int], int]] = []
        self.how = f"{turns.how}, tools {_digest(cfg)}"
        self.tools = Tools(cfg)
        most = {_MOST: block(cfg, "grpo_trl_args").get(_MOST), **training_args(cfg)}
        settings = GRPOConfig(
            output_dir=tempfile.gettempdir(),  # nothing is saved
            max_completion_length=max_tokens,
            num_generations_eval=1,
            chat_template_kwargs=template_options(cfg),
            report_to=[],
            use_cpu=True,
            bf16=False,
            **most,
        )
        tiny = LlamaConfig(
            vocab_size=8,
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
        )
        self._trainer: Any = GRPOTrainer(
            model=LlamaForCausalLM(tiny),
            # TRL demands a reward. `generate` leaves before it would be called.
            reward_funcs=[think_format_reward],
            args=settings,
            train_dataset=Dataset.from_list([{"prompt": ""}]),
            processing_class=tokenizer,
            **self.tools.keyword,
        )
        self._trainer.model.eval()
        self._trainer._generate_single_turn = self._turn

    def load(self, model: Model) -> None:
        """Load a model. Raises: ConfigError if that fails."""
        self._turns.load(model)
        # TRL ends a chat that is longer than the model's context.
        self._trainer.model.config = AutoConfig.from_pretrained(
            model.folder, trust_remote_code=bool(self._cfg.get("trust_remote_code"))
        )

    def generate(self, jobs: Sequence[Job]) -> Iterator[list[tuple[Job, Answer]]]:
        """Yield batches of jobs with their answers."""
        for batch in batched(jobs, self._size):
            self._open = [(job, [], 0) for job in batch]
            rows = [{"prompt": job.question.prompt, **job.question.columns} for job in batch]
            parts = zip(batch, *generate(self._trainer, rows), self._rewards(batch), strict=True)
            yield [
                (
                    job,
                    answer_of(ids, job, self._tokenizer)._replace(
                        text=text_of(chat),
                        prompt=prompt,
                        chat=chat,
                        tool_tokens=mask.count(0),
                        rewards=rewards,
                    ),
                )
                for job, prompt, chat, ids, mask, rewards in parts
            ]

    def close(self) -> None:
        """Free the memory, and end the processes."""
        self._turns.close()
        self.tools.close()

    def _rewards(self, batch: Sequence[Job]) -> Iterator[dict[str, float | None] | None]:
        """Yield the rewards of the episodes that TRL has just played, or None."""
        for environment in self._trainer.environments or [None] * len(batch):
            has_reward = hasattr(environment, "get_reward")
            yield {type(environment).__name__: environment.get_reward()} if has_reward else None

    def _turn(self, prompts: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        """Write one turn after each prompt, in place of TRL's `_generate_single_turn`.

        TRL passes the chats that go on, in their order. Each begins with its earlier tokens.
        """
        before, now = iter(self._open), list[tuple[Job, list[int], int]]()
        for ids in prompts:
            job, _old, start = next(each for each in before if ids[: len(each[1])] == each[1])
            now.append((job, ids, start or len(ids)))
        asked = []
        for job, ids, start in now:
            left = max(1, start + job.sampling.max_tokens - len(ids))  # TRL cuts one too many
            sampling, question = replace(job.sampling, max_tokens=left), job.question
            asked.append(job._replace(question=question._replace(ids=ids), sampling=sampling))
        found: dict[str, Any] = {
            job.key: ids for batch in self._turns.generate(asked) for job, ids in batch
        }
        self._open = [(job, [*ids, *found[job.key]], start) for job, ids, start in now]
        return [found[job.key] for job, *_ in now], None


def _digest(cfg: Any) -> str:
    """Return a hash of the tools: paths, arguments, limits, and the files with their code."""
    refs = [*tool_refs(cfg), *filter(None, [environment_ref(cfg)])]
    most = cfg.get(MOST_CALLS) or block(cfg, "grpo_trl_args").get(_MOST)
    total = hashlib.sha256(repr((refs, limits_of(cfg), most)).encode())
    for ref in refs:
        total.update(Path(inspect.getfile(ref.load())).read_bytes())
    return total.hexdigest()[:8]
