"""Speed up the tests: one thread per worker, modules compiled once, the longest groups first."""

import os
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "axolotl_grpo_plugin" / "quickstart"
MODEL = QUICKSTART / "model"

# On two cores, two workers with two threads each are ten times slower than with one each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Axolotl imports 6,000 files. Many containers set PYTHONDONTWRITEBYTECODE. Then each start would
# compile them again, which doubles its time.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(ROOT / ".pytest_cache" / "pycache")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

# Hypothesis measures its deadline in wall time, and a busy machine is slow.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


class Later:
    """A module that is imported when a test uses it. All workers collect all tests, but one needs torch."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        if name.startswith("__"):  # pytest asks each object for __test__ and __bases__
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


def pytest_make_parametrize_id(val):
    """Shorten the name of a long text. Each worker sends the names of all tests, of which some had a megabyte."""
    return f"{ascii(val[:60])[1:-1]}[...]" if isinstance(val, str) and len(val) > 100 else None


def pytest_itemcollected(item):
    """Give each file to one worker, except tests with a group or a time of their own."""
    if "tokenizer" in getattr(item, "fixturenames", ()):  # transformers', which imports torch
        item.add_marker(pytest.mark.xdist_group("with torch"))
    own = {mark.name for mark in item.own_markers}
    if "seconds" not in own and not item.get_closest_marker("xdist_group"):
        item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Start the longest groups first, so that the workers end together."""
    if not hasattr(config, "workerinput"):
        return
    units = {"with torch": 60, "tests/rewards/test_code.py": 30, "tests/e2e/test_sandbox.py": 20}
    seconds = defaultdict(int, units | {"tests/e2e/test_cloud_remote.py": 20, "tests/scoring/test_guard.py": 15})
    for item in items:
        for mark in item.iter_markers("seconds"):
            seconds[_group(item)] = max(seconds[_group(item)], *mark.args)
    items.sort(key=lambda item: -seconds[_group(item)])


def _group(item):
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark else item.nodeid
