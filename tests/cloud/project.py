"""A working folder to start from."""

import json

import yaml

NAME = "configs/a.yaml"
CONFIG = {
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
CLOUD = {
    "provider": "grpo-modal",
    "gpu": "L40S:2",
    "volumes": [{"name": "runs", "mount": "./outputs"}, {"name": "kept", "mount": "/cache"}],
}
ROWS = [{"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in (1, 2)]


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
        self.write("data/train.jsonl", "".join(f"{json.dumps(row)}\n" for row in ROWS))
        self.config()
        self.cloud()

    def write(self, name, text):
        write(self.folder, name, text=text)

    def config(self, **keys):
        self.write(NAME, dump(CONFIG | keys))

    def cloud(self, **keys):
        self.write("cloud.yaml", dump(CLOUD | keys))
