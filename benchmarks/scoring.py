"""What the reward runner and the rollout log cost of a step: `python benchmarks/scoring.py`.

Trains a quickstart in TRL's trainer with a room around it, and times what is within. The quickstart's
steps are the shortest that there are (a model of 0.6 million parameters): of any other, the share is less.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.transforms.gsm8k import gsm8k

STEPS, BATCH = 30, 64
REWARDS = "correctness int strict_format soft_format xmlcount".split()
QUICKSTART = Path(__file__).parents[1] / "axolotl_grpo_plugin" / "quickstart"
SPENT: Counter[str] = Counter()


def timed(holder, name, as_what):
    """Add up the seconds that a method takes."""
    method = getattr(holder, name)

    def call(*arguments, **keywords):
        began = time.perf_counter()
        result = method(*arguments, **keywords)
        SPENT[as_what] += time.perf_counter() - began
        return result

    setattr(holder, name, call)


def main(folder):
    tokenizer = AutoTokenizer.from_pretrained(QUICKSTART / "model")
    transform, how = gsm8k({})
    rows = Dataset.from_json(str(QUICKSTART / "train.jsonl"))
    rows = rows.map(transform, fn_kwargs={"tokenizer": tokenizer}, **how)
    keys = [f"axolotl_grpo_plugin.rewards.gsm8k.{name}_reward_func" for name in REWARDS]
    keys.append("rewards.true_equation.true_equation_reward_func")  # in a process
    room = RewardRunner(
        {"trl": {"reward_funcs": keys}, "output_dir": folder, "grpo_rollouts": True}
    )
    args = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=BATCH,
        num_generations=8,
        max_completion_length=32,
        max_steps=STEPS,
        learning_rate=2e-4,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    trainer = GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(QUICKSTART / "model", dtype="float32"),
        reward_funcs=[room.reward_func(key) for key in keys],
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
    )
    timed(room.rollouts, "stage", "rollout log")
    timed(room.rollouts, "write", "rollout log")
    room.wrap_trainer(trainer)
    timed(trainer, "_calculate_rewards", "scoring and log")
    began = time.perf_counter()
    trainer.train()
    total = time.perf_counter() - began
    room.close()
    print(
        f"{STEPS} steps of {BATCH} completions, {len(keys)} rewards: {total / STEPS * 1e3:.0f} ms a step"
    )
    scoring = SPENT["scoring and log"] - SPENT["rollout log"]
    for name, seconds in (("scoring", scoring), ("rollout log", SPENT["rollout log"])):
        print(f"{name:12} {seconds / STEPS * 1e3:6.2f} ms a step  {seconds / total:.2%}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
