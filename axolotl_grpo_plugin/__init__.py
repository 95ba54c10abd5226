"""GRPO on Axolotl: rewards that can be trusted, transforms, and configs that are checked.

What a YAML may name stands here, at the top level, and is imported when it is used: Axolotl loads
every installed plugin's package in all of its runs, and `axolotl --help` should not wait for torch.
"""

from importlib import import_module
from typing import Any

_LAZY = {
    "GRPOPlugin": "axolotl_grpo_plugin.plugin",
    "code": "axolotl_grpo_plugin.transforms.code",
    "countdown": "axolotl_grpo_plugin.transforms.countdown",
    "gsm8k": "axolotl_grpo_plugin.transforms.gsm8k",
    "gym": "axolotl_grpo_plugin.transforms.gym",
    "math": "axolotl_grpo_plugin.transforms.math",
    "qa": "axolotl_grpo_plugin.transforms.qa",
    "verl": "axolotl_grpo_plugin.transforms.verl",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(_LAZY)
