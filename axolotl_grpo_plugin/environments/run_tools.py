"""The tools and the environment of a run."""

from typing import Any

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.environments.guarded import (
    guarded_environment,
    guarded_tool,
    name_of,
    tool_methods,
)
from axolotl_grpo_plugin.environments.names import environment_ref, limits_of, tool_refs
from axolotl_grpo_plugin.environments.runner import KINDS, LOST, ToolRunner


class Tools:
    """The guarded tools and environment of a run.

    Attributes:
        keyword: TRL's keywords for them.
        all: The tools, also the methods of the environment.
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

    def take_counts(self) -> dict[str, float]:
        """Return this rank's counts by the name of their metric, and begin again."""
        counts = self.runner.take_counts(self._metrics.values())
        return dict(zip(self._metrics, counts, strict=True))

    def close(self) -> None:
        """End the processes."""
        self.runner.close()
