"""Import the module that a config names, and load its reward function or transform: alias, parameters, factories.

The trainer and its scoring processes load rewards by name, so they exchange only plain data.
"""

import os
import re
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from importlib import import_module
from inspect import Parameter, getmembers, isclass, signature
from math import isfinite
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import Config, list_of, mapping_of, number_of
from axolotl_grpo_plugin.findings import (
    Finding,
    FindingError,
    error_line,
    fault,
    finding_of,
    nearest,
    raised,
    stop,
)
from axolotl_grpo_plugin.reward import (
    NOT_COLUMNS,
    OF_TRL,
    BaseReward,
    GroupReward,
    Options,
    PlainReward,
    Range,
    Reward,
    Scorer,
    check_options,
    required,
)

Columns = Collection[str]
_IMPORTING = re.compile(rf"^<frozen|/importlib/__init__\.py$|^{re.escape(__file__)}$")
Function = Callable[..., Any]


class RewardRef(NamedTuple):
    """A reward as a config names it.

    key: the string in `trl.reward_funcs` ("my.module.function" or "my.module.function#alias").
    arguments: its `grpo_reward_args`, as sorted pairs.
    range: its `grpo_reward_range`, None without one.
    """

    key: str
    arguments: tuple[tuple[str, Any], ...] = ()
    range: Range | None = None

    @classmethod
    def of(cls, key: str, arguments: Options, range: Range | None = None) -> "RewardRef":
        return cls(key, tuple(sorted(plain(arguments).items(), key=str)), range)

    @classmethod
    def in_config(cls, key: str, cfg: Config) -> "RewardRef":
        """Return the reward with the options that a config gives it."""
        arguments = mapping_of(cfg.grpo_reward_args.get(key))
        return cls.of(key, arguments, range_of(cfg.grpo_reward_range.get(key)))

    @property
    def path(self) -> str:
        return self.key.partition("#")[0]


RewardRefs = Sequence[RewardRef]


def reward_refs(cfg: Config) -> RewardRefs:
    """Return the rewards of a config in order."""
    refs = []
    for key in cfg.trl.reward_funcs:
        if isinstance(key, str):  # Axolotl refuses an entry that is no text
            refs.append(RewardRef.in_config(key, cfg))
    return refs


def range_of(value: object) -> Range | None:
    """Return the lowest and the highest score of `[0.0, 1.0]`, None for anything else."""
    ends = [number_of(end) for end in list_of(value)]
    if len(ends) != 2 or ends[0] is None or ends[1] is None:
        return None
    low, high = ends[0], ends[1]
    return (low, high) if low < high and isfinite(low) and isfinite(high) else None


def plain(value: Any) -> Any:
    """Return plain dicts and lists, so that another process need not import Axolotl's classes."""
    if isinstance(value, Mapping):
        return {key: plain(value[key]) for key in value}
    if isinstance(value, list):
        return [plain(element) for element in value]
    return value


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
            stop(
                "wrong-option",
                reward.path,
                f"it cannot be called as TRL does, because it returned {function!r:.50}",
                "Name a reward function, or a factory that returns one",
            )
        if not isinstance(function, BaseReward):
            function = PlainReward(function, reward.range)
        elif reward.range:
            stop(
                "wrong-range",
                "grpo_reward_range",
                f"the reward declares its range itself: {function.spec.range}",
                "Remove it there",
            )
        _built[key] = function
    return _built[key]


def made_reward(reward: RewardRef, where: str) -> BaseReward | Finding:
    """Return the reward function, or the finding if it cannot be made with its options."""
    fix = "Correct its options (grpo_reward_args, or --arg), or the function"
    try:
        return load_reward(reward)
    except (FindingError, TypeError) as error:
        return finding_of(error, "wrong-option", where, fix)
    except (Exception, SystemExit) as error:  # a user's factory may call sys.exit
        what = f"making the reward raised {error_line(error)}"
        return Finding(where, what, fix, traceback.format_exc(), code="cannot-be-made")


