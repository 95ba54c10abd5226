"""Run Axolotl's own validation of a config, as on the run's machine."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from unittest.mock import patch

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import FindingError, Findings, error_line, fault, nearest

# Their closest name is another optimizer.
_USUAL_NAMES = {"adam": "adamw_torch", "adamw": "adamw_torch"}
# In the places of pydantic's errors, names of types stand between keys.
_TYPE = re.compile(r"bool|str|int|float|[A-Z]\w*|.*\[.*")
# The capabilities of an assumed GPU: NVIDIA Ampere, the first with bf16 and TF32.
ASSUMED = {"bf16": True, "fp8": False, "tf32": True, "compute_capability": "sm_80"}


def check_validation(cfg: Config, ranks: int, assumed: bool) -> Findings:
    """Yield one finding per error of Axolotl's schema.

    cfg: a raw config, which is not changed. ranks: the trainer's processes. assumed: validate for
    a GPU that this machine lacks.
    """
    from axolotl.cli.config import gpu_capabilities
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    capabilities, environment = gpu_capabilities()
    if assumed:
        capabilities |= ASSUMED
    capabilities["n_gpu"] = ranks
    try:
        with loaded_plugins(cfg):
            validate_config(
                DictDefault(deepcopy(dict(cfg.raw))),
                capabilities=capabilities,
                env_capabilities=environment,
            )
    except Exception as error:  # its validators and plugins may raise anything
        yield from refusals(cfg, error)


def check_names(cfg: Config) -> Findings:
    """Check names that Axolotl's schema takes as any text. A run with a wrong one ends after the model is loaded."""
    from axolotl.utils.schemas.enums import CustomSupportedOptimizers
    from transformers import SchedulerType
    from transformers.trainer_utils import HubStrategy, IntervalStrategy, SaveStrategy
    from transformers.training_args import OptimizerNames

    names = {
        "optimizer": [*OptimizerNames, *CustomSupportedOptimizers],
        "lr_scheduler": [*SchedulerType, "one_cycle", "rex"],  # the last two are Axolotl's
        "hub_strategy": [*HubStrategy],
        "save_strategy": [*SaveStrategy],
        "eval_strategy": [*IntervalStrategy],
    }
    for key, members in names.items():
        value = cfg.value_at(key)
        if isinstance(value, str) and value not in members:  # all members are texts, too
            fix = nearest(value, [getattr(member, "value", member) for member in members])
            usual = _USUAL_NAMES.get(re.sub("[-_]", "", value.lower()))
            if usual and key == "optimizer":
                fix = f"Did you mean `{usual}`?"
            yield fault("unknown-name", f"{key} ({value})", "no such name", fix)


def refusals(cfg: Config, error: BaseException) -> Findings:
    """Yield one finding per fault in an error of Axolotl's validation."""
    from pydantic import ValidationError

    fix = "Correct it, because Axolotl refuses it"
    if not isinstance(error, ValidationError):
        yield fault(
            "refused-whole", "config", " ".join(str(error).split()) or type(error).__name__, fix
        )
        return
    found = dict[str, str]()
    for fields in error.errors():
        names = [str(name) for name in fields["loc"] if not _TYPE.fullmatch(str(name))]
        key = ".".join(names)
        what = " ".join(fields["msg"].removeprefix("Value error, ").split())
        if key in found:  # of a union, each type has its own sentence
            what = f"{found[key]}, or {what.removeprefix('Input should be ')}"
        found[key] = what
    for key, what in found.items():
        code = "refused" if key else "refused-whole"
        if what.startswith("GRPO"):
            code = "wrong-batch"
        if key and error.title.endswith("Dataset"):  # validated one by one, without their numbers
            key = f"datasets[].{key}"
        yield fault(code, key or "config", what, fix)


def check_plugins(cfg: Config) -> Findings:
    """Check that every plugin that the config names can be loaded."""
    from axolotl.integrations.base import load_plugin

    for name in _plugins(cfg):
        try:
            load_plugin(name)
        except (Exception, SystemExit) as error:  # its module may raise anything
            if isinstance(error.__cause__, FindingError):  # the plugin's check of the name
                yield from error.__cause__.findings
                continue
            yield fault(
                "broken-plugin",
                f"plugins ({name})",
                f"cannot be loaded: {error_line(error)}",
                "Install it, or correct its path",
            )


def _plugins(cfg: Config) -> list[str]:
    from axolotl.integrations.base import normalize_plugin_name

    return [normalize_plugin_name(str(name)) for name in cfg.plugins]


@contextmanager
def loaded_plugins(cfg: Config) -> Iterator[None]:
    """Within, exactly the plugins of this config are loaded.

    They are not registered, because that may start servers or clone a repository (NeMo Gym does).
    A plugin that cannot be loaded is left out; `check_plugins` reports it. The environment is restored.
    """
    from axolotl.integrations.base import PluginManager

    manager = PluginManager.get_instance()
    loaded = manager.plugins.copy()
    with patch.dict(os.environ), patch.object(manager, "plugins", loaded):
        for name in _plugins(cfg):
            if name not in loaded:
                with suppress(SystemExit):  # `check_plugins` reports a plugin that ends the process
                    manager.register(name)
        yield
