"""GRPO on Axolotl: rewards that can be trusted, transforms, and configs that are checked.

The top level has the names that a YAML may use. Each is imported on its first use, because Axolotl
imports the packages of all installed plugins in every run, and `axolotl --help` should not wait for torch.
"""

from importlib import import_module
from typing import Any

_TRANSFORMS = {
    "choice": "axolotl_grpo_plugin.transforms.choice",
    "code": "axolotl_grpo_plugin.transforms.code",
    "countdown": "axolotl_grpo_plugin.transforms.countdown",
    "gsm8k": "axolotl_grpo_plugin.transforms.gsm8k",
    "gym": "axolotl_grpo_plugin.transforms.gym",
    "math": "axolotl_grpo_plugin.transforms.math",
    "qa": "axolotl_grpo_plugin.transforms.qa",
    "verl": "axolotl_grpo_plugin.transforms.verl",
}


def __getattr__(name: str) -> Any:
    module = {**_TRANSFORMS, "GRPOPlugin": "axolotl_grpo_plugin.plugin"}.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted(_TRANSFORMS)
