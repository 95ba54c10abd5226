"""The commands of .pre-commit-config.yaml find nothing. tests/e2e/test_types.py has mypy, which is slow."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("command", ["ruff format --check", "ruff check"])
def test_style(command):
    done = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
