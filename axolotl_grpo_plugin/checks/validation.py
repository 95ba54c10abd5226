"""Run Axolotl's own validation of a config, as on the run's machine."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axolotl_grpo_plugin.config import plugins_of
from axolotl_grpo_plugin.findings import Finding, at, first_line, nearest

# The capabilities of an assumed GPU: NVIDIA Ampere, the first with bf16 and TF32.
ASSUMED = {"bf16": True, "fp8": False, "tf32": True, "compute_capability": "sm_80"}


def check_validation(cfg: Any, ranks: int, assumed: bool) -> Iterator[Finding]:
    """Yield one finding per error of Axolotl's schema.

    cfg: a raw config, which is not changed. ranks: the trainer's processes. assumed: validate for
    a GPU that this machine lacks.
    """
    from axolotl.cli.config import gpu_capabilities
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    capabilities, environment = gpu_capabilities()
    capabilities |= {**(ASSUMED if assumed else {}), "n_gpu": ranks}
    try:
        with loaded_plugins(cfg):
            copy = DictDefault(cfg.to_dict())
            validate_config(copy, capabilities=capabilities, env_capabilities=environment)
    except Exception as error:  # its validators and plugins may raise anything
        yield from refusals(cfg, error)


def check_names(cfg: Any) -> Iterator[Finding]:
    """Check names that Axolotl's schema takes as any text. A run with a wrong one ends after the model is loaded."""
    from axolotl.utils.schemas.enums import CustomSupportedOptimizers
    from transformers import SchedulerType
    from transformers.trainer_utils import HubStrategy, IntervalStrategy, SaveStrategy
    from transformers.training_args import OptimizerNames

    names = {
        "optimizer": [*OptimizerNames, *CustomSupportedOptimizers],
        "lr_scheduler": [*SchedulerType],
        "hub_strategy": [*HubStrategy],
        "save_strategy": [*SaveStrategy],
        "eval_strategy": [*IntervalStrategy],
    }
    own = {"lr_scheduler": {"one_cycle", "rex"}}  # Axolotl's
    for key, enum in names.items():
        value, known = cfg.get(key), {each.value for each in enum} | own.get(key, set())
        if isinstance(value, str) and value not in known:
            yield Finding(at(cfg, f"{key} ({value})"), "no such name", nearest(value, known))


def refusals(cfg: Any, error: BaseException) -> Iterator[Finding]:
    """Yield one finding per fault in an error of Axolotl's validation."""
    from pydantic import ValidationError

    fix = "Correct it, because Axolotl refuses it"
    if not isinstance(error, ValidationError):
        what = " ".join(str(error).split()) or type(error).__name__
        yield Finding(at(cfg, "config"), what, fix)
        return
    for each in error.errors():
        key = ".".join(map(str, each["loc"])) or "config"
        if error.title.endswith("Dataset"):  # validated one by one, without their numbers
            key = f"datasets[].{key}"
        what = " ".join(each["msg"].removeprefix("Value error, ").split())
        yield Finding(at(cfg, key), what, fix)


def check_plugins(cfg: Any) -> Iterator[Finding]:
    """Check that every plugin that the config names can be loaded."""
    from axolotl.integrations.base import load_plugin

    for name in _plugins(cfg):
        try:
            load_plugin(name)
        except Exception as error:  # its module may raise anything
            what = f"cannot be loaded: {type(error).__name__}: {first_line(error)}"
            yield Finding(at(cfg, f"plugins ({name})"), what, "Install it, or correct its path")


def _plugins(cfg: Any) -> list[str]:
    from axolotl.integrations.base import normalize_plugin_name

    return [normalize_plugin_name(str(name)) for name in plugins_of(cfg)]


@contextmanager
def loaded_plugins(cfg: Any) -> Iterator[None]:
    """Within, exactly the plugins of this config are loaded.

    They are not registered, because that may start servers or clone a repository (NeMo Gym does).
    A plugin that cannot be loaded is left out; `check_plugins` reports it. The environment is restored.
    """
    from axolotl.integrations.base import PluginManager

    manager = PluginManager.get_instance()
    before, environment = OrderedDict(manager.plugins), dict(os.environ)
    try:
        for name in _plugins(cfg):
            if name not in manager.plugins:
                manager.register(name)
        yield
    finally:
        manager.plugins = before
        os.environ.clear()
        os.environ.update(environment)
