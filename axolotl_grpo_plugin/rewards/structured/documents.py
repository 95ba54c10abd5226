"""Find the JSON document of a completion, and read it by the standard.

Each function takes time linear in the text and never raises.
"""

import json
import re
from collections.abc import Mapping
from math import isinf
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import find_answer
from axolotl_grpo_plugin.thinking import after_thinking, is_open

LONGEST = 200_000  # characters of a document
# A fence stands on lines of its own, because no JSON string has a line break.
_FENCE = re.compile(r"^[ \t]*```([^\n`]*)$", re.MULTILINE)
_BRACKETS = re.compile(r"[\[{]")
_SPACES = re.compile(r"[ \t\n\r]*")

PROBLEMS = ("no_answer", "truncated", "empty_answer", "too_long", "not_json")


class Document(NamedTuple):
    """The JSON document that a completion states.

    Attributes:
        value: Its value, None without a document.
        text: Its text, or the text that is no JSON.
        problem: One of `PROBLEMS` without a document, else "".
    """

    value: Any
    text: str = ""
    problem: str = ""


class NotJSON(ValueError):
    """A text is not one JSON document."""


def find_document(completion: str) -> Document:
    """Return the document of a completion after its thinking.

    It is all of the text, or the body of the last `<answer>` tag, or the last fence that is labelled as JSON or not
    at all. The body of a tag may have a fence. Prose may stand around a tag or a fence only.
    """
    if is_open(completion):
        return Document(None, problem="truncated")
    text = after_thinking(completion).strip()
    bare = _read(text)
    if not bare.problem:
        return bare
    tagged = find_answer(completion, ["tag"])
    if tagged.text is not None:
        text = tagged.text
        bare = _read(text)
        if not bare.problem:
            return bare
    elif tagged.problem != "no_answer_tag":
        return Document(None, problem=tagged.problem)
    fenced, is_cut = _last_fence(text)
    if fenced:
        return _read(fenced)
    if is_cut:
        return Document(None, problem="truncated")
    begins = _BRACKETS.match(text) or tagged.text is not None
    return bare if begins or bare.problem == "too_long" else Document(None, problem="no_answer")


def _last_fence(text: str) -> tuple[str, bool]:
    """Return the body of the last JSON fence, "" without one, and whether the last fence has no end."""
    body = ""
    start = label = None
    for mark in _FENCE.finditer(text):
        name = mark[1].strip().lower()
        if start is None:
            start, label = mark.end(), name
        elif not name:
            if label in ("", "json"):
                body = text[start : mark.start()].strip()
            start = None
    return body, start is not None


def _read(text: str) -> Document:
    if len(text) > LONGEST:
        return Document(None, text, "too_long")
    try:
        return Document(read_json(text), text)
    except NotJSON:
        return Document(None, text, "not_json")


def read_json(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        NotJSON: The text is no JSON, states a key of an object twice, has a number that no float holds, or is nested
            too deeply.
    """
    values = read_json_values(text)
    if len(values) != 1:
        raise NotJSON(f"{len(values)} documents")
    return values[0]


def read_json_values(text: str) -> list[Any]:
    """Return the values of JSON texts one after the other, with whitespace between them.

    Raises:
        NotJSON: As `read_json`.
    """
    values = []
    end = _SPACES.match(text).end()  # type: ignore[union-attr]  # it matches ""
    try:
        while end < len(text):
            value, end = _DECODER.raw_decode(text, end)
            values.append(value)
            end = _SPACES.match(text, end).end()  # type: ignore[union-attr]
    except (ValueError, RecursionError) as error:
        raise NotJSON(str(error)) from None
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. A key that occurs twice has two values to choose from."""
    value = dict(pairs)
    if len(value) != len(pairs):
        raise NotJSON("a key occurs twice")
    return value


def _refused(name: str) -> Any:
    raise NotJSON(f"{name} is no JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if isinf(value):
        raise NotJSON("a number is too large")
    return value


def without_nulls(value: Any) -> Any:
    """Return a value without the keys of objects that Arrow has filled with null."""
    if isinstance(value, Mapping):
        return {key: without_nulls(each) for key, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list | tuple) else value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refused, parse_float=_finite)
