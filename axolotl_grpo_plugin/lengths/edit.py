"""Numbers in a YAML file, changed where they stand: comments, order and spelling of all else are kept."""

from collections.abc import Mapping
from copy import deepcopy
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
    """A YAML that cannot be changed without touching other things; the message says why."""


def edited(text: str, values: Mapping[str, int]) -> str:
    """The YAML with those keys ("sequence_len", "trl.max_completion_length") set, and nothing else changed.

    Raises EditError where the result would not be exactly that.
    """
    made = text
    for key, value in values.items():
        made = _set(made, key, value)
    if _loaded(made) != _with(_loaded(text), values):
        raise EditError("more than the numbers would change: write them by hand")
    return made


def _with(data: Any, values: Mapping[str, int]) -> Any:
    data = deepcopy(data)
    for key, value in values.items():
        block, _, name = key.rpartition(".")
        if block and data.get(block) is None:
            data[block] = {}
        (data[block] if block else data)[name] = value
    return data


def _loaded(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise EditError(f"no YAML: {' '.join(str(error).split())}") from error


def _set(text: str, key: str, value: int) -> str:
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise EditError(f"no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(root, yaml.MappingNode):
        raise EditError("no mapping of keys and values")
    block, _, name = key.rpartition(".")
    if not block:
        return _set_in(text, root, name, value)
    found = _entry(root, block)
    if found is None:
        newline = "\r\n" if "\r\n" in text else "\n"
        new = f"{{{name}: {value}}}" if root.flow_style else f"{newline}  {name}: {value}"
        return _inserted(text, root, block, f"{block}:{' ' * bool(root.flow_style)}{new}")
    opening, inner = found
    if isinstance(inner, yaml.MappingNode):
        return _set_in(text, inner, name, value)
    if inner.tag != "tag:yaml.org,2002:null":
        raise EditError(f"{block} is no block of keys and values")
    start, end = inner.start_mark.index, inner.end_mark.index
    if start < end or root.flow_style:
        return f"{text[:start]}{{{name}: {value}}}{text[end:]}"
    return _after_line(text, start, f"{' ' * (opening.start_mark.column + 2)}{name}: {value}")


def _set_in(text: str, mapping: Any, name: str, value: int) -> str:
    found = _entry(mapping, name)
    if found is None:
        return _inserted(text, mapping, name, f"{name}: {value}")
    _, old = found
    if not isinstance(old, yaml.ScalarNode):
        raise EditError(f"{name} is no number")
    start, end = old.start_mark.index, old.end_mark.index
    space = " " * (start == end)
    return f"{text[:start]}{space}{value}{text[end:]}"


def _entry(mapping: Any, name: str) -> tuple[Any, Any] | None:
    """A key's node and its value's, None where there is no such key."""
    found = [(key, value) for key, value in mapping.value if key.value == name]
    if len(found) > 1:
        raise EditError(f"{name} stands there twice")
    if found and found[0][1].start_mark.index < found[0][0].end_mark.index:
        raise EditError(f"{name} is an alias: its value stands elsewhere")
    return found[0] if found else None


def _inserted(text: str, mapping: Any, name: str, line: str) -> str:
    if mapping.flow_style:
        start = mapping.start_mark.index + 1
        return f"{text[:start]}{line}{', ' if mapping.value else ''}{text[start:]}"
    if not mapping.value:
        raise EditError(f"no place for {name}")
    column = mapping.value[0][0].start_mark.column
    neighbours = [value for key, value in mapping.value if key.value == AFTER.get(name)]
    end = _end(text, neighbours[0] if neighbours else mapping)
    return _after_line(text, end, " " * column + line)


def _after_line(text: str, place: int, line: str) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    end = text.find("\n", place)
    if end < 0:
        return f"{text}{newline}{line}"
    return f"{text[: end + 1]}{line}{newline}{text[end + 1 :]}"


def _end(text: str, node: Any) -> int:
    """The index behind a node's last character. (A block's own mark is behind the comments that follow it.)"""
    if not isinstance(node, yaml.ScalarNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(text, last[1] if isinstance(last, tuple) else last)
    end: int = node.end_mark.index
    return end - (end > 0 and text[end - 1] == "\n")
