"""The commands of .pre-commit-config.yaml find nothing: formatting, lint and types."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize(
    "command",
    [["ruff", "format", "--check"], ["ruff", "check"], pytest.param(["mypy"], marks=pytest.mark.seconds(45))],
    ids=["format", "lint", "types"],
)
def test_style(command):
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
