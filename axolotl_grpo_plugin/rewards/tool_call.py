r"""Tool calls: the names and arguments of the calls that a completion makes.

A call is read from TRL's structured `tool_calls`, else from `<tool_call>` blocks (Hermes, Qwen, ToolRL), else from the
JSON that `structured.documents.find_document` finds: a list, as of xLAM, or one object. Arguments are in `arguments`
or `parameters`, as an object or as its JSON text. The order of the calls does not count.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import Completion
from axolotl_grpo_plugin.reward import MESSAGES, Score, reward
from axolotl_grpo_plugin.rewards.mathematics.values import same
from axolotl_grpo_plugin.rewards.structured.documents import (
    LONGEST,
    PROBLEMS,
    NotJSON,
    find_document,
    read_json,
    read_json_values,
    without_nulls,
)
from axolotl_grpo_plugin.thinking import after_thinking, is_open

_OPENING, _CLOSING = "<tool_call>", "</tool_call>"
_ARGUMENTS = ("arguments", "parameters")


class NamedCall(NamedTuple):
    """One call of a tool."""

    name: str
    arguments: dict[str, Any]


class NoToolCalls(ValueError):
    """A text or a value states no tool calls. The message is the reason of the score."""


def _row_problem(solution: Any) -> str:
    try:
        read_gold_calls(solution)
    except NoToolCalls:
        return "the gold answer is no list of tool calls"
    return ""


@reward(
    range=(0.0, 1.0),
    reads="solution",
    may_read=MESSAGES,
    reasons=("correct", "wrong_arguments", "wrong_calls", *PROBLEMS, "unreadable", "bad_gold"),
    inline=True,
    row_problem=_row_problem,
)
def tool_call_reward_func(
    completion: str,
    solution: Any,
    completion_messages: Completion | None = None,
    partial: bool = False,
) -> Score:
    r"""Return 1.0 if the completion makes exactly the calls of the gold answer, in any order, else 0.0.

    Names and text are compared exactly. 1 and 1.0 are equal, and 1, "1" and true differ.

    Args:
        solution: The gold calls: a list of objects, its JSON text, or text with `<tool_call>` blocks. Write text if an
            argument is null, because Arrow fills an object with nulls. Without a call, the score is None.
        completion_messages: The completion with its structured calls. The plugin and TRL pass it.
        partial: Pay the number of right calls, divided by the number of gold calls or of all calls that were made,
            whichever is larger.

    Source: the tasks of xLAM's function calling and of ToolRL, and the contract of this module.

    >>> text = '<tool_call>\n{"name": "weather", "arguments": {"city": "Rome"}}\n</tool_call>'
    >>> tool_call_reward_func([""], [text], solution=['[{"name": "weather", "arguments": {"city": "Rome"}}]'])
    [1.0]
    """
    try:
        gold = read_gold_calls(solution)
    except NoToolCalls:
        return Score(None, "bad_gold")
    try:
        calls = _structured_calls(completion_messages) or _written_calls(completion)
        right = _count_right(calls, gold)
    except NoToolCalls as problem:
        return Score(0.0, str(problem))
    except RecursionError:
        return Score(0.0, "unreadable")
    read = ", ".join(call.name for call in calls)
    most = max(len(calls), len(gold))
    if right == most:
        return Score(1.0, "correct", read)
    is_named = Counter(call.name for call in calls) == Counter(call.name for call in gold)
    reason = "wrong_arguments" if is_named else "wrong_calls"
    return Score(right / most if partial else 0.0, reason, read)


def _count_right(calls: list[NamedCall], gold: list[NamedCall]) -> int:
    """Return the number of gold calls that the calls make. Each call counts once."""
    right = 0
    left = list(calls)
    for wanted in gold:
        for index, call in enumerate(left):
            if call.name == wanted.name and same(call.arguments, wanted.arguments):
                right += 1
                del left[index]
                break
    return right


def read_gold_calls(solution: Any) -> list[NamedCall]:
    """Return the calls of a gold answer.

    Raises:
        NoToolCalls: It has none.
    """
    if isinstance(solution, str):
        calls = _written_calls(solution)
    else:
        calls = _calls_of(without_nulls(solution))
    if not calls:
        raise NoToolCalls("no_answer")
    return calls


def _structured_calls(messages: Completion | None) -> list[NamedCall]:
    """Return the calls in TRL's messages, [] for text."""
    calls = []
    for message in messages if isinstance(messages, list) else ():
        if message.get("role") in (None, "assistant"):
            calls += _calls_of(message.get("tool_calls") or [])
    return calls


def _written_calls(text: str) -> list[NamedCall]:
    """Return the calls that a text makes after its thinking."""
    if is_open(text):
        raise NoToolCalls("truncated")
    rest = after_thinking(text)
    if _OPENING not in rest and _CLOSING not in rest:
        document = find_document(text)
        if document.problem:
            raise NoToolCalls(document.problem)
        calls = _calls_of(document.value)
    else:
        if len(rest) > LONGEST:
            raise NoToolCalls("too_long")
        calls = []
        for body in _blocks(rest):
            try:
                values = read_json_values(body)
            except NotJSON:
                raise NoToolCalls("not_json") from None
            for value in values:
                calls += _calls_of(value)
    if not calls:
        raise NoToolCalls("no_answer")
    return calls


def _blocks(text: str) -> Iterator[str]:
    """Yield the body of each `<tool_call>` block."""
    before, *pieces = text.split(_OPENING)
    if _CLOSING in before:
        raise NoToolCalls("unreadable")
    for piece in pieces:
        body, closed, rest = piece.partition(_CLOSING)
        if not closed:
            raise NoToolCalls("truncated")
        if _CLOSING in rest:
            raise NoToolCalls("unreadable")
        yield body


def _calls_of(value: Any) -> list[NamedCall]:
    """Return the calls that a value states: one object, or a list."""
    entries = value if isinstance(value, list | tuple) else [value]
    return [_call_of(entry) for entry in entries]


def _call_of(entry: Any) -> NamedCall:
    """Return the call of {"name": ..., "arguments": {...}}, or of such an object in the key "function"."""
    if isinstance(entry, Mapping) and isinstance(entry.get("function"), Mapping):
        entry = entry["function"]
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise NoToolCalls("unreadable")
    keys = [key for key in _ARGUMENTS if entry.get(key) is not None]
    if len(keys) != 1:  # arguments under another name would not be compared
        raise NoToolCalls("unreadable")
    arguments = entry[keys[0]]
    if isinstance(arguments, str):
        try:
            arguments = read_json(arguments)
        except NotJSON:
            raise NoToolCalls("not_json") from None
    if not isinstance(arguments, Mapping):
        raise NoToolCalls("unreadable")
    return NamedCall(entry["name"], dict(arguments))
