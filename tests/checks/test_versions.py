from importlib.metadata import PackageNotFoundError

import pytest

from axolotl_grpo_plugin.checks import versions

METADATA = {
    "axolotl-grpo-plugin": ["axolotl==0.21.*", 'axolotl[vllm]==0.21.*; extra == "vllm"'],
    "axolotl": [
        "torch<2.15,>=2.13",
        "trl==1.14.1",
        "wandb",
        "gradio==1",
        'vllm>=0.30.0; extra == "vllm"',
        'ray[train]>=2.59; extra == "ray"',
    ],
    "vllm": ["torch==2.13.0"],
}
INSTALLED = {
    "axolotl-grpo-plugin": "0.1.0",
    "axolotl": "0.21.0",
    "torch": "2.14.0",
    "trl": "1.14.1",
}


@pytest.fixture
def machine(monkeypatch):
    """Set what is installed beside INSTALLED."""

    def has(**more):
        there = {**INSTALLED, **more}

        def version(name):
            if name not in there:
                raise PackageNotFoundError(name)
            return there[name]

        monkeypatch.setattr(versions, "version", version)
        monkeypatch.setattr(versions, "requires", METADATA.get)

    return has


def found(elsewhere=False, **cfg):
    checked = versions.check_versions(cfg, elsewhere)
    return [(finding.level, str(finding)) for finding in checked]


def test_accepts_matching_versions(machine):
    machine()
    assert not found()
    assert not found(trl={"use_vllm": False})


def test_reports_a_version_that_axolotl_refuses(machine):
    machine(trl="1.13.0")
    ((level, line),) = found()
    assert level == "warning"
    assert line.startswith("trl: 1.13.0 is installed, but axolotl 0.21.0 requires trl==1.14.1.")


def test_reports_missing_vllm(machine):
    machine()
    ((level, line),) = found(trl={"use_vllm": True})
    assert level == "error"
    assert line.endswith('pip install "axolotl-grpo-plugin[vllm]"`.')
    ((level, line),) = found(elsewhere=True, trl={"use_vllm": True})
    assert (level, "not installed here" in line) == ("skipped", True)


def test_reports_a_torch_that_vllm_refuses(machine):
    machine(vllm="0.30.1")
    ((level, line),) = found(trl={"use_vllm": True})
    assert level == "warning"
    assert "vllm 0.30.1 requires torch==2.13.0" in line


def test_checks_only_packages_that_the_config_uses(machine):
    machine()
    assert [line.partition(":")[0] for _, line in found(use_ray=True)] == ["ray"]
    assert [line.partition(":")[0] for _, line in found(wandb_project="p")] == ["wandb"]
