"""Speed up the tests: one thread per process, and modules that are compiled once. No test depends on an earlier one."""

import logging
import os
import sys
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings

from axolotl_grpo_plugin.findings import ConfigError

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
    """A module that is imported when a test uses it. Each process collects all tests, and torch takes seconds."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        if name.startswith("__"):  # pytest asks each object for __test__ and __bases__
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


@contextmanager
def refused(code, words=None):
    """Check that the block ends with one finding, which has this code."""
    with pytest.raises(ConfigError, match=words) as error:
        yield
    assert [finding.code for finding in error.value.findings] == [code]


def pytest_make_parametrize_id(val):
    """Shorten the name of a long text. Each worker sends the names of all tests, of which some had a megabyte."""
    return f"{ascii(val[:60])[1:-1]}[...]" if isinstance(val, str) and len(val) > 100 else None


@pytest.fixture(autouse=True)
def logging_is_on():
    """Undo `logging.disable`, by which a command keeps its own screen quiet."""
    yield
    logging.disable(logging.NOTSET)
