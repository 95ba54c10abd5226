"""Check `grpo_trl_args`: fields of TRL's GRPOConfig that no key of Axolotl sets."""

from inspect import formatannotation
from typing import Any

from pydantic import TypeAdapter, ValidationError

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, fault, nearest
from axolotl_grpo_plugin.load import plain
from axolotl_grpo_plugin.recipes.trl_fields import free_fields, key_of_axolotl, of_transformers

KEY = "grpo_trl_args"


def trl_args(cfg: Config) -> dict[str, Any]:
    """Return the values of `grpo_trl_args` with TRL's types. YAML reads 1e-6 as text."""
    return {
        name: TypeAdapter(free_fields()[name]).validate_python(value)
        for name, value in plain(cfg.grpo_trl_args.raw).items()
    }


def check_trl_args(cfg: Config) -> Findings:
    """Check that `grpo_trl_args` has fields that Axolotl leaves to TRL, with values of their types."""
    for name, value in plain(cfg.grpo_trl_args.raw).items():
        where = f"{KEY}.{name}"
        if name in free_fields():
            kind = free_fields()[name]
            try:
                TypeAdapter(kind).validate_python(value)
            except ValidationError:
                yield fault(
                    "wrong-type",
                    where,
                    f"{value!r} is not of type {formatannotation(kind)}",
                    "Correct the value",
                )
        elif name in of_transformers() or key_of_axolotl(name):
            key = key_of_axolotl(name) or "Axolotl's own key"
            yield fault("field-with-key", where, "Axolotl sets this field", f"Set {key} instead")
        else:
            yield fault(
                "unknown-key",
                where,
                "TRL's GRPOConfig has no such field",
                nearest(name, free_fields()),
            )
