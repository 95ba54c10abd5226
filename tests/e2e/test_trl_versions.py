"""Trainings and gradients with newer versions of TRL than the one that Axolotl 0.21 fixes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, environment, rollouts, shipped_config, write
from tests.e2e.with_trl import SETTINGS

UV = os.environ.get("UV", "uv")
CLOSE = 3e-5
ADAPTERS = {"full": {}, "lora": {"adapter": "lora", "lora_r": 8, "lora_alpha": 16, "lora_target_linear": True}}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=("1.14.2", "1.15.0", "1.16.0"))
def run(request, tmp_path_factory):
    """Return a function that runs with_trl.py with a version of TRL, and returns what it prints."""
    version = request.param
    folder = tmp_path_factory.mktemp("trl") / version
    install = [UV, "pip", "install", "--no-config", "--no-deps", "--python", sys.executable, "--target", str(folder)]
    installed = subprocess.run([*install, f"trl=={version}"], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"TRL {version} cannot be fetched: {installed.stderr.strip()}")
    # TRL 1.15 has a Triton kernel that no CPU runs. Triton's interpreter does.
    env = environment(PYTHONPATH=f"{folder}{os.pathsep}{ROOT}", TRITON_INTERPRET="1")

    def run_with_trl(*arguments):
        command = [sys.executable, Path(__file__).with_name("with_trl.py"), version, *map(str, arguments)]
        ended = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
        assert ended.returncode == 0, (ended.stdout + ended.stderr)[-6000:]
        return ended.stdout + ended.stderr

    run_with_trl.version = version
    return run_with_trl


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_quickstart_trains(run, tmp_path, adapter):
    out = tmp_path / "out"
    config = write(tmp_path, shipped_config(**ADAPTERS[adapter]))
    printed = run("axolotl", "train", config, "--launcher", "python", "--max-steps", 2, "--output-dir", out)
    assert "speed  pack, skip\n" in printed
    assert re.search(
        r"step 1, prompt of 8 completions: \.\.\.er> \w+ .+\?\n +\d\.\d\d .+<answer> \d+ </answer>\n", printed
    )
    assert re.search(r"reward \d\.\d\d right \d+% dead \d+% truncated \d+% [\d.]+k? tokens/s\]", printed)
    assert "held-out rows, sampled: 234 rows" in printed
    logged = rollouts(out)
    assert logged.groupby("step").size().to_dict() == {1: 64, 2: 64}
    assert logged["completion"].str.contains("<answer>").mean() > 0.5
    assert f", trl {run.version}, " in (out / "README.md").read_text()


def test_gradient_is_that_of_trl(run, tmp_path):
    lines = [json.loads(line) for line in run("gradients", tmp_path).splitlines() if line.startswith('{"settings"')]
    assert [line["settings"] for line in lines] == SETTINGS
    far = [line for line in lines if line["apart"] > CLOSE or not line["speed"].startswith("pack")]
    assert not far
