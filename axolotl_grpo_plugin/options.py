"""Hold what a YAML gives to the types that a function is annotated with: `prefilled: "no"` is true in Python."""

from collections.abc import Mapping, Sequence
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

# By what annotations are of: what values are, and what they are called.
_KINDS: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    NoneType: ((NoneType,), "null"),
    **dict.fromkeys((Mapping, dict), ((Mapping,), "a mapping")),
    **dict.fromkeys((Sequence, list, tuple), ((list, tuple), "a list")),
}


def refuse_wrong_types(
    name: str, parameters: Mapping[str, Parameter], arguments: Mapping[str, Any]
) -> None:
    """TypeError, one line, for an argument that is not what its parameter is annotated with.

    Annotations of other kinds than plain data say nothing here, and a default is always right.
    """
    for option, value in arguments.items():
        if option not in parameters or value == parameters[option].default:
            continue
        said = parameters[option].annotation
        union = isinstance(said, UnionType) or get_origin(said) is Union
        kinds = [get_origin(each) or each for each in (get_args(said) if union else (said,))]
        if all(kind in _KINDS for kind in kinds) and not any(_is(value, kind) for kind in kinds):
            wanted = " or ".join(_KINDS[kind][1] for kind in kinds)
            raise TypeError(f"{name}: {option}: {value!r} is not {wanted}")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool) and kind is not bool:  # in Python it is a number
        return False
    return isinstance(value, _KINDS[kind][0])
