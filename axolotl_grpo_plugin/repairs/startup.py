"""Start a process sooner. `python -m axolotl_grpo_plugin.repairs.startup WORDS` is `axolotl WORDS`, started so.

Axolotl, TRL and torch make 750,000 objects that live until the end of the process. Python's garbage
collector would traverse them again and again while they are imported, and once more at the exit.
"""

import atexit
import csv
import gc
import importlib.metadata
import inspect
import os
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from threading import Timer

LEVEL = "AXOLOTL_LOG_LEVEL"  # Axolotl's variable
QUIET = "AXOLOTL_GRPO_QUIET"  # set if `axolotl-grpo` has set LEVEL, and not the user

# The first number is that of new objects until a collection, 700 by default (2,000 from Python 3.13 on).
_RARELY = (200_000, 50, 100)
_DEFAULT = gc.get_threshold()
_SLOW = 5.0  # seconds


def import_quickly() -> None:
    """Collect garbage rarely from here on, and list the installed packages without a look at each file."""
    gc.set_threshold(*_RARELY)
    exit_quickly()
    # torchao makes torch warn of two of its types at each import.
    os.environ.setdefault("TORCH_LOGS", "-torch.utils._pytree")
    importlib.metadata.packages_distributions = packages_distributions


def exit_quickly() -> None:
    """End this process without a last traversal of all objects."""
    atexit.unregister(gc.freeze)  # so that it runs once for several callers
    atexit.register(gc.freeze)


def keep_objects() -> None:
    """Leave all objects that exist now out of each collection, and collect as often as Python does by default."""
    gc.freeze()
    gc.set_threshold(*_DEFAULT)


@cache
def packages_distributions() -> Mapping[str, list[str]]:
    """Return the distributions that install each top-level module.

    It returns the value of `importlib.metadata.packages_distributions`, which transformers and TRL call
    at their import. That function asks the file system for each file of each distribution.
    """
    distributions = defaultdict(list)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        for module in _top_level(distribution):
            distributions[module].append(name)
    return dict(distributions)


def _top_level(distribution: importlib.metadata.Distribution) -> set[str]:
    """Return the top-level modules of a distribution: its own list, or the first parts of its files' paths."""
    if listed := distribution.read_text("top_level.txt"):
        return set(listed.split())
    record = distribution.read_text("RECORD")
    if record is None:  # an old form of metadata
        paths = [str(file) for file in distribution.files or ()]
    else:
        paths = [line[0] for line in csv.reader(record.splitlines()) if line]
    modules = set()
    for path in paths:
        first, slash, _ = path.partition("/")
        module = first if slash else inspect.getmodulename(first)
        if module and "." not in module:
            modules.add(module)
    return modules


def start_quietly() -> None:
    """Keep Axolotl's banner and the lines that it logs before its plugins are loaded off the terminal."""
    if LEVEL not in os.environ:
        os.environ |= {LEVEL: "WARNING", QUIET: "1"}
    from axolotl.cli import art

    art.HAS_PRINTED_LOGO = True


if __name__ == "__main__":
    import_quickly()
    # A first start reads 6,000 files.
    slow = Timer(
        _SLOW, print, ["axolotl-grpo-plugin: Axolotl is still loading."], {"file": sys.stderr}
    )
    slow.daemon = True
    slow.start()
    start_quietly()
    from axolotl.cli.main import main

    slow.cancel()
    main()
