"""Guarded tools and environments, which TRL gets in place of the ones that a config names."""

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from itertools import count
from typing import Any

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.environments.names import environment_ref, tool_refs
from axolotl_grpo_plugin.environments.runner import LOST, ToolError, ToolRunner
from axolotl_grpo_plugin.environments.server import ToolAnswer

OVER = "The episode is over."
_NOT_TOOLS = ("reset", "get_reward")

type Tool = Callable[..., Any]


def name_of(tool: Tool) -> str:
    """Return the name by which the model calls a tool."""
    return str(tool.__name__)


def described(tool: Tool) -> Tool:
    """Return a function with the signature and docstring of a tool: a function, or a class with `__call__`."""
    if not inspect.isclass(tool):
        return tool

    @wraps(tool.__call__)
    def call(*_: object, **__: object) -> None: ...

    _self, *others = inspect.signature(tool.__call__).parameters.values()
    call.__signature__ = inspect.Signature(others)  # type: ignore[attr-defined]
    call.__name__ = call.__qualname__ = name_of(tool)
    return call


def tool_methods(environment: type) -> Iterator[tuple[str, Tool]]:
    """Yield name and method (without `self`) of each tool of an environment, by TRL's rule."""
    for name, member in inspect.getmembers(environment, inspect.isfunction):
        if not name.startswith("_") and name not in _NOT_TOOLS:
            yield name, member.__get__(object())


def schemas_of(cfg: Config) -> list[dict[str, Any]]:
    """Return the descriptions of a config's tools, as the chat template gets them."""
    from transformers.utils import get_json_schema

    tools = [described(ref.load()) for ref in tool_refs(cfg)]
    if ref := environment_ref(cfg):
        tools += [method for _, method in tool_methods(ref.load())]
    return [get_json_schema(tool) for tool in tools]


def guarded_tool(tool: Tool, runner: ToolRunner, number: int) -> Tool:
    """Return a function for TRL, which calls the tool in its process."""
    method = "__call__" if inspect.isclass(tool) else ""

    @wraps(described(tool))
    def call(**arguments: object) -> object:
        return _value(runner.call(name_of(tool), number, arguments, method))

    return call


def _value(answer: ToolAnswer) -> object:
    if answer.status != "ok":
        raise ToolError(answer.error)
    return answer.value


class _Episodes:
    """The base of the class that TRL gets for an environment. Each object has a process of its own.

    An episode ends when the environment is `done`. It is lost if its process is killed, if `reset` or
    `get_reward` fails, or if a tool raises EpisodeLost. Later calls fail at once, and a lost reward is None,
    which counts as the mean of its prompt group.

    neutral: no reward of the episode counts, because the model is not at fault.
    """

    _runner: ToolRunner
    _number: int
    _slots: "count[int]"

    def __init__(self) -> None:
        self._slot = f"environment {self._number}.{next(self._slots)}"
        self._begin()

    def _begin(self) -> None:
        self._over = ""  # why it takes no more calls
        self._lost = False
        self.neutral = False

    def reset(self, /, **row: object) -> str | None:
        answer = self._runner.call("", self._number, row, "reset", self._slot)
        self._begin()
        self._after(answer, lost=answer.status != "ok")
        self.neutral = self._lost  # the model has written nothing yet
        return answer.value  # type: ignore[no-any-return]

    def _call(self, name: str, arguments: dict[str, object]) -> object:
        if self._over:
            self._runner.counts.update([(name, "calls"), (name, "errors")])
            raise ToolError(self._over)
        answer = self._runner.call(name, self._number, arguments, name, self._slot, make=False)
        self._after(answer, lost=answer.status not in ("ok", "error"))
        return _value(answer)

    def _reward(self) -> float | None:
        if self._lost:
            return None
        answer = self._runner.call("", self._number, {}, "get_reward", self._slot, make=False)
        self._after(answer, lost=answer.status != "ok")
        return answer.value  # type: ignore[no-any-return]

    def _after(self, answer: ToolAnswer, lost: bool) -> None:
        if lost:
            self._over = f"{OVER} It failed: {answer.error}"
            self._lost = True
            self.neutral = answer.status == "lost"  # else the model may have ended its process
            self._runner.counts[LOST] += 1
        elif answer.done:
            self._over = OVER


def guarded_environment(environment: type, runner: ToolRunner, number: int) -> type:
    """Return a class for TRL with the environment's name, tools and, if it has one, `get_reward`."""
    members: dict[str, object] = {"_runner": runner, "_number": number, "_slots": count()}
    for name, method in tool_methods(environment):
        members[name] = _guarded_method(name, method)
    if hasattr(environment, "get_reward"):
        members["get_reward"] = _Episodes._reward
    return type(environment.__name__, (_Episodes,), members)


def _guarded_method(name: str, method: Any) -> Tool:
    @wraps(method.__func__)
    def call(self: _Episodes, /, **arguments: object) -> object:
        return self._call(name, arguments)

    return call
