"""Give tools and an environment to TRL's trainer through Axolotl 0.21, which passes neither on.

This file has all private names of Axolotl and TRL that tools need (upstream.toml).
"""

from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from accelerate.utils import gather

from axolotl_grpo_plugin.environments.guarded import (
    guarded_environment,
    guarded_tool,
    name_of,
    tool_methods,
)
from axolotl_grpo_plugin.environments.names import environment_ref, limits_of, tool_refs
from axolotl_grpo_plugin.environments.runner import KINDS, LOST, ToolRunner
from axolotl_grpo_plugin.scoring.rollout_log import RolloutLog

_MOVED = (
    "axolotl-grpo-plugin: {} This version of Axolotl or TRL is not supported with tools. "
    "Install axolotl==0.21.*, or remove grpo_tools and grpo_environment."
)


class Tools:
    """The guarded tools and environment of a run.

    keyword: TRL's keywords for them.
    """

    def __init__(self, cfg: Any):
        refs, environment = tool_refs(cfg), environment_ref(cfg)
        loaded = [each.load() for each in refs]
        self.runner = ToolRunner([*refs, *([environment] if environment else [])], limits_of(cfg))
        tools = [guarded_tool(tool, self.runner, number) for number, tool in enumerate(loaded)]
        self.keyword: dict[str, Any] = {"tools": tools} if tools else {}
        self.names = [name_of(each) for each in tools]
        self._metrics: dict[str, tuple[str, str]] = {}
        if environment:
            made = environment.load()
            self.names += [name for name, _ in tool_methods(made)]
            self.keyword["environment_factory"] = guarded_environment(made, self.runner, len(refs))
            self._metrics["environment/lost"] = LOST
        for name in self.names:
            self._metrics |= {f"tools/{name}/{kind}": (name, kind) for kind in KINDS}
        self._patch = ExitStack()

    def open(self) -> None:
        """Patch Axolotl so that it gives TRL the tools and the environment."""
        from axolotl.core.trainers.grpo import GRPOStrategy

        if not hasattr(GRPOStrategy, "set_trainer_kwargs"):
            raise RuntimeError(_MOVED.format("GRPOStrategy.set_trainer_kwargs is gone."))
        given = GRPOStrategy.set_trainer_kwargs

        def set_trainer_kwargs(cfg: Any) -> dict[str, Any]:
            return {**given(cfg), **self.keyword}

        self._patch.enter_context(
            patch.object(GRPOStrategy, "set_trainer_kwargs", set_trainer_kwargs)
        )

    def wrap_trainer(self, trainer: Any, rollouts: RolloutLog | None = None) -> None:
        """Wrap the trainer's `_generate`, to log the counts of each batch and to keep its masks."""
        generate = getattr(trainer, "_generate", None)
        passed = {name_of(each) for each in getattr(trainer, "tools", None) or ()}
        if generate is None or not passed.issuperset(self.names):
            raise RuntimeError(_MOVED.format("TRL's trainer has no _generate, or got no tools."))

        def counted(prompts: Any) -> Any:
            output = generate(prompts)
            if rollouts:
                rollouts.tool_masks = output[2]
            self._log(trainer)
            return output

        trainer._generate = counted

    def _log(self, trainer: Any) -> None:
        own = self.runner.take_counts(self._metrics.values())
        counts = gather(torch.tensor([own], device=trainer.accelerator.device)).sum(dim=0)
        metrics = trainer._metrics["train" if trainer.model.training else "eval"]
        for name, count in zip(self._metrics, counts.tolist(), strict=True):
            metrics[name].append(count)

    def close(self) -> None:
        """End the processes, and undo the patch of Axolotl."""
        self._patch.close()
        self.runner.close()


class _Generated(Exception):
    """Carries the result of `_generate` out of TRL's method, which would go on to score it."""


def generate(trainer: Any, rows: list[dict[str, Any]]) -> tuple[Any, Any, Any, Any]:
    """Let a trainer answer rows. Return the prompts as the model saw them, completions, token ids and masks.

    The masks are 1 for a token of the model and 0 for one of a tool, or None if the trainer has no tools.

    TRL's own method makes the environments and their prompts. It is left right after the generation.
    """
    original = trainer._generate

    def leave(prompts: Any) -> Any:
        raise _Generated(prompts, original(prompts))

    with patch.object(trainer, "_generate", leave):
        try:
            trainer._generate_and_score_completions(rows)
        except _Generated as left:
            prompts, (_, ids, masks, completions, *_) = left.args
            return prompts, completions, ids, masks
    raise RuntimeError(_MOVED.format("The trainer does not call _generate."))
