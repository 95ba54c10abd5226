"""Measure the plugin's own time per training step: scoring, rollout log and dynamic sampling.

    python -m benchmarks.scoring                                                   # the quickstart's model
    python -m benchmarks.scoring models/smollm2-135m-instruct --batch 16 --steps 6   # SmolLM2

It trains in TRL's trainer with the reward runner. The quickstart's model has 0.6 million parameters, so its
steps are short. The generation of the extra rounds is not the plugin's own time.
"""

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.scoring.dead_groups import DeadGroups
from axolotl_grpo_plugin.scoring.guarded_scores import GuardedScores
from axolotl_grpo_plugin.scoring.rollout_log import LoggedRollouts, RolloutLog
from axolotl_grpo_plugin.scoring.runner import RewardRunner
from axolotl_grpo_plugin.training.dynamic_sampling import DynamicSampling, SamplingSettings
from axolotl_grpo_plugin.transforms.gsm8k import gsm8k
from benchmarks.all import facts
from benchmarks.speeds import record

REWARDS = "correctness int strict_format soft_format xmlcount".split()
QUICKSTART = Path(__file__).parents[1] / "axolotl_grpo_plugin" / "quickstart"
SPENT: Counter[str] = Counter()


class Trainer(LoggedRollouts, DynamicSampling, DeadGroups):
    """TRL's trainer with the methods that are measured."""


def measure(owner, name, key):
    """Add the seconds of each call of a method of a class to SPENT[key]."""
    method = getattr(owner, name)

    def call(*arguments, **keywords):
        began = time.perf_counter()
        result = method(*arguments, **keywords)
        SPENT[key] += time.perf_counter() - began
        return result

    setattr(owner, name, call)


def main(folder, model, steps, batch):
    tokenizer = AutoTokenizer.from_pretrained(model)
    transform, how = gsm8k({})
    rows = Dataset.from_json(str(QUICKSTART / "train.jsonl"))
    rows = rows.map(transform, fn_kwargs={"tokenizer": tokenizer}, **how)
    keys = [f"axolotl_grpo_plugin.rewards.gsm8k.{name}_reward_func" for name in REWARDS]
    keys.append("rewards.true_equation.true_equation_reward_func")  # runs in a process
    cfg = {"trl": {"reward_funcs": keys}, "output_dir": folder, "grpo_rollouts": True}
    runner = RewardRunner(Config(cfg))
    args = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=batch,
        num_generations=8,
        max_completion_length=32,
        max_steps=steps,
        learning_rate=2e-4,
        logging_steps=10,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
    )
    kind = type(
        "Trainer",
        (Trainer,),
        {
            "reward_runner": runner,
            "rollout_log": RolloutLog.of(Config(cfg)),
            "sampling": SamplingSettings.of(Config(cfg | {"grpo_dynamic_sampling": True})),
        },
    )
    trainer = kind(
        model=AutoModelForCausalLM.from_pretrained(model, dtype="float32"),
        reward_funcs=[runner.reward_func(key) for key in keys],
        args=args,
        train_dataset=rows,
        processing_class=tokenizer,
    )
    measure(LoggedRollouts, "_log_rollouts", "rollout log")
    measure(GuardedScores, "_calculate_rewards", "scoring")
    measure(DeadGroups, "_generate_and_score_completions", "generation")
    measure(DynamicSampling, "_generate_and_score_completions", "generation and sampling")
    print(facts(), "\n")
    began = time.perf_counter()
    trainer.train()
    total = time.perf_counter() - began
    runner.close()
    per_step = f"{total / steps * 1e3:.0f} ms per step"
    print(f"{steps} steps of {batch} completions, {len(keys)} rewards: {per_step}")
    own = {
        "scoring": SPENT["scoring"],
        "rollout log": SPENT["rollout log"],
        "sampling": SPENT["generation and sampling"] - SPENT["generation"],
    }
    for name, seconds in {**own, "all": sum(own.values())}.items():
        print(f"{name:12} {seconds / steps * 1e3:6.2f} ms per step  {seconds / total:.2%}")
    record("scoring", {f"{name}, share of a step": own[name] / total for name in own})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default=QUICKSTART / "model")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=64, help="completions per step")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        main(folder, given.model, given.steps, given.batch)
