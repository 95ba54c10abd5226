"""Load a reward function or a transform from its name in a config: path, alias, parameters, factories.

The trainer and its scoring processes load rewards by name, so they exchange only plain data.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from inspect import Parameter, isclass, signature
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import block
from axolotl_grpo_plugin.options import refuse_wrong_types
from axolotl_grpo_plugin.reward import (
    OF_TRL,
    BaseReward,
    GroupReward,
    Reward,
    described,
    required,
)


class RewardRef(NamedTuple):
    """A reward as a config names it.

    key: the string in `trl.reward_funcs` ("my.module.function" or "my.module.function#alias").
    arguments: its `grpo_reward_args`, as sorted pairs.
    """

    key: str
    arguments: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, key: str, arguments: Mapping[str, Any]) -> "RewardRef":
        pairs = ((name, plain(value)) for name, value in arguments.items())
        return cls(key, tuple(sorted(pairs, key=lambda pair: str(pair[0]))))

    @property
    def path(self) -> str:
        return self.key.partition("#")[0]

    @property
    def alias(self) -> str:
        return self.key.partition("#")[2]


def reward_refs(cfg: Any) -> list[RewardRef]:
    """Return the rewards of a config in order. Axolotl refuses a value that is not a list of texts."""
    keys, arguments = block(cfg, "trl").get("reward_funcs"), block(cfg, "grpo_reward_args")
    return [
        RewardRef.of(key, block(arguments, key))
        for key in (keys if isinstance(keys, list) else ())
        if isinstance(key, str)
    ]


def plain(value: Any) -> Any:
    """Return plain dicts and lists, so that another process need not import Axolotl's classes."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def is_model(key: str) -> bool:
    """Return whether a key names a reward model: a folder, or a name on the hub, has a slash."""
    return "/" in key


def load_reward(reward: RewardRef) -> BaseReward:
    """Return the reward function with its options bound. Factories and classes are called.

    Raises: any error of the import; AttributeError if the module lacks the name; TypeError if a
        parameter is unknown, missing, or has a value of a wrong type.
    """
    key = repr(reward)  # hashable even if a parameter is a list
    if key not in _built:
        function = _build(reward)
        if not callable(function):
            raise TypeError(
                f"{reward.path} cannot be called as TRL does: it returned {function!r:.50}. "
                "Name a reward function, or a factory that returns one"
            )
        _built[key] = described(function)
    return _built[key]


def load_scorer(where: str, path: str, arguments: Mapping[str, Any] | None) -> Reward:
    """Return a reward that scores one completion, for another reward that is made of it.

    Raises: TypeError, which begins with `where`, if it cannot be loaded or scores whole batches.
    """
    try:
        loaded = load_reward(RewardRef.of(path, arguments or {}))
    except Exception as error:
        raise TypeError(f"{where}: {path}: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, Reward):
        raise TypeError(
            f"{where}: {path} does not score one completion. Name a reward that `@reward` made"
        )
    return loaded


def _build(reward: RewardRef) -> Any:
    module, _, name = reward.path.rpartition(".")
    if not module:
        raise TypeError(f"{reward.path!r} is not a dotted path. Write module.function")
    function, arguments = getattr(import_module(module), name), dict(reward.arguments)
    if isinstance(function, (Reward, GroupReward)):
        return function.bind(**arguments) if arguments else function
    parameters = signature(function).parameters.values()
    others = {each.name for each in parameters if each.kind is Parameter.VAR_KEYWORD}
    known = {each.name: each for each in parameters if each.name not in OF_TRL | others}
    refuse_wrong_types(name, known, arguments)
    if not isclass(function) and (others or "completions" in signature(function).parameters):
        return partial(function, **arguments) if arguments else function
    missing = required(function, *arguments)
    if "completion" in missing:
        reads = [f'"{each}"' for each in missing if each != "completion"]
        columns = f", reads=[{', '.join(reads)}]" if reads else ""
        raise TypeError(
            f"{name} scores one completion, but TRL passes a batch. "
            f"Add @reward(range=(0.0, 1.0){columns}) above it, from axolotl_grpo_plugin.reward"
        )
    if missing:
        raise TypeError(f"{name} needs: {', '.join(missing)}")
    return function(**arguments)


def load_transform(path: str) -> Callable[..., Any]:
    """Return the factory that a dataset's `type` names, `f(cfg, **_)`.

    A plain function of one row becomes a factory. A path without a dot names the module's `default`.

    Raises: any error of the import; AttributeError if the module lacks the name; TypeError if the
        function is neither.
    """
    module, _, name = path.rpartition(".")
    function: Callable[..., Any] = getattr(
        import_module(module or name), name if module else "default"
    )
    parameters = signature(function).parameters.values()
    names = [each.name for each in parameters]
    if "dataset_idx" in names or any(each.kind is Parameter.VAR_KEYWORD for each in parameters):
        return function
    required = [each.name for each in parameters if each.default is Parameter.empty]
    if names[:1] == ["cfg"] or len({*required} - {"tokenizer"}) != 1:
        raise TypeError(
            f"{name} is neither a factory nor a function of one row. "
            f"Write `def {name}(cfg, **_)`, which returns a function of one row, or `def {name}(row)`"
        )
    return lambda cfg, **_: function


_built: dict[str, BaseReward] = {}


def not_ready(reward: BaseReward) -> str:
    """Return why a reward cannot work on this machine, and the fix, or ""."""
    try:
        reward.ready()
    except RuntimeError as error:
        return str(error)
    except Exception as error:  # a user's code may raise any error
        return f"its `ready` raised {type(error).__name__}: {error}".splitlines()[0]
    return ""


def logged_names(rewards: list[RewardRef]) -> list[str]:
    """Return a different log name for each: its alias, or the shortest end of its path that is unique."""
    for parts in (1, 2, None):
        names = [
            each.alias or ".".join(each.path.split(".")[-parts if parts else None :])
            for each in rewards
        ]
        if max(Counter(names).values(), default=1) == 1:
            break
    return names
