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


class Project:
    """A folder with a config, its data and a cloud.yaml. A key that is None is left out."""

    def __init__(self, folder):
        self.folder = folder
        self.write("data/train.jsonl", "".join(f"{json.dumps(row)}\n" for row in ROWS))
        self.config()
        self.cloud()

    def write(self, name, text):
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return name

    def config(self, **keys):
        return self.write(NAME, self.text(**keys))

    def text(self, **keys):
        kept = {key: value for key, value in (CONFIG | keys).items() if value is not None}
        return yaml.safe_dump(kept, sort_keys=False)

    def cloud(self, **keys):
        kept = {key: value for key, value in (CLOUD | keys).items() if value is not None}
        self.write("cloud.yaml", yaml.safe_dump(kept, sort_keys=False))
