"""Read a JSON Schema, and validate documents by it. Nothing is ever loaded from an address."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from typing import Any

from axolotl_grpo_plugin.rewards.structured.documents import NotJSON, read_json, without_nulls

# `jsonschema` checks these formats without other packages, and `date-time` is added.
_FORMATS = ("date", "email", "ipv4", "ipv6", "uuid")
# A schema that takes all of these takes everything.
_ANYTHING: tuple[Any, ...] = (None, False, 0, 0.5, "", [], {})


class BadSchema(ValueError):
    """A row's schema cannot be used. The message says why."""


def read_schema(schema: Any) -> Any:
    """Return the validator of a schema, which is JSON text or an object.

    Raises:
        BadSchema: It is no JSON Schema, refers to nothing, or takes every value.
    """
    if isinstance(schema, Mapping):
        schema = json.dumps(without_nulls(schema), default=str)
    if not isinstance(schema, str):
        raise BadSchema("the schema is neither JSON text nor an object")
    validator = _validator(schema)
    if isinstance(validator, str):
        raise BadSchema(validator)
    return validator


@lru_cache(maxsize=1024)
def _validator(text: str) -> Any:
    """Return the validator of a schema, or why there is none."""
    # Here, because most runs need no schema.
    from jsonschema import FormatChecker, SchemaError
    from jsonschema.validators import Draft202012Validator, extend, validator_for
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import specification_with

    try:
        schema = read_json(text)
    except NotJSON:
        return "the schema is not JSON"
    if not isinstance(schema, dict):
        return "the schema is not a JSON object"
    draft = validator_for(schema, default=Draft202012Validator)
    formats = FormatChecker(_FORMATS)
    formats.checks("date-time", raises=ValueError)(_is_moment)
    try:
        draft.check_schema(schema)
        # It has the drafts themselves. The default registry would download what `$ref` names.
        validator = extend(draft, {"multipleOf": _multiple_of})(
            schema, format_checker=formats, registry=REGISTRY
        )
        resource = specification_with(draft.META_SCHEMA["$schema"]).create_resource(schema)
        _look_up(resource, REGISTRY.resolver_with_root(resource))
        if all(validator.is_valid(value) for value in _ANYTHING):
            return "the schema takes every value"
    except SchemaError as error:
        return f"the schema is wrong: {error.message:.200}"
    except Unresolvable as error:
        return f"the schema refers to {error.ref!r}, which it does not have"
    except RecursionError:
        return "the schema refers to itself without an end"
    return validator


def _look_up(resource: Any, resolver: Any) -> None:
    """Look up each reference within a schema. Raises: Unresolvable if there is nothing."""
    contents = resource.contents
    if isinstance(contents, dict) and isinstance(contents.get("$ref"), str):
        resolver.lookup(contents["$ref"])
    for inner in resource.subresources():
        _look_up(inner, resolver.in_subresource(inner))


def _multiple_of(
    validator: Any, step: float, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    """Compare by decimal digits, because no float is 0.01."""
    from jsonschema import ValidationError

    if validator.is_type(instance, "number") and Fraction(str(instance)) % Fraction(str(step)):
        yield ValidationError(f"{instance!r} is not a multiple of {step}")


def _is_moment(value: object) -> bool:
    """Return whether a value is a moment with its offset, as RFC 3339 writes it. Other types are no moments to check."""
    if not isinstance(value, str):
        return True
    return "T" in value.upper() and datetime.fromisoformat(value).tzinfo is not None
