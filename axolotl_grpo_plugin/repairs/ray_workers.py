"""Train in Ray's workers (`use_ray`) as in processes of torchrun.

Axolotl 0.21 asks Ray for a GPU in every worker, so a cluster of CPUs waits for GPUs forever. Its workers get the
validated config, which is not the given one. Ray lets them work in a folder of its session, with the command
line of its own process, so relative paths of the config are wrong, and no record names the user's command.
"""

import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from axolotl_grpo_plugin.config import Config, RawConfig, number_of
from axolotl_grpo_plugin.repairs import upstream


class Driver(NamedTuple):
    """The process that the user started, which starts the workers.

    Attributes:
        folder: Its working folder.
        argv: Its command line.
        given: The config with the command line's options, before Axolotl's defaults.
    """

    folder: str
    argv: list[str]
    given: RawConfig


def connect_workers(cfg: Config, given: Config) -> None:
    """Let the workers of this process train as it would, on CPUs with `resources_per_worker: {GPU: 0}`.

    Args:
        cfg: The raw config with the command line's options.
        given: The same before this plugin changed it.
    """
    if not cfg.use_ray or not find_spec("ray"):  # Axolotl says that it is missing
        return
    on_cpus = number_of(cfg.resources_per_worker.get("GPU")) == 0
    upstream.start_ray_workers(partial(_train, Driver(os.getcwd(), sys.argv, given.raw)), on_cpus)


def _train(driver: Driver, arguments: dict[str, Any]) -> None:
    """Train in a worker. Ray calls it with Axolotl's arguments."""
    from axolotl.cli.train import ray_train_func
    from axolotl.utils.dict import DictDefault

    folder = Path(driver.folder)
    # Without a shared disk, the files of this worker land there.
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    sys.argv[:] = driver.argv
    try:
        ray_train_func({**arguments, "cfg": DictDefault(driver.given)})
    except SystemExit as end:  # a finding. Ray prints the errors before it, too
        if end.code:  # 0 means that there is nothing to do, which Ray would call a failure
            raise SystemExit(end.code) from None
