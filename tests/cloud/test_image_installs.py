"""The image's own pip lines, run here as Modal runs them: by uv, with a Python that names clang."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import modal
import pytest

from axolotl_grpo_plugin.cloud.image import COMPILER, image_of
from axolotl_grpo_plugin.cloud.settings import read
from axolotl_grpo_plugin.cloud.upload import pack

UV = os.environ.get("UV") or shutil.which("uv")
# As the standalone Python that Modal adds to an image: it was built with clang.
CLANG = """
import sysconfig
values = sysconfig.get_config_vars()
for key in ("CC", "CXX", "LDSHARED", "LDCXXSHARED"):
    words = str(values.get(key, "")).split()
    values[key] = " ".join(["clang++" if "CXX" in key else "clang", *words[1:]])
"""


def body():
    """The function's work is not asked here."""


@pytest.mark.slow
@pytest.mark.skipif(not UV, reason="uv is not here")
def test_image_layers_install_and_work_together(modal_service, tmp_path):
    """10 GB and three minutes: Axolotl, vLLM, DeepSpeed, the plugin from its sources, reasoning-gym."""
    (tmp_path / "folder").mkdir()
    image = image_of(read({"gpu": "L40S:2"}, "c"), pack(tmp_path / "folder", [], {}), gym=True)
    app = modal.App("test")
    app.function(image=image, include_source=False)(body)
    with app.run():
        modal_service.materialize(tmp_path / "root")
    venv, root = tmp_path / "venv", tmp_path / "root"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    (clang := tmp_path / "clang").mkdir()
    (clang / "sitecustomize.py").write_text(CLANG)
    lines = [line for at in modal_service.image_layers() for line in at.dockerfile_commands]
    env = {**os.environ, "PATH": f"{venv}/bin:{os.environ['PATH']}", "PYTHONPATH": str(clang)}
    env |= {key: value for key, value in COMPILER.items() if f"ENV {key}={value}" in lines}
    assert lines.index("ENV CC=gcc") < next(i for i, line in enumerate(lines) if "uv pip" in line)
    ours = ("RUN /.uv/uv pip", "RUN mkdir", "RUN touch")
    run = [line.removeprefix("RUN ") for line in lines if line.startswith(ours)]
    assert len(run) == 4
    for line in run:
        here = line.replace("/.uv/uv", str(UV)).replace("/opt/", f"{root}/opt/")
        subprocess.run(here, shell=True, check=True, env=env)
    code = "import axolotl_grpo_plugin, vllm, deepspeed, reasoning_gym; print(axolotl_grpo_plugin.__file__)"
    python = [venv / "bin" / "python", "-c", code]
    ran = subprocess.run(python, check=True, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert Path(ran.stdout.split()[-1]).is_relative_to(venv)
    listed = [venv / "bin" / "axolotl", "grpo", "rewards"]
    shown = subprocess.run(
        listed, check=True, env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert "correctness_reward_func" in shown.stdout
