"""A trainer whose model uses the guarded tools and environment of a run."""

from typing import Any, NamedTuple

import torch
from accelerate.utils import gather
from trl import GRPOTrainer
from trl.data_utils import prepare_multimodal_messages

from axolotl_grpo_plugin.environments.guarded import name_of
from axolotl_grpo_plugin.environments.run_tools import Tools

type Row = dict[str, Any]


class GeneratedRows(NamedTuple):
    """Answers to rows of a dataset.

    Attributes:
        prompts: As the model saw them.
        completions: Texts or chats.
        ids: The token ids of each completion.
        masks: Per token 1 if the model wrote it, and 0 if a tool did. None without tools.
    """

    prompts: list[Any]
    completions: Any
    ids: list[list[int]]
    masks: list[list[int]] | None


class ToolUse(GRPOTrainer):
    """TRL's trainer with the tools of a run, which Axolotl 0.21 has no key for.

    Attributes:
        guarded_tools: The tools of the run. None if the model has none.
    """

    guarded_tools: Tools | None = None

    def __init__(self, *arguments: Any, **options: Any):
        """Make TRL's trainer. It takes TRL's arguments."""
        if self.guarded_tools:
            options |= self.guarded_tools.keyword
        super().__init__(*arguments, **options)

    def _generate(self, prompts: list[Any]) -> Any:
        """Generate completions, and log the calls of tools over all ranks."""
        output = super()._generate(prompts)
        if self.guarded_tools:
            counts = self.guarded_tools.take_counts()
            own = torch.tensor([list(counts.values())], device=self.accelerator.device)
            metrics = self._metrics["train" if self.model.training else "eval"]
            for name, count in zip(counts, gather(own).sum(dim=0).tolist(), strict=True):
                metrics[name].append(count)
        return output

    def generate_rows(self, rows: list[Row]) -> GeneratedRows:
        """Answer rows, as TRL does it before it scores."""
        environments: list[Any] = [None] * len(rows)
        if self.environment_factories:
            pool = self._environment_pool[None]
            while len(pool) < len(rows):  # each has a process
                pool.append(self.environment_factories[None]())
            self.environments = environments = pool[: len(rows)]
            self._batch_environments = [None] * len(rows)  # TRL's name of a single kind
        prompts = [first_prompt(*pair) for pair in zip(rows, environments, strict=True)]
        if self.tools:
            self._sync_tool_dicts = []
            for environment in environments:
                # A tool of an environment is a method of each environment.
                methods = {}
                for tool in self.tools:
                    methods[name_of(tool)] = getattr(environment, name_of(tool), tool)
                self._sync_tool_dicts.append(methods)
            none: dict[str, Any] = {}
            self._async_tool_dicts = [none] * len(rows)  # guarded tools are synchronous
        _, ids, masks, completions, *_ = self._generate(prompts)
        return GeneratedRows(prompts, completions, ids, masks)


def first_prompt(row: Row, environment: Any) -> Any:
    """Return a row's prompt with its images, or with the text that its environment adds."""
    prompt = row["prompt"]
    images = row.get("images")
    if row.get("image"):
        images = [row["image"]]
    if images:
        return prepare_multimodal_messages(prompt, images=images)
    text = environment.reset(**row) if environment else None
    if text is None:
        return prompt
    *earlier, last = prompt
    content = last["content"]
    if isinstance(content, list):
        text = [{"type": "text", "text": text}]
    return [*earlier, {**last, "content": content + text}]
