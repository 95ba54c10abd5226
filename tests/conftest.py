"""Speed up the tests: one thread per process, and modules that are compiled once. No test depends on an earlier one."""

import gc
import json
import logging
import os
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import settings

from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.findings import FindingError

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
        if name.startswith(("__", "_mock")):  # pytest asks each object for __test__ and _mock_name
            raise AttributeError(name)
        return getattr(import_module(self._name), name)


@contextmanager
def refused(code, words=None):
    """Check that the block ends with one finding, which has this code."""
    with pytest.raises(FindingError, match=words) as error:
        yield
    assert codes(error) == [code]


def codes(error):
    """Return the codes of the findings that a command ended with."""
    return [finding.code for finding in error.value.findings]


def invoke(*words, code=0, **more):
    """Run `axolotl-grpo WORDS` in this process, and check its exit code. Return click's result."""
    result = CliRunner().invoke(grpo, [*map(str, words)], **more)
    assert result.exit_code == code, result.output
    return result


def program(code, cwd=None):
    """Run Python code in a process of its own. Return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def script(file, lines):
    """Write a shell script that stands in for a command of this machine."""
    file.write_text(f"#!/bin/sh\n{lines}\n")
    file.chmod(0o755)


def write_rows(file, rows):
    """Write rows as JSON lines. A row that is text is a line as it is."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


@contextmanager
def mounted_disk(folder, size):
    """Mount an empty disk of a size such as "64k". Without root, the test is skipped."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("only root can mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def full(tmp_path):
    """A folder on a disk of 64 KiB that is full."""
    with mounted_disk(tmp_path / "disk", "64k") as disk:
        (disk / "filler").write_bytes(bytes(64 * 1024))
        yield disk


def pytest_make_parametrize_id(val):
    """Shorten the name of a long text. Each worker sends the names of all tests, of which some had a megabyte."""
    return f"{ascii(val[:60])[1:-1]}[...]" if isinstance(val, str) and len(val) > 100 else None


def pytest_runtest_teardown():
    """Undo `logging.disable`, by which a command keeps its own screen quiet."""
    logging.disable(logging.NOTSET)


@pytest.hookimpl(tryfirst=True)  # before pytest deselects the slow tests
def pytest_collection_modifyitems(items):
    """Keep the first of every n rows of a test with the mark `every(n)`. Mark the other rows as slow.

    The files of real trainings come first. Two workers then end at about the same time, because the last files are short.
    """
    items.sort(key=lambda test: not {"e2e", "engines"} & {*test.path.parts})
    seen = Counter()
    for test in items:
        for mark in test.iter_markers("every"):
            if seen[test.function] % mark.args[0]:
                test.add_marker(pytest.mark.slow)
            seen[test.function] += 1


def pytest_collection():
    gc.disable()


def pytest_collection_finish():
    """Keep the garbage collector from reading the modules and all tests again and again."""
    gc.enable()
    gc.freeze()
