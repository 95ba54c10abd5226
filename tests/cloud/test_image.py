"""The image's layers, as Modal is asked to build them: what is in which, and what changes which."""

import json
import shutil
from importlib.metadata import version
from types import SimpleNamespace

import modal
import pytest

from axolotl_grpo_plugin.cloud import image
from axolotl_grpo_plugin.cloud.parcel import pack
from axolotl_grpo_plugin.cloud.settings import read
from axolotl_grpo_plugin.findings import ConfigError
from tests.conftest import ROOT

AXOLOTL = f"axolotl[deepspeed,vllm]=={version('axolotl')}"


def body():
    """What runs there is not asked here."""


@pytest.fixture
def layers(modal_service, tmp_path):
    """The layers for a cloud.yaml with these keys: each a pair of its commands and its files."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.yaml").write_text("rl: grpo\n")

    def built(**keys):
        settings = read(keys, "cloud.yaml")
        made = image.image_of(settings, pack(folder, settings.ignore, 1, settings.mounts))
        app = modal.App("test")
        app.function(image=made, include_source=False)(body)
        with app.run():
            pass
        return [
            (list(layer.dockerfile_commands)[1:], files(modal_service, layer))
            for layer in modal_service.image_layers()
        ]

    built.folder = folder
    return built


def files(service, layer):
    """{path: digest} of the local files in a layer."""
    if not layer.context_mount_id or "COPY . /" not in layer.dockerfile_commands:
        return {}
    mount = service._objects[layer.context_mount_id]
    return {file.filename: file.sha256_hex for file in mount.files}


@pytest.fixture
def copied(monkeypatch, tmp_path):
    """A checkout that may be changed."""
    root = tmp_path / "checkout"
    for name in image.SOURCES:
        found = ROOT / name
        copy = shutil.copytree if found.is_dir() else shutil.copyfile
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        copy(found, root / name)
    monkeypatch.setattr(
        image.axolotl_grpo_plugin, "__file__", str(root / "axolotl_grpo_plugin" / "__init__.py")
    )
    return root


def installed(monkeypatch, root, origin=None):
    """The plugin is in root, with what an installer noted there."""
    monkeypatch.setattr(image.axolotl_grpo_plugin, "__file__", str(root / "x" / "__init__.py"))
    noted = origin and json.dumps(origin)
    dist = SimpleNamespace(read_text=lambda name: noted)
    monkeypatch.setattr(image, "distribution", lambda name: dist)


def test_what_changes_least_comes_first(layers):
    made = layers(apt_install=["ffmpeg"], pip_install=["sympy>=1.13"])
    commands = [command for command, _ in made]
    wanted = [
        ["COPY /python/. /usr/local"],
        ["ENTRYPOINT []"],
        ["RUN apt-get install -y bubblewrap build-essential git"],
        [AXOLOTL],
        ["RUN apt-get install -y ffmpeg"],
        ["'sympy>=1.13'"],
        ["RUN mkdir -p /opt", "RUN touch /opt"],
        *2 * [["COPY . /"]],
        ["/opt/axolotl-grpo-plugin[gym]"],
        ["ENV HF_HOME=/cache/huggingface", "ENV VLLM_CACHE_ROOT=/cache/vllm"],
    ]
    assert len(commands) == len(wanted)
    for layer, parts in zip(commands, wanted, strict=True):
        assert all(any(part in command for command in layer) for part in parts), (layer, parts)
    assert not any("config.yaml" in name for _, there in made for name in there)


def test_what_is_not_asked_for_makes_no_layer(layers):
    assert len(layers()) == 9
    assert len(layers(apt_install=["ffmpeg"])) == 10


def test_the_base_is_the_users(modal_service, layers):
    layers(image="nvidia/cuda:13.1.0-devel-ubuntu24.04")
    first = modal_service.image_layers()[0].dockerfile_commands[0]
    assert first == "FROM nvidia/cuda:13.1.0-devel-ubuntu24.04"


def test_a_config_that_changes_builds_nothing(layers, copied):
    (copied / "configs").mkdir()
    before = layers()
    for folder in (layers.folder, copied / "configs"):
        (folder / "config.yaml").write_text("rl: grpo\nlearning_rate: 1e-6\n")
    assert layers() == before


def test_a_change_of_the_plugin_builds_its_own_layers(layers, copied):
    before = layers()
    (copied / "axolotl_grpo_plugin" / "new.py").write_text("")
    after = layers()
    assert [one == other for one, other in zip(before, after, strict=True)].index(False) == 6


def test_of_a_checkout_the_sources_are_sent(layers, copied):
    (copied / "axolotl_grpo_plugin" / "__pycache__" / "x.pyc").parent.mkdir(exist_ok=True)
    (copied / "axolotl_grpo_plugin" / "__pycache__" / "x.pyc").write_text("")
    (copied / ".env").write_text("HF_TOKEN=hf_secret")
    sent = {name for _, there in layers() for name in there}
    root = "/opt/axolotl-grpo-plugin"
    package = {name for name in sent if name.startswith(f"{root}/axolotl_grpo_plugin/")}
    assert f"{root}/axolotl_grpo_plugin/cloud/remote.py" in package
    assert not any("__pycache__" in name for name in package)
    assert sent - package == {f"{root}/pyproject.toml"}


@pytest.mark.parametrize(
    ("origin", "pip"),
    [
        (None, "axolotl-grpo-plugin[gym]==0.1.0"),
        (
            {
                "url": "https://github.com/a/b.git",
                "vcs_info": {"vcs": "git", "commit_id": "1" * 40},
            },
            f"axolotl-grpo-plugin[gym] @ git+https://github.com/a/b.git@{'1' * 40}",
        ),
        (
            {"url": "https://a.b/p.whl", "archive_info": {}},
            "axolotl-grpo-plugin[gym] @ https://a.b/p.whl",
        ),
    ],
)
def test_the_plugin_is_what_is_installed_here(layers, monkeypatch, tmp_path, origin, pip):
    installed(monkeypatch, tmp_path, origin)
    monkeypatch.setattr(image, "version", lambda name: "0.1.0")
    *_, (commands, _), _ = layers()
    assert commands[-1].endswith(f"'{pip}'")
    assert image.source() == pip


def test_a_wheel_of_this_machine_is_sent(layers, monkeypatch, tmp_path):
    wheel = tmp_path / "axolotl_grpo_plugin-0.1.0-py3-none-any.whl"
    wheel.write_text("a wheel")
    installed(monkeypatch, tmp_path, {"url": wheel.as_uri(), "archive_info": {}})
    *_, (_, sent), (commands, _), _ = layers()
    assert list(sent) == [f"/opt/{wheel.name}"]
    assert commands[-1].endswith(f"'axolotl-grpo-plugin[gym] @ file:///opt/{wheel.name}'")
    assert image.source() == str(wheel)


def test_an_installation_from_a_folder_is_of_that_folder(monkeypatch, tmp_path):
    installed(monkeypatch, tmp_path, {"url": ROOT.as_uri(), "dir_info": {}})
    assert image.source() == str(ROOT)


def test_what_it_was_installed_from_is_gone(monkeypatch, tmp_path):
    installed(monkeypatch, tmp_path, {"url": "file:///not/there/p.whl", "archive_info": {}})
    with pytest.raises(ConfigError, match=r"/not/there/p\.whl, which is not there .* Install it"):
        image.source()
