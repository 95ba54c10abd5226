"""Compare a config's values with a function's annotations: `prefilled: "no"` would count as true."""

from collections.abc import Mapping, Sequence
from inspect import Parameter
from types import NoneType, UnionType
from typing import Union, get_args, get_origin

# The name of an annotation's type in an error, and the types of a YAML's values that fit it.
_MAPPING = "a mapping", (Mapping,)
_LIST = "a list", (list, tuple)
_KINDS: dict[object, tuple[str, tuple[type, ...]]] = {
    bool: ("true or false", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("text", (str,)),
    NoneType: ("null", (NoneType,)),
    Mapping: _MAPPING,
    dict: _MAPPING,
    Sequence: _LIST,
    list: _LIST,
    tuple: _LIST,
}


def refuse_wrong_types(
    name: str, parameters: Mapping[str, Parameter], arguments: Mapping[str, object]
) -> None:
    """Check that each argument is a parameter, and has the type of its annotation.

    Only annotations of plain data are checked. A default value is always accepted.

    Raises: TypeError, one line, for the first argument that is wrong.
    """
    kinds = {parameter.kind for parameter in parameters.values()}
    for option, value in arguments.items():
        if option in parameters:
            _check(f"{name}: {option}", parameters[option], value)
        elif Parameter.VAR_KEYWORD not in kinds:
            listed = ", ".join(parameters) or "none"
            raise TypeError(f"{name} has no parameter {option!r} (it has: {listed})")


def _check(where: str, parameter: Parameter, value: object) -> None:
    annotation = parameter.annotation
    members = (annotation,)
    if get_origin(annotation) in (Union, UnionType):
        members = get_args(annotation)
    names = []
    for member in members:
        kind = get_origin(member) or member
        if kind not in _KINDS:  # no plain data
            return
        name, accepted = _KINDS[kind]
        names.append(name)
        # isinstance(True, int) is true.
        if isinstance(value, bool) and kind is not bool:
            continue
        if isinstance(value, accepted):
            return
    if value != parameter.default:
        listed = " or ".join(names)
        raise TypeError(f"{where}: {value!r} is not {listed}")
