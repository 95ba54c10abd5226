"""The recorded speeds of the benchmarks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.speeds import RECORDED

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(file.stem for file in RECORDED.glob("*.json")))
def test_speed_is_as_recorded(name, tmp_path):
    """On a machine that does nothing else."""
    python = [sys.executable, "-m"]
    subprocess.run([*python, "benchmarks.all", tmp_path, "--only", name], cwd=ROOT, check=True)
    assert json.loads((tmp_path / f"{name}.json").read_text())
    compared = subprocess.run([*python, "benchmarks.speeds", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert compared.stdout == "Nothing got slower.\n"
