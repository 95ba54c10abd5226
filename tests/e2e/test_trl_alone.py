"""The rewards and the transform work in TRL's own trainer, without Axolotl."""

import json
import subprocess
import sys

import pytest

from tests.e2e.conftest import ROOT, environment

SCRIPT = """
import json, sys
from pathlib import Path
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from axolotl_grpo_plugin.rewards import gsm8k as rewards
from axolotl_grpo_plugin.transforms.gsm8k import gsm8k

quickstart, out = Path(sys.argv[1]), sys.argv[2]
tokenizer = AutoTokenizer.from_pretrained(quickstart / "model")
transform, how = gsm8k({})
rows = Dataset.from_json(str(quickstart / "train.jsonl")).map(transform, fn_kwargs={"tokenizer": tokenizer}, **how)
trainer = GRPOTrainer(
    model=AutoModelForCausalLM.from_pretrained(quickstart / "model", dtype="float32"),
    reward_funcs=[rewards.correctness_reward_func, rewards.strict_format_reward_func],
    args=GRPOConfig(output_dir=out, per_device_train_batch_size=16, num_generations=8, max_completion_length=32,
                    max_steps=2, logging_steps=1, report_to=[], use_cpu=True, bf16=False, log_completions=True),
    train_dataset=rows, processing_class=tokenizer)
trainer.train()
print(json.dumps(trainer.state.log_history[0]))
assert "axolotl" not in sys.modules
"""


@pytest.mark.seconds(20)
def test_trains_in_trls_trainer(tmp_path):
    quickstart = ROOT / "axolotl_grpo_plugin" / "quickstart"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, quickstart, tmp_path],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    log = next(
        json.loads(line) for line in reversed(done.stdout.splitlines()) if line.startswith("{")
    )
    assert 0.0 < log["rewards/correctness_reward_func/mean"] <= 2.0
    assert 0.0 < log["rewards/strict_format_reward_func/mean"] <= 0.5
