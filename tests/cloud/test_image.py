"""The image's layers, as Modal is asked to build them."""

import json
from importlib.metadata import version
from types import SimpleNamespace

import modal
import pytest

from axolotl_grpo_plugin.cloud import image
from axolotl_grpo_plugin.cloud.settings import read
from axolotl_grpo_plugin.cloud.upload import pack
from axolotl_grpo_plugin.findings import ConfigError
from tests.conftest import ROOT


def body():
    """The function's work is not asked here."""


def layers(service, tmp_path, gym=False, **keys):
    """Return the commands of each layer, the base first."""
    (tmp_path / "folder").mkdir(exist_ok=True)
    (tmp_path / "folder" / "config.yaml").write_text("rl: grpo\n")
    upload = pack(tmp_path / "folder", [], {})
    app = modal.App("test")
    made = image.image_of(read(keys, "cloud.yaml"), upload, gym)
    app.function(image=made, include_source=False)(body)
    with app.run():
        pass
    return ["\n".join(layer.dockerfile_commands) for layer in service.image_layers()]


def test_compiler_is_set_before_packages_are_compiled(modal_service, tmp_path):
    made = layers(modal_service, tmp_path, gym=True, apt_install=["ffmpeg"], pip_install=["sympy"])
    wanted = ["FROM nvidia", "build-essential", "ENV CC=gcc", f"vllm]=={version('axolotl')}",
              "ffmpeg", "sympy", "axolotl-grpo-plugin[gym]", "ENV HF_HOME=/cache"]  # fmt: skip
    found = [next(i for i, layer in enumerate(made) if each in layer) for each in wanted]
    assert found == sorted(found)
    assert "ENV CXX=g++" in made[found[2]]
    sent = modal_service.mounted()
    assert "/upload/config.yaml" in sent and f"{image.CHECKOUT}/pyproject.toml" in sent
    copied = {name for name in sent if name.startswith(image.CHECKOUT)}
    assert not any("__pycache__" in name or "config.yaml" in name for name in copied)


def test_newest_builder_of_a_workspace_is_not_asked_of_an_old_client(modal_service, tmp_path):
    modal_service.builder = "2099.01"
    made = layers(modal_service, tmp_path)
    assert not any("[gym]" in layer for layer in made)
    versions = {each.builder_version for each in modal_service.named("ImageGetOrCreate")}
    assert versions == {"2025.06"}


@pytest.mark.parametrize(
    ("origin", "found"),
    [
        ({}, "==0.1.0"),
        ({"url": "https://a/b.git", "vcs_info": {"vcs": "git", "commit_id": "1"}}, " @ git+https://a/b.git@1"),
        ({"url": "https://a.b/p.whl", "archive_info": {}}, " @ https://a.b/p.whl"),
        ({"url": ROOT.as_uri(), "dir_info": {}}, ROOT),
        ({"url": "file:///not/there/p.whl", "archive_info": {}}, ConfigError),
    ],
)  # fmt: skip
def test_image_gets_the_plugin_that_is_installed_here(monkeypatch, tmp_path, origin, found):
    monkeypatch.setattr(image.axolotl_grpo_plugin, "__file__", str(tmp_path / "x" / "__init__.py"))
    noted = SimpleNamespace(read_text=lambda name: json.dumps(origin))
    monkeypatch.setattr(image, "distribution", lambda name: noted)
    monkeypatch.setattr(image, "version", lambda name: "0.1.0")
    if found is ConfigError:
        with pytest.raises(ConfigError, match=r"/not/there/p\.whl is not a checkout"):
            image.source()
    else:
        assert image.source() == found
