"""A working folder to start from, and what its files are."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

NAME = "configs/a.yaml"
CONFIG: dict[str, Any] = {
    "base_model": "Qwen/Qwen2.5-0.5B-Instruct",
    "plugins": ["axolotl_grpo_plugin.GRPOPlugin"],
    "rl": "grpo",
    "trl": {
        "use_vllm": True,
        "vllm_mode": "server",
        "num_generations": 8,
        "max_completion_length": 512,
        "reward_funcs": ["axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"],
    },
    "vllm": {"max_model_len": 1024},
    "datasets": [{"path": "data/train.jsonl", "type": "axolotl_grpo_plugin.gsm8k"}],
    "skip_prepare_dataset": True,
    "val_set_size": 0.0,
    "output_dir": "./outputs/a",
    "sequence_len": 1024,
    "micro_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_steps": 10,
    "learning_rate": 1e-6,
    "optimizer": "adamw_torch",
    "lr_scheduler": "constant",
    "bf16": "auto",
}
CLOUD: dict[str, Any] = {
    "provider": "grpo-modal",
    "gpu": "L40S:2",
    "volumes": [
        {"name": "runs", "mount": "./outputs"},
        {"name": "kept", "mount": "/cache"},
    ],
}
ROWS = [
    {"question": f"What is {n} + 1?", "answer": f"It is {n + 1}.\n#### {n + 1}"} for n in (1, 2)
]


class Project:
    """A folder with a config, its data and a cloud.yaml."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.write("data/train.jsonl", "".join(f"{json.dumps(row)}\n" for row in ROWS))
        self.config()
        self.cloud()

    def write(self, name: str, text: str) -> str:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return name

    def config(self, **keys: Any) -> str:
        """NAME, with other keys; None takes one out."""
        return self.write(NAME, self.text(**keys))

    def text(self, **keys: Any) -> str:
        kept = {key: value for key, value in (CONFIG | keys).items() if value is not None}
        return yaml.safe_dump(kept, sort_keys=False)

    def cloud(self, **keys: Any) -> None:
        kept = {key: value for key, value in (CLOUD | keys).items() if value is not None}
        self.write("cloud.yaml", yaml.safe_dump(kept, sort_keys=False))


def axolotl(*words: str, cwd: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """`axolotl WORDS` in a process of its own, which knows nobody but who `env` names."""
    unknown = ("MODAL_", "HF_TOKEN", "WANDB_", "DO_NOT_TRACK")
    known = {key: value for key, value in os.environ.items() if not key.startswith(unknown)}
    own = {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "MODAL_CONFIG_PATH": os.devnull}
    return subprocess.run(
        [sys.executable, "-m", "axolotl.cli.main", *words],
        cwd=cwd,
        env={**known, **own, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )
