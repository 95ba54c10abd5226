"""Compare a config's values with a function's annotations: `prefilled: "no"` would count as true."""

from collections.abc import Mapping, Sequence
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

# Annotation: the types of values that it accepts, and their name in an error.
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
    """Check that each argument is a parameter, and has the type of its annotation.

    Only annotations of plain data are checked. A default value is always accepted.

    Raises: TypeError, one line, for the first argument that is wrong.
    """
    takes_any = any(each.kind is Parameter.VAR_KEYWORD for each in parameters.values())
    for option, value in arguments.items():
        if option not in parameters:
            if takes_any:
                continue
            listed = ", ".join(parameters) or "none"
            raise TypeError(f"{name} has no parameter {option!r} (it has: {listed})")
        if value == parameters[option].default:
            continue
        annotation = parameters[option].annotation
        union = isinstance(annotation, UnionType) or get_origin(annotation) is Union
        members = get_args(annotation) if union else (annotation,)
        kinds = [get_origin(each) or each for each in members]
        if all(kind in _KINDS for kind in kinds) and not any(_is(value, kind) for kind in kinds):
            wanted = " or ".join(_KINDS[kind][1] for kind in kinds)
            raise TypeError(f"{name}: {option}: {value!r} is not {wanted}")


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool) and kind is not bool:  # isinstance(True, int) is true
        return False
    return isinstance(value, _KINDS[kind][0])