def load_scorer(where: str, path: str, arguments: Options | None) -> Reward:
    """Return a reward that scores one completion, for another reward that is made of it.

    Raises: FindingError at `where` if it cannot be loaded, or scores whole batches.
    """
    try:
        loaded = load_reward(RewardRef.of(path, arguments or {}))
    except FindingError as error:
        fix = error.finding.fix
        raise FindingError(finding_of(error, "wrong-option", where, fix)) from error
    except Exception as error:
        what = f"{path}: {type(error).__name__}: {error}"
        raise FindingError(fault("wrong-option", where, what, "")) from error
    if not isinstance(loaded, Reward):
        fix = "Name a reward that `@reward` made"
        stop("wrong-option", where, f"{path} does not score one completion", fix)
    return loaded


def _build(reward: RewardRef) -> Any:
    module, _, name = reward.path.rpartition(".")
    if not module:
        stop("wrong-option", reward.path, "not a dotted path", "Write module.function")
    function = getattr(import_module(module), name)
    arguments = dict(reward.arguments)
    if isinstance(function, (Reward, GroupReward)):
        return function.bind(**arguments) if arguments else function
    parameters = signature(function).parameters
    known = {}
    for option, parameter in parameters.items():
        # **columns is no option.
        if option not in OF_TRL and parameter.kind is not Parameter.VAR_KEYWORD:
            known[option] = parameter
    check_options(name, known, arguments)
    if not isclass(function) and (takes_any(function) or "completions" in parameters):
        return partial(function, **arguments) if arguments else function
    missing = required(function, *arguments)
    if "completion" in missing:
        reads = [f'"{column}"' for column in missing if column != "completion"]
        columns = f", reads=[{', '.join(reads)}]" if reads else ""
        what = "it scores one completion, but TRL passes a batch"
        fix = f"Add @reward(range=(0.0, 1.0){columns}) above it, from axolotl_grpo_plugin.reward"
        stop("wrong-option", name, what, fix)
    if missing:
        raise TypeError(f"{name} needs: {', '.join(missing)}")
    return function(**arguments)


def takes_any(function: Scorer) -> bool:
    """Return whether a function takes any keyword argument."""
    kinds = {parameter.kind for parameter in signature(function).parameters.values()}
    return Parameter.VAR_KEYWORD in kinds


def load_transform(path: str) -> Scorer:
    """Return the factory that a dataset's `type` names, `f(cfg, **_)`.

    A plain function of one row becomes a factory. A path without a dot names the module's `default`.

    Raises: any error of the import; AttributeError if the module lacks the name; TypeError if the
        function is neither.
    """
    module, dot, name = path.rpartition(".")
    if not dot:
        module, name = path, "default"
    function: Scorer = getattr(import_module(module), name)
    names = [*signature(function).parameters]
    if "dataset_idx" in names or takes_any(function):
        return function
    if names[:1] == ["cfg"] or len(required(function, "tokenizer")) != 1:
        what = "neither a factory nor a function of one row"
        fix = f"Write `def {name}(cfg, **_)`, which returns a function of one row, or `def {name}(row)`"
        stop("no-transform", name, what, fix)
    return lambda cfg, **_: function


_built: dict[str, BaseReward] = {}


def missing_column(
    function: BaseReward, columns: Columns, where: str, filled: Columns = NOT_COLUMNS
) -> Finding | None:
    """Return a finding if the rows lack a column that a reward reads.

    filled: the names of columns that TRL adds.
    """
    prompt = ["prompt"] if isinstance(function, GroupReward) else []
    for name in [*function.spec.reads, *prompt]:
        if name not in columns and name not in filled:
            return lacking(name, columns, where)
    return None


def lacking(name: str, columns: Columns, where: str) -> Finding:
    """Return a finding on a column that the rows lack."""
    return fault(
        "missing-column",
        where,
        f'it reads "{name}", which the rows lack (they have: {", ".join(columns) or "none"})',
        "Let the transform or the file's rows have that column",
    )


