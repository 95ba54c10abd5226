"""A working folder to start from."""

from pathlib import Path

import yaml

from tests.conftest import ROOT

NAME = "configs/a.yaml"
ROWS = [{"path": "data/train.jsonl", "type": "axolotl_grpo_plugin.gsm8k"}]
CONFIG = yaml.safe_load((ROOT / "configs/gsm8k/qwen2.5-1.5b-full-2gpu.yaml").read_text())
CONFIG |= {"datasets": ROWS, "test_datasets": ROWS, "output_dir": "./outputs/a"}
CLOUD = {
    "provider": "grpo-modal",
    "gpu": "L40S:2",
    "volumes": [{"name": "runs", "mount": "./outputs"}, {"name": "kept", "mount": "/cache"}],
}


def write(folder, *paths, text="x"):
    """Write the text to each file below a folder, and return the folder."""
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def write_config(**keys):
    """Write the config with other keys to the working folder. A key that is None is left out."""
    _dump(NAME, CONFIG | keys)


def write_cloud(**keys):
    _dump("cloud.yaml", CLOUD | keys)


def _dump(file, keys):
    keys = {key: value for key, value in keys.items() if value is not None}
    write(Path(), file, text=yaml.safe_dump(keys, sort_keys=False))
