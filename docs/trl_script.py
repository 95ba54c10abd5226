from pathlib import Path

from datasets import load_dataset
from trl import GRPOConfig

import axolotl_grpo_plugin
from axolotl_grpo_plugin.rewards.gsm8k import correctness_reward_func
from axolotl_grpo_plugin.trl import GRPOTrainer

FOLDER = Path(axolotl_grpo_plugin.__file__).parent / "quickstart"
LAYOUT = (
    "\nRespond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>"
)


def to_prompt(row):
    question = {"role": "user", "content": row["question"] + LAYOUT}
    return {"prompt": [question], "answer": row["answer"].split("#### ")[1]}


rows = load_dataset("json", data_files=str(FOLDER / "train.jsonl"), split="train").map(to_prompt)
sizes = {
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 2,
    "max_completion_length": 32,
}
config = GRPOConfig(
    "outputs/trl", **sizes, max_steps=3, logging_steps=1, report_to=[], use_cpu=True, bf16=False
)
trainer = GRPOTrainer(str(FOLDER / "model"), correctness_reward_func, config, rows)
trainer.train()
print("packed step:", trainer.packed_step)
