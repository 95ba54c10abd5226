"""Every config of the pack: Axolotl's own validation takes it, and takes all of it."""

import re
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import ROOT

CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))

# What Axolotl would find on the machine that a config names in its header; a GPU stands in here,
# for there is none.
CPU = {"bf16": False, "fp8": False, "tf32": False, "n_gpu": 1, "compute_capability": None}
GPU = {"bf16": True, "fp8": False, "tf32": True, "n_gpu": 1, "compute_capability": "sm_89"}


def lost(given, kept, path=""):
    """The keys that were given a value and are not in what validation made of them."""
    for key, value in given.items():
        if value is None:
            continue
        if key not in kept or kept[key] is None:
            yield path + key
        elif isinstance(value, dict):
            yield from lost(value, kept[key], f"{path}{key}.")


@pytest.mark.parametrize("file", CONFIGS, ids=[str(file.relative_to(ROOT)) for file in CONFIGS])
def test_axolotl_takes_it_whole(file, smollm2, monkeypatch):
    import torch
    from axolotl.cli.config import prepare_plugins
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault
    from huggingface_hub import constants

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # a name on the hub may not be here
    given = yaml.safe_load(file.read_text())
    cfg = DictDefault(given)
    prepare_plugins(cfg)
    validated = validate_config(
        cfg,
        capabilities=GPU if given["trl"]["use_vllm"] else CPU,
        env_capabilities={"torch_version": torch.__version__.split("+")[0]},
    )
    assert list(lost(given, validated)) == []


@pytest.mark.parametrize("file", CONFIGS, ids=[str(file.relative_to(ROOT)) for file in CONFIGS])
def test_its_header_says_what_it_needs_and_how_to_run_it(file):
    header = file.read_text().partition("base_model:")[0]
    for word in ("# Trains:", "# Needs:", "# Run:"):
        assert word in header
    (command,) = re.findall(r"axolotl train (\S+)", header)
    assert Path(command) == file.relative_to(ROOT)
    assert f"`{command}`" in (ROOT / "README.md").read_text()
