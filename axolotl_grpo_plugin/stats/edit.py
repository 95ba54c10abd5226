"""Numbers in a YAML file, changed where they stand: comments, order and spelling of all else are kept."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

# Where a key that is not there yet reads best; else its block's end.
AFTER = {
    "vllm": "trl",
    "sequence_len": "output_dir",
    "grpo_max_prompt_length": "sequence_len",
    "max_completion_length": "num_generations",
}


class EditError(ValueError):
    """A YAML that cannot be changed without touching other things; the message names the key."""


def edited(text: str, values: Mapping[str, int]) -> str:
    """The YAML with those keys ("sequence_len", "trl.max_completion_length") set, and nothing else changed.

    Raises EditError where the result would not be exactly that.
    """
    for key, value in values.items():
        path = key.split(".")
        try:
            wanted = yaml.safe_load(text)
            made = _set(text, path, value)
            if yaml.safe_load(made) != _with(wanted, path, value):
                raise EditError("more than that number would change")
        except (yaml.YAMLError, ValueError) as error:
            said = " ".join(str(error).split())
            raise EditError(f"{key} cannot be set: {said}") from error
        text = made
    return text


def _with(data: Any, path: list[str], value: int) -> Any:
    """The data with that one value. A block is copied: an alias elsewhere must keep what it says."""
    name, *rest = path
    data = data or {}
    return {**data, name: _with(data.get(name), rest, value) if rest else value}


def _set(text: str, path: list[str], value: int) -> str:
    root = mapping = yaml.compose(text, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise EditError("no mapping of keys and values")
    while True:
        name, *rest = path
        old = _value(mapping, name)
        if old is None:
            return _added(text, root, mapping, path, value)
        start, end = old.start_mark.index, old.end_mark.index
        if not isinstance(old, yaml.MappingNode) and text.startswith(("&", "!"), start):
            raise EditError(f"{name} has an anchor or a tag")
        if not rest:
            if not isinstance(old, yaml.ScalarNode) or old.style in ("|", ">"):
                raise EditError(f"{name} is no number")
            return f"{text[:start]}{' ' * (start == end)}{value}{text[end:]}"
        if old.tag == "tag:yaml.org,2002:null":
            if start == end and not mapping.flow_style:
                column = mapping.value[0][0].start_mark.column + _step(root)
                return _below(text, end, column, _block(rest, value, column, _step(root)))
            return f"{text[:start]}{' ' * (start == end)}{{{_flow(rest, value)}}}{text[end:]}"
        if old.tag != "tag:yaml.org,2002:map":
            raise EditError(f"{name} is no block of keys and values")
        mapping, path = old, rest


def _value(mapping: Any, name: str) -> Any:
    """The node of a key's value, None where there is no such key."""
    found = [(key, value) for key, value in mapping.value if key.value == name]
    if len(found) > 1:
        raise EditError(f"{name} stands there twice")
    if not found:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in mapping.value):
            raise EditError(f"{name} may come from the merge (<<) there")
        return None
    key, value = found[0]
    if value.start_mark.index < key.end_mark.index:
        raise EditError(f"{name} is an alias: its value stands elsewhere")
    return value


def _added(text: str, root: Any, mapping: Any, path: list[str], value: int) -> str:
    if mapping.flow_style:
        end = _end(text, mapping.end_mark.index - 1)
        gap = {"{": "", ",": " "}.get(text[end - 1], ", ")
        return f"{text[:end]}{gap}{_flow(path, value)}{text[end:]}"
    stops = [
        max(key.end_mark.index, before.end_mark.index)
        for key, before in mapping.value
        if key.value == AFTER.get(path[0])
    ]
    column = mapping.value[0][0].start_mark.column
    end = _end(text, stops[0] if stops else mapping.end_mark.index)
    return _below(text, end, column, _block(path, value, column, _step(root)))


def _end(text: str, stop: int) -> int:
    """Where the last token before `stop` ends. (A block's own mark is behind the comments after it.)"""
    return max(int(each.end_mark.index) for each in yaml.scan(text) if each.start_mark.index < stop)


def _below(text: str, end: int, column: int, lines: str) -> str:
    """The lines put under the one that ends at `end`, and under the comments that belong to it."""
    deeper = rf"(?: {{{max(column, 1)},}}#[^\r\n]*(?:\r\n|\r|\n|\Z))*"
    above = re.compile(rf"(?:(?<=[\r\n])|[^\r\n]*(?:\r\n|\r|\n|\Z)){deeper}").match(text, end)
    place = above.end() if above else end
    newline = _newline(text[:place])
    lines = lines.replace("\n", newline)
    if text[place - 1] in "\r\n":
        return f"{text[:place]}{lines}{newline}{text[place:]}"
    return f"{text}{newline}{lines}"


def _newline(text: str) -> str:
    """The line ending last used in the text: a file may have several."""
    used: list[str] = re.findall(r"\r\n|\r|\n", text)
    return used[-1] if used else "\n"


def _block(path: list[str], value: int, column: int, step: int) -> str:
    names = [f"{' ' * (column + step * depth)}{name}:" for depth, name in enumerate(path)]
    return "\n".join(names) + f" {value}"


def _flow(path: list[str], value: int) -> str:
    name, *rest = path
    return f"{name}: {{{_flow(rest, value)}}}" if rest else f"{name}: {value}"


def _step(root: Any) -> int:
    """By how many columns the file indents a block: the first one's, else 2."""
    first: int = root.value[0][0].start_mark.column
    for _, value in root.value:
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            return max(int(value.value[0][0].start_mark.column) - first, 1)
    return 2