def not_ready(reward: BaseReward) -> str:
    """Return why a reward cannot work on this machine, and the fix, or ""."""
    try:
        reward.ready()
    except RuntimeError as error:
        return str(error)
    except Exception as error:  # a user's code may raise any error
        return f"its `ready` raised {error_line(error)}"
    return ""


def logged_names(rewards: RewardRefs) -> list[str]:
    """Return a different log name for each: its alias, or the shortest end of its path that is unique."""
    for parts in (1, 2, 0):  # 0: the whole path
        names = []
        for reward in rewards:
            _, _, alias = reward.key.partition("#")
            names.append(alias or ".".join(reward.path.split(".")[-parts:]))
        if len(set(names)) == len(names):
            break
    return names


def functions_of(module: ModuleType) -> list[str]:
    """Return the names of the public functions of a module or package, as its `__dir__` lists them."""
    if "__dir__" in vars(module):
        return dir(module)
    names = []
    for name, value in getmembers(module, callable):
        # A package may offer functions of its modules.
        defined_in = f"{getattr(value, '__module__', '')}."
        is_own = defined_in.startswith(f"{module.__name__}.")
        if is_own and not name.startswith("_"):
            names.append(name)
    return names


def function_at(path: str, where: str) -> Function | Finding:
    """Import a function. Return the finding if there is none. A path without a dot names `default`."""
    module_name, name = path, "default"
    if "." in path:
        module_name, name = path.rsplit(".", 1)
    module = imported(module_name, where)
    if isinstance(module, Finding):
        return module
    function: Function | None = getattr(module, name, None)
    if callable(function):
        return function
    what = f"no {name!r} in {module_name}"
    if hasattr(module, name):
        what = f"{name!r} is not a function"
    return fault("no-function", where, what, nearest(name, functions_of(module)))


def check_file_path(path: str, where: str) -> Finding | None:
    """Return a finding if the path of a function is a file's: rewards/mine.py, or rewards/mine.function."""
    path = path.replace(".py:", ".")  # rewards/mine.py:function, as other programs write it
    file, _, name = path.rpartition(".")
    if not os.path.isfile(f"{file}.py") or ("/" not in path and name != "py"):
        return None
    module_name, names = file.strip("./").replace("/", "."), [name]
    if name == "py":
        module = imported(module_name, where)
        if isinstance(module, Finding):
            return module
        names = functions_of(module) or ["FUNCTION"]
    fix = " or ".join(f"{module_name}.{name}" for name in names)
    what = "a file's path, but Axolotl imports a module"
    return fault("path-of-file", where, what, f"Write it as {fix}")


def imported(module_name: str, where: str) -> ModuleType | Finding:
    """Import a module. Return the finding if that fails."""
    try:
        return import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            what = f"there is no module {error.name!r}"
            fix = f"Install it, or start in the folder of its file instead of {os.getcwd()}"
            parent = error.name.rpartition(".")[0]
            if error.name.startswith("axolotl_grpo_plugin."):
                modules = iter_modules(import_module(parent).__path__, f"{parent}.")
                fix = nearest(error.name, [module.name for module in modules])
            return fault("no-module", where, what, fix)
        why = f", because it imports {error.name!r}, which is not installed"
        fix, trace = f"Install {error.name}", users_trace(error)
    except (Exception, SystemExit) as error:  # a user's module may call sys.exit
        fix, trace = "Correct the module", users_trace(error)
        why = f": {raised(traceback.format_exc())}"
    what = f"{module_name} cannot be imported{why}"
    return Finding(where, what, fix, trace, code="broken-module")


def users_trace(error: BaseException) -> str:
    """Return the traceback of a failed import from the user's module on, "" if its text does not compile."""
    trace = traceback.TracebackException.from_exception(error)
    frames = [frame for frame in trace.stack if not _IMPORTING.search(frame.filename)]
    if not frames:  # of a SyntaxError, whose line names the place
        return ""
    trace.stack = traceback.StackSummary.from_list(frames)
    return "".join(trace.format())
