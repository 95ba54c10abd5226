"""The image's layers, as the client asks Modal to build them, and their install lines, run by uv here."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import modal
import pytest

from axolotl_grpo_plugin.cloud import image, remote
from axolotl_grpo_plugin.cloud.settings import read
from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.findings import FindingError
from tests.cloud.project import write
from tests.conftest import ROOT

UV = os.environ.get("UV") or shutil.which("uv")
# Modal adds a standalone Python to an image. That Python was built with clang.
CLANG = """
import sysconfig
values = sysconfig.get_config_vars()
for key in ("CC", "CXX", "LDSHARED", "LDCXXSHARED"):
    words = str(values.get(key, "")).split()
    values[key] = " ".join(["clang++" if "CXX" in key else "clang", *words[1:]])
"""


def layers(service, tmp_path, gym=False, **keys):
    """Return the commands of each layer, the base first."""
    upload = pack(write(tmp_path / "folder", "config.yaml"), [], {})
    built = image.image_of(read(keys, "cloud.yaml"), upload, gym)
    app = modal.App("test")
    app.function(image=built, include_source=False)(remote.run)
    with app.run():
        service.materialize(tmp_path / "container")
    return ["\n".join(layer.dockerfile_commands) for layer in service.image_layers()]


def test_layers_set_the_compiler_first_and_use_a_known_builder(modal_service, tmp_path):
    built = layers(modal_service, tmp_path, gym=True, apt_install=["ffmpeg"], pip_install=["sympy"])
    wanted = ["FROM nvidia", "build-essential", "ENV CC=gcc", f"vllm]=={version('axolotl')}",
              "ffmpeg", "sympy", "axolotl-grpo-plugin[gym]", "ENV HF_HOME=/cache"]  # fmt: skip
    places = [next(i for i, layer in enumerate(built) if word in layer) for word in wanted]
    assert places == sorted(places) and "ENV CXX=g++" in built[places[2]]
    sent = modal_service.mounted()
    assert "/upload/config.yaml" in sent and f"{image.CHECKOUT}/pyproject.toml" in sent
    copied = {name for name in sent if name.startswith(image.CHECKOUT)}
    assert not any("__pycache__" in name or "config.yaml" in name for name in copied)
    # The workspace's own builder is newer than this one, which every client knows.
    versions = {request.builder_version for request in modal_service.named("ImageGetOrCreate")}
    assert versions == {"2025.06"}


@pytest.mark.parametrize(
    "origin, expected",
    [
        ({}, "==0.1.0"),
        ({"url": "https://a/b.git", "vcs_info": {"vcs": "git", "commit_id": "1"}}, " @ git+https://a/b.git@1"),
        ({"url": "https://a.b/p.whl", "archive_info": {}}, " @ https://a.b/p.whl"),
        ({"url": ROOT.as_uri(), "dir_info": {}}, ROOT),
        ({"url": "file:///not/there/p.whl"}, "/not/there/p.whl is not a checkout. Install"),
    ],
)
def test_image_gets_the_plugin_that_is_installed_here(monkeypatch, tmp_path, origin, expected):
    monkeypatch.setattr(image.axolotl_grpo_plugin, "__file__", str(tmp_path / "x" / "__init__.py"))
    recorded = SimpleNamespace(read_text=lambda name: json.dumps(origin))
    monkeypatch.setattr(image, "distribution", lambda name: recorded)
    monkeypatch.setattr(image, "version", lambda name: "0.1.0")
    try:
        assert image.source() == expected
    except FindingError as error:
        assert expected in str(error)


@pytest.mark.slow
@pytest.mark.skipif(not UV, reason="uv is not installed")
def test_install_lines_give_one_working_environment(modal_service, tmp_path):
    """Install 10 GB: Axolotl, vLLM, DeepSpeed, this checkout and reasoning-gym."""
    subprocess.run([UV, "venv", "-q", "--python", sys.executable, tmp_path / "venv"], check=True)
    write(tmp_path, "clang/sitecustomize.py", text=CLANG)
    path = f"{tmp_path}/venv/bin:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(tmp_path / "clang")}

    def install(line, **more):
        line = line.replace("/.uv/uv", UV).replace("/opt/", f"{tmp_path}/container/opt/")
        own = {"stdout": -1, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.run(line, shell=True, env=env | more, **own)

    built = layers(modal_service, tmp_path, gym=True, gpu="L40S:2")
    lines = [line for layer in built for line in layer.splitlines()]
    ours = ("RUN /.uv/uv pip", "RUN mkdir", "RUN touch")
    run = [line.removeprefix("RUN ") for line in lines if line.startswith(ours)]
    modules = "axolotl_grpo_plugin, vllm, deepspeed, reasoning_gym"
    run += [f"python -P -c 'import {modules}'", "axolotl-grpo reward list"]
    assert len(run) == 6
    # Without COMPILER, a package that reasoning-gym needs does not compile.
    failed = install("/.uv/uv pip install --python $(command -v python) --no-cache pycosat")
    assert failed.returncode and "clang" in failed.stdout
    for line in run:
        done = install(line, **image.COMPILER)
        assert done.returncode == 0, f"{line}\n{done.stdout}"
    assert "correctness_reward_func" in done.stdout
