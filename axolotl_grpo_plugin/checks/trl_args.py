"""Check `grpo_trl_args`: fields of TRL's GRPOConfig that no key of Axolotl sets."""

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from inspect import formatannotation
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from axolotl_grpo_plugin.config import block
from axolotl_grpo_plugin.findings import Finding, at, nearest
from axolotl_grpo_plugin.load import plain

KEY = "grpo_trl_args"


class _Key:
    """A config whose values are the names of its keys. Axolotl's code takes all branches with it."""

    def __init__(self, name: str = ""):
        self.name = name

    def __getattr__(self, key: str) -> "_Key":
        return _Key(f"{self.name}.{key}".removeprefix("."))

    def __eq__(self, other: object) -> bool:
        return True

    def __gt__(self, other: object) -> bool:
        return True


@cache
def keys_of_axolotl() -> dict[str, str]:
    """Return the fields of GRPOConfig that Axolotl sets, with its keys. Imports TRL."""
    from axolotl.core.trainers.grpo import GRPOStrategy

    passed: dict[str, Any] = GRPOStrategy.set_training_args_kwargs(_Key())
    keys = {name: getattr(value, "name", f"trl.{name}") for name, value in passed.items()}
    # core/builders/rl.py sets beta. TRL takes one of the other two, and Axolotl validates the second.
    return {**keys, "beta": "trl.beta", "steps_per_generation": "trl.generation_batch_size"}


@cache
def free_fields() -> dict[str, Any]:
    """Return the fields of TRL's GRPOConfig that no key of Axolotl sets, with their types. Imports TRL."""
    from trl import GRPOConfig

    hints = get_type_hints(GRPOConfig)
    taken = _of_transformers() | keys_of_axolotl().keys()
    return {each.name: hints[each.name] for each in fields(GRPOConfig) if each.name not in taken}


def _of_transformers() -> set[str]:
    from transformers import TrainingArguments

    return {each.name for each in fields(TrainingArguments)}


def trl_args(cfg: Any) -> dict[str, Any]:
    """Return the values of `grpo_trl_args` with TRL's types. YAML reads 1e-6 as text."""
    return {
        name: TypeAdapter(free_fields()[name]).validate_python(value)
        for name, value in plain(block(cfg, KEY)).items()
    }


def check_trl_args(cfg: Any) -> Iterator[Finding]:
    """Check that `grpo_trl_args` has fields that Axolotl leaves to TRL, with values of their types."""
    for name, value in plain(block(cfg, KEY)).items():
        where = at(cfg, f"{KEY}.{name}")
        if name in free_fields():
            kind = free_fields()[name]
            try:
                TypeAdapter(kind).validate_python(value)
            except ValidationError:
                what = f"{value!r} is not of type {formatannotation(kind)}"
                yield Finding(where, what, "Correct the value")
        elif key := keys_of_axolotl().get(name):
            yield Finding(where, "Axolotl has a key for this field", f"Set {key} instead")
        elif name in _of_transformers():
            yield Finding(where, "Axolotl sets this field of transformers", "Use Axolotl's own key")
        else:
            yield Finding(where, "TRL's GRPOConfig has no such field", nearest(name, free_fields()))
