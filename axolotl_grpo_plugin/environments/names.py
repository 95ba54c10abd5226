"""Read the tools and the environment that a config names."""

from axolotl_grpo_plugin.config import Config, mapping_of
from axolotl_grpo_plugin.environments.server import ToolLimits, ToolRef
from axolotl_grpo_plugin.load import plain

TOOLS, ENVIRONMENT, MOST_CALLS = "grpo_tools", "grpo_environment", "grpo_max_tool_calls"
_MOST = "max_tool_calling_iterations"


def tool_refs(cfg: Config) -> list[ToolRef]:
    """Return the tools of a config, in order. Another check reports wrong types."""
    refs = []
    for path in cfg.grpo_tools:
        if isinstance(path, str):
            refs.append(ToolRef(path, plain(mapping_of(cfg.grpo_tool_args.get(path)))))
    return refs


def environment_ref(cfg: Config) -> ToolRef | None:
    """Return the environment of a config, or None."""
    if not cfg.grpo_environment:
        return None
    return ToolRef(cfg.grpo_environment, plain(cfg.grpo_environment_args))


def uses_tools(cfg: Config) -> bool:
    """Return whether a config has tools or an environment."""
    return bool(cfg.grpo_tools or cfg.grpo_environment)


def limits_of(cfg: Config) -> ToolLimits:
    """Return the limits of one call."""
    limits = cfg.grpo_tool_limits
    return ToolLimits(
        limits.seconds or 10.0, int((limits.memory or 4.0) * (1 << 30)), limits.characters or 8000
    )


def most_calls(cfg: Config) -> int | None:
    """Return the most rounds of calls per completion, None for no limit."""
    if cfg.grpo_max_tool_calls is None:
        return cfg.grpo_trl_args.max_tool_calling_iterations
    return cfg.grpo_max_tool_calls


def training_args(cfg: Config) -> dict[str, int]:
    """Return the fields of TRL's config that a config's tools set."""
    most = most_calls(cfg)
    return {} if most is None else {_MOST: most}
