from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.version import Version

from axolotl_grpo_plugin.checks import versions
from axolotl_grpo_plugin.config import Config
from tests.e2e.vllm_on_cpu import VLLM as VLLM_ON_CPU

INSTALLED = {"axolotl-grpo-plugin": "0.1.0", "axolotl": "0.21.0", "torch": "2.13.0"}
TESTED = {"axolotl": "0.21.0", "torch": "2.13.0", "trl": "1.14.1", "vllm": "0.30.0"}
VLLM = {"trl": {"use_vllm": True}}


@pytest.fixture
def findings(monkeypatch):
    """Return the findings. more: packages beside INSTALLED."""

    def check(cfg=None, elsewhere=False, **more):
        installed = {**INSTALLED, "trl": "1.14.1", **more}

        def version(name):
            if name not in installed:
                raise PackageNotFoundError(name)
            return installed[name]

        monkeypatch.setattr(versions, "version", version)
        monkeypatch.setattr(versions, "tested", lambda: TESTED)
        return list(versions.check_versions(Config(cfg or {}), elsewhere))

    return check


def test_accepts_matching_versions(findings):
    assert not findings() + findings({"trl": {"use_vllm": False}})


@pytest.mark.parametrize(
    "installed, cfg, fix",
    [
        ({"trl": "1.13.0"}, {}, "trl==1.14.1"),
        ({"vllm": "0.30.0+cpu", "torch": "2.14.0"}, VLLM, "torch==2.13.0"),
        ({"axolotl": "0.21.1", "torch": "2.14.0+cu130"}, {}, "axolotl==0.21.0 torch==2.13.0"),
        ({"vllm": "0.31.0", "trl": "1.13.0"}, {}, "trl==1.14.1"),
    ],
)
def test_reports_another_version(findings, installed, cfg, fix):
    (finding,) = findings(cfg, **installed)
    assert (finding.level, finding.code) == ("warning", "untested-versions")
    assert finding.fix == f"If a run fails, try `pip install {fix}`"


@pytest.mark.parametrize("elsewhere, level", [(False, "error"), (True, "skipped")])
@pytest.mark.parametrize(
    "cfg, name, package",
    [
        (VLLM, "vllm", '"axolotl[vllm]==0.21.0"'),
        ({"use_ray": True}, "ray", '"axolotl[ray]==0.21.0"'),
        ({"wandb_project": "p"}, "wandb", "wandb"),
    ],
)
def test_reports_a_missing_package_that_the_config_uses(findings, cfg, name, package, elsewhere, level):
    (finding,) = findings(cfg, elsewhere)
    assert (finding.where, finding.level, finding.code) == (name, level, "not-installed")
    assert finding.fix == f"Install it with `pip install {package}`"


def test_tested_versions_are_the_installed_ones():
    """CI installs the newest versions that are allowed. upstream.toml and CONTRIBUTING.md say how to go on."""
    known = versions.tested()
    assert known.pop("vllm") == VLLM_ON_CPU
    assert all(Version(version(name)).public in known[name].split() for name in known)
