"""Read the tools and the environment that a config names."""

from axolotl_grpo_plugin.config import Config, block, number_of, tokens_of
from axolotl_grpo_plugin.environments.server import ToolLimits, ToolRef
from axolotl_grpo_plugin.load import plain

TOOLS, ENVIRONMENT, MOST_CALLS = "grpo_tools", "grpo_environment", "grpo_max_tool_calls"
_MOST = "max_tool_calling_iterations"


def tool_refs(cfg: Config) -> list[ToolRef]:
    """Return the tools of a config, in order. Another check reports wrong types."""
    paths = cfg.get(TOOLS)
    arguments = block(cfg, "grpo_tool_args")
    refs = []
    for path in paths if isinstance(paths, list) else ():
        if isinstance(path, str):
            refs.append(ToolRef(path, plain(block(arguments, path))))
    return refs


def environment_ref(cfg: Config) -> ToolRef | None:
    """Return the environment of a config, or None."""
    path = cfg.get(ENVIRONMENT)
    if not path:
        return None
    return ToolRef(path, plain(block(cfg, "grpo_environment_args")))


def uses_tools(cfg: Config) -> bool:
    """Return whether a config has tools or an environment."""
    return bool(cfg.get(TOOLS) or cfg.get(ENVIRONMENT))


def limits_of(cfg: Config) -> ToolLimits:
    """Return the limits of one call."""
    given = block(cfg, "grpo_tool_limits")
    gib = number_of(given.get("memory")) or 4.0
    return ToolLimits(
        number_of(given.get("seconds")) or 10.0,
        int(gib * (1 << 30)),
        tokens_of(given.get("characters")) or 8000,
    )


def most_calls(cfg: Config) -> int | None:
    """Return the most rounds of calls per completion, None for no limit."""
    most = tokens_of(cfg.get(MOST_CALLS))
    return tokens_of(block(cfg, "grpo_trl_args").get(_MOST)) if most is None else most


def training_args(cfg: Config) -> dict[str, int]:
    """Return the fields of TRL's config that a config's tools set."""
    most = most_calls(cfg)
    return {} if most is None else {_MOST: most}
