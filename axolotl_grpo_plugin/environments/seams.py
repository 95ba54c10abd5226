"""Give tools and an environment to TRL's trainer through Axolotl 0.21, which passes neither on."""

from contextlib import ExitStack
from typing import Any

import torch
from accelerate.utils import gather
from trl import GRPOTrainer
from trl.data_utils import prepare_multimodal_messages

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.environments.guarded import (
    guarded_environment,
    guarded_tool,
    name_of,
    tool_methods,
)
from axolotl_grpo_plugin.environments.names import environment_ref, limits_of, tool_refs
from axolotl_grpo_plugin.environments.runner import KINDS, LOST, ToolRunner
from axolotl_grpo_plugin.repairs import upstream
from axolotl_grpo_plugin.scoring.rollout_log import RolloutLog

type Row = dict[str, Any]


class Tools:
    """The guarded tools and environment of a run.

    keyword: TRL's keywords for them. all: the tools, also the methods of the environment.
    """

    def __init__(self, cfg: Config):
        refs = tool_refs(cfg)
        environment = environment_ref(cfg)
        loaded = [ref.load() for ref in refs]  # first, because a load may take long
        processes = [*refs, environment] if environment else refs
        self.runner = ToolRunner(processes, limits_of(cfg))
        tools = [guarded_tool(tool, self.runner, number) for number, tool in enumerate(loaded)]
        self.all = list(tools)
        self.keyword: dict[str, Any] = {}
        self._metrics: dict[str, tuple[str, str]] = {}
        if tools:
            self.keyword["tools"] = tools
        if environment:
            made = environment.load()
            self.all += [method for _, method in tool_methods(made)]
            self.keyword["environment_factory"] = guarded_environment(made, self.runner, len(refs))
            self._metrics["environment/lost"] = LOST
        for name in map(name_of, self.all):
            for kind in KINDS:
                self._metrics[f"tools/{name}/{kind}"] = name, kind
        self._opened = ExitStack()

    def open(self) -> None:
        """Let Axolotl give TRL the tools and the environment."""
        self._opened.enter_context(upstream.more_trainer_arguments(self.keyword))

    def wrap_trainer(self, trainer: GRPOTrainer, rollouts: RolloutLog | None = None) -> None:
        """Log the counts of each batch, and keep its masks for the rollout log.

        Raises: RuntimeError if Axolotl did not pass the tools.
        """
        if len(trainer.tools) != len(self.all):
            raise RuntimeError(
                "axolotl-grpo-plugin: TRL's trainer got no tools. This version of Axolotl or TRL is not supported "
                "with tools. Install axolotl==0.21.*, or remove grpo_tools and grpo_environment."
            )

        def counted(generate: Any, prompts: Any) -> Any:
            output = generate(prompts)
            if rollouts:
                rollouts.tool_masks = output[2]
            self._log(trainer)
            return output

        upstream.wrap_generation(trainer, counted)

    def _log(self, trainer: GRPOTrainer) -> None:
        own = self.runner.take_counts(self._metrics.values())
        counts = gather(torch.tensor([own], device=trainer.accelerator.device)).sum(dim=0)
        metrics = trainer._metrics["train" if trainer.model.training else "eval"]
        for name, count in zip(self._metrics, counts.tolist(), strict=True):
            metrics[name].append(count)

    def close(self) -> None:
        """End the processes, and undo the change of Axolotl."""
        self._opened.close()
        self.runner.close()


def generate(trainer: Any, rows: list[Row]) -> tuple[list[Any], Any, Any, Any]:
    """Let a trainer, or a ToolBackend in its place, answer rows.

    Returns the prompts as the model saw them, completions, token ids and masks. The masks are 1 for a token of the model and 0 for one of a tool, or None if the trainer has no tools.
    """
    environments: list[Any] = [None] * len(rows)
    if trainer.environment_factories:
        pool = trainer._environment_pool[None]
        while len(pool) < len(rows):  # each has a process
            pool.append(trainer.environment_factories[None]())
        trainer.environments = environments = pool[: len(rows)]
        trainer._batch_environments = [None] * len(rows)  # TRL's name of a single kind
    prompts = list(map(first_prompt, rows, environments))
    if trainer.tools:
        trainer._sync_tool_dicts = []
        for environment in environments:
            # Those of an environment are the methods of this one.
            named = {}
            for tool in trainer.tools:
                named[name_of(tool)] = getattr(environment, name_of(tool), tool)
            trainer._sync_tool_dicts.append(named)
        trainer._async_tool_dicts = [{}] * len(rows)  # guarded tools are synchronous
    _, ids, masks, completions, *_ = trainer._generate(prompts)
    return prompts, completions, ids, masks


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
