"""A working folder to start from."""

import yaml

from tests.conftest import ROOT

NAME = "configs/a.yaml"
SHIPPED = ROOT / "configs" / "gsm8k" / "qwen2.5-1.5b-full-2gpu.yaml"
ROWS = [{"path": "data/train.jsonl", "type": "axolotl_grpo_plugin.gsm8k"}]
CONFIG = yaml.safe_load(SHIPPED.read_text()) | {"output_dir": "./outputs/a"}
CONFIG |= {"datasets": ROWS, "test_datasets": ROWS}
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


def dump(keys):
    return yaml.safe_dump({k: v for k, v in keys.items() if v is not None}, sort_keys=False)


class Project:
    """A folder with a config, its data and a cloud.yaml. A key that is None is left out."""

    def __init__(self, folder):
        self.folder = folder
        self.write("data/train.jsonl", '{"question": "What is 1 + 1?", "answer": "#### 2"}\n')
        self.config()
        self.cloud()

    def write(self, name, text):
        write(self.folder, name, text=text)

    def config(self, **keys):
        self.write(NAME, dump(CONFIG | keys))

    def cloud(self, **keys):
        self.write("cloud.yaml", dump(CLOUD | keys))
