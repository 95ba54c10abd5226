"""Measure the time of scoring and of the rollout log per training step: `python benchmarks/scoring.py`.

It trains the quickstart's model with TRL's trainer and the reward runner. That model has 0.6 million
parameters, so its steps are short; in any larger model, the measured shares are smaller.
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


def measure(owner, name, key):
    """Add the seconds of each call of a method to SPENT[key]."""
    method = getattr(owner, name)

    def call(*arguments, **keywords):
        began = time.perf_counter()
        result = method(*arguments, **keywords)
        SPENT[key] += time.perf_counter() - began
        return result

    setattr(owner, name, call)


def main(folder):
    tokenizer = AutoTokenizer.from_pretrained(QUICKSTART / "model")
    transform, how = gsm8k({})
    rows = Dataset.from_json(str(QUICKSTART / "train.jsonl"))
    rows = rows.map(transform, fn_kwargs={"tokenizer": tokenizer}, **how)
    keys = [f"axolotl_grpo_plugin.rewards.gsm8k.{name}_reward_func" for name in REWARDS]
    keys.append("rewards.true_equation.true_equation_reward_func")  # runs in a process
    cfg = {"trl": {"reward_funcs": keys}, "output_dir": folder, "grpo_rollouts": True}
    runner = RewardRunner(cfg)
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
        reward_funcs=[runner.reward_func(key) for key in keys],
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
    )
    measure(runner.rollouts, "stage", "rollout log")
    measure(runner.rollouts, "write", "rollout log")
    runner.wrap_trainer(trainer)
    measure(trainer, "_calculate_rewards", "scoring and log")
    began = time.perf_counter()
    trainer.train()
    total = time.perf_counter() - began
    runner.close()
    per_step = f"{total / STEPS * 1e3:.0f} ms per step"
    print(f"{STEPS} steps of {BATCH} completions, {len(keys)} rewards: {per_step}")
    scoring = SPENT["scoring and log"] - SPENT["rollout log"]
    for name, seconds in (("scoring", scoring), ("rollout log", SPENT["rollout log"])):
        print(f"{name:12} {seconds / STEPS * 1e3:6.2f} ms per step  {seconds / total:.2%}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory() as folder:
        main(folder)
