"""The recorded speeds of the benchmarks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.all import facts
from benchmarks.speeds import RECORDED, slower

ROOT = Path(__file__).parents[1]


def test_names_only_the_measure_that_got_slower():
    recorded = {"numbers": 0.1, "latex": 0.2, "text": 1.0}
    assert slower(recorded, {"numbers": 0.11, "latex": 0.4, "text": 0.5}) == [
        "latex: 2.00 times as slow as recorded (0.2 -> 0.4)."
    ]


def test_names_a_measure_that_a_run_left_out():
    assert slower({"numbers": 0.1}, {}) == ["numbers: the new run did not measure this."]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(file.stem for file in RECORDED.glob("*.json")))
def test_speed_is_as_recorded(name, tmp_path):
    """On a machine that does nothing else."""
    python = [sys.executable, "-m"]
    subprocess.run([*python, "benchmarks.all", tmp_path, "--only", name], cwd=ROOT, check=True)
    assert json.loads((tmp_path / f"{name}.json").read_text())
    compared = subprocess.run([*python, "benchmarks.speeds", tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert compared.stdout == "Nothing got slower.\n"


def test_facts_of_a_page_name_the_versions():
    assert ", trl 1." in facts()
