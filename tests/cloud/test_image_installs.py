"""The image's own pip lines, run here: what Modal would build them with is uv, and so is this."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import modal
import pytest

from axolotl_grpo_plugin.cloud.image import image_of
from axolotl_grpo_plugin.cloud.parcel import pack
from axolotl_grpo_plugin.cloud.settings import read

UV = os.environ.get("UV") or shutil.which("uv")


def body():
    """What the function does is not asked here."""


@pytest.mark.slow
@pytest.mark.skipif(not UV, reason="uv is not here")
def test_what_the_layers_install_works_together(modal_service, tmp_path):
    """10 GB and three minutes: Axolotl, vLLM and DeepSpeed, then the plugin from its sources as sent."""
    settings = read({"gpu": "L40S:2"}, "cloud.yaml")
    (tmp_path / "folder").mkdir()
    image = image_of(settings, pack(tmp_path / "folder", [], 1, {}))
    app = modal.App("test")
    app.function(image=image, include_source=False)(body)
    with app.run():
        modal_service.materialize(tmp_path / "root")
    venv, root = tmp_path / "venv", tmp_path / "root"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    env = {**os.environ, "PATH": f"{venv}/bin:{os.environ['PATH']}"}
    lines = [line for at in modal_service.image_layers() for line in at.dockerfile_commands]
    ours = ("RUN /.uv/uv pip", "RUN mkdir", "RUN touch")
    run = [line.removeprefix("RUN ") for line in lines if line.startswith(ours)]
    assert len(run) == 4
    for line in run:
        here = line.replace("/.uv/uv", str(UV)).replace("/opt/", f"{root}/opt/")
        subprocess.run(here, shell=True, check=True, env=env)
    code = "import axolotl_grpo_plugin, vllm, deepspeed; print(axolotl_grpo_plugin.__file__)"
    python = [venv / "bin" / "python", "-c", code]
    ran = subprocess.run(python, check=True, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert Path(ran.stdout.split()[-1]).is_relative_to(venv)
    listed = [venv / "bin" / "axolotl", "grpo", "rewards"]
    said = subprocess.run(listed, check=True, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert "correctness_reward_func" in said.stdout
