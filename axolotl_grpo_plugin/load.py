"""From what a YAML names to a reward function: path, alias, parameters, factories.

The trainer and each of its scoring processes load the same names with this, so only plain data
travels between them.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from inspect import Parameter, isclass, signature
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import block
from axolotl_grpo_plugin.options import refuse_wrong_types
from axolotl_grpo_plugin.reward import NOT_COLUMNS, BaseReward, GroupReward, Reward, described


class RewardRef(NamedTuple):
    """A reward as the YAML names it.

    key: the string in `trl.reward_funcs` ("my.module.function" or "my.module.function#alias").
    arguments: its `grpo_reward_args`, as sorted pairs.
    """

    key: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, key: str, arguments: Mapping[str, Any]) -> "RewardRef":
        pairs = ((name, _plain(value)) for name, value in arguments.items())
        return cls(key, tuple(sorted(pairs, key=lambda pair: str(pair[0]))))

    @property
    def path(self) -> str:
        return self.key.partition("#")[0]

    @property
    def alias(self) -> str:
        return self.key.partition("#")[2]


def reward_refs(cfg: Any) -> list[RewardRef]:
    """The rewards of a config, in its order; what is no list of texts is for Axolotl to refuse."""
    keys, arguments = block(cfg, "trl").get("reward_funcs"), block(cfg, "grpo_reward_args")
    return [
        RewardRef.of(key, block(arguments, key))
        for key in (keys if isinstance(keys, list) else ())
        if isinstance(key, str)
    ]


def _plain(value: Any) -> Any:
    """Of a config's own dicts, plain ones: a scoring process need not import Axolotl for them."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value


def is_model(key: str) -> bool:
    """Whether it is a reward model: a folder, or a name on the hub. A module's path has no slash."""
    return "/" in key


def load_reward(reward: RewardRef) -> BaseReward:
    """Return the reward function, its options bound, factories and classes called.

    Raises: whatever the import raises; AttributeError for a name that the module lacks; TypeError
    for a parameter that it does not have, or lacks and needs, or for a value of another type.
    """
    key = repr(reward)  # not itself: a parameter may be a list
    if key not in _built:
        made = _build(reward)
        if not callable(made):
            raise TypeError(f"{reward.path} cannot be called as TRL does: it made {made!r:.50}")
        _built[key] = described(made)
    return _built[key]


def _build(reward: RewardRef) -> Any:
    module, _, name = reward.path.rpartition(".")
    if not module:
        raise TypeError(f"{reward.path!r} is no path: write module.function")
    function, arguments = getattr(import_module(module), name), dict(reward.arguments)
    if isinstance(function, (Reward, GroupReward)):
        return function.bind(**arguments) if arguments else function
    parameters = _parameters(function)
    known = [
        each.name
        for each in parameters.values()
        if each.kind is not Parameter.VAR_KEYWORD and each.name not in _TRLS
    ]
    for given in arguments:
        if given not in known:
            listed = ", ".join(known) or "none"
            raise TypeError(f"{name} has no parameter {given!r} (it has: {listed})")
    refuse_wrong_types(name, parameters, arguments)
    if not makes_a_reward(function):
        return partial(function, **arguments) if arguments else function
    missing = [
        each.name
        for each in parameters.values()
        if each.default is Parameter.empty
        and each.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        and each.name not in arguments
    ]
    if missing:
        raise TypeError(f"{name} makes a reward, and for that needs: {', '.join(missing)}")
    return function(**arguments)


_built: dict[str, BaseReward] = {}
_TRLS = {"prompts", "completions", *NOT_COLUMNS}


def makes_a_reward(function: Any) -> bool:
    """Whether it is a factory or a class: TRL passes `completions` by name, and it takes none."""
    if isclass(function):
        return True
    return not any(
        each.name == "completions" or each.kind is Parameter.VAR_KEYWORD
        for each in _parameters(function).values()
    )


def _parameters(function: Any) -> Mapping[str, Parameter]:
    try:
        return signature(function).parameters
    except ValueError:  # compiled functions may hide them: taken for f(completions, **columns)
        return signature(lambda completions, **columns: []).parameters


def not_ready(reward: BaseReward) -> str:
    """Return why a reward cannot work on this machine, and the fix, or ""."""
    try:
        reward.ready()
    except RuntimeError as error:
        return str(error)
    except Exception as error:  # of a user's reward
        return f"its `ready` raised {type(error).__name__}: {error}".splitlines()[0]
    return ""


def logged_names(rewards: list[RewardRef]) -> list[str]:
    """What each is called in logs: its alias or its own name, and enough of its path to be the only one."""
    for parts in (1, 2, None):
        names = [
            each.alias or ".".join(each.path.split(".")[-parts if parts else None :])
            for each in rewards
        ]
        if max(Counter(names).values(), default=1) == 1:
            break
    return names
