"""How the tests share a machine: one thread each, modules compiled once, the longest groups first."""

import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# Two workers of two threads each are ten times slower on two cores than two of one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A start of Axolotl imports 6,000 files. Where PYTHONDONTWRITEBYTECODE is set, as it is in many
# containers, each start would compile them anew, which takes as long as all the rest of it.
if sys.dont_write_bytecode:
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(ROOT / ".pytest_cache" / "pycache")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix

# Its deadline is of wall time, which a busy machine stretches.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


def pytest_itemcollected(item):
    """A file is one worker's, but for the tests that have a group or are long themselves."""
    marks = {mark.name for mark in item.own_markers}
    if not marks & {"xdist_group", "seconds"}:
        item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """On workers, the longest groups start first, and the short ones even out the end."""
    if not hasattr(config, "workerinput"):
        return
    seconds = defaultdict(int)
    for item in items:
        for mark in item.iter_markers("seconds"):
            seconds[_group(item)] = max(seconds[_group(item)], *mark.args)
    items.sort(key=lambda item: -seconds[_group(item)])


def _group(item):
    mark = item.get_closest_marker("xdist_group")
    return mark.args[0] if mark else item.nodeid
