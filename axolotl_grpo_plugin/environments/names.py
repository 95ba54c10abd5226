"""Read the tools and the environment that a config names."""

from typing import Any

from axolotl_grpo_plugin.config import block, number_of, tokens_of
from axolotl_grpo_plugin.environments.server import Limits, ToolRef
from axolotl_grpo_plugin.load import plain

TOOLS, ENVIRONMENT, MOST_CALLS = "grpo_tools", "grpo_environment", "grpo_max_tool_calls"


def tool_refs(cfg: Any) -> list[ToolRef]:
    """Return the tools of a config, in order. Another check reports wrong types."""
    paths, arguments = cfg.get(TOOLS), block(cfg, "grpo_tool_args")
    return [
        ToolRef(path, plain(block(arguments, path)))
        for path in (paths if isinstance(paths, list) else ())
        if isinstance(path, str)
    ]


def environment_ref(cfg: Any) -> ToolRef | None:
    """Return the environment of a config, or None."""
    path = cfg.get(ENVIRONMENT)
    return ToolRef(path, plain(block(cfg, "grpo_environment_args"))) if path else None


def uses_tools(cfg: Any) -> bool:
    """Return whether a config has tools or an environment."""
    return bool(cfg.get(TOOLS) or cfg.get(ENVIRONMENT))


def limits_of(cfg: Any) -> Limits:
    """Return the limits of one call."""
    given = block(cfg, "grpo_tool_limits")
    return Limits(
        seconds=number_of(given.get("seconds")) or 10.0,
        memory=int((number_of(given.get("memory")) or 4.0) * (1 << 30)),
        characters=tokens_of(given.get("characters")) or 8000,
    )


def training_args(cfg: Any) -> dict[str, Any]:
    """Return the fields of TRL's config that a config's tools set."""
    most = tokens_of(cfg.get(MOST_CALLS))
    return {} if most is None else {"max_tool_calling_iterations": most}
