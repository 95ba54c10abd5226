import json
import os
import subprocess

from tests.conftest import ROOT


def test_gpu_that_torch_cannot_use_ends_with_exit_code_1():
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "99", "HF_HUB_OFFLINE": "1"}
    words = ["axolotl-grpo", "doctor", "--json"]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True)
    (found,) = [each for each in json.loads(done.stdout)["findings"] if each["where"] == "GPUs"]
    assert done.returncode == 1
    assert "cannot use the visible GPUs (99)" in found["what"]
