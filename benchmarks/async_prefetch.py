"""Measure seconds per step with and without `trl.async_prefetch`, with vLLM's server on a CPU.

    python -m tests.e2e.vllm_on_cpu build/vllm-on-cpu
    axolotl-grpo fetch smollm2
    python -m benchmarks.async_prefetch build/vllm-on-cpu/bin GSM8K_TRAIN_JSONL

Both runs train configs/gsm8k/smollm2-135m-cpu-server.yaml with 4 completions of 24 tokens per step,
alternately, on the same rows. The first two steps are left out, because Axolotl generates for the
first without prefetch.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks.all import facts

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "gsm8k" / "smollm2-135m-cpu-server.yaml"
STEPS, LEFT_OUT, TIMES = 10, 2, 2


def train(folder, binaries, rows, prefetch):
    """Return the seconds and the reward of each step of a run."""
    cfg = yaml.safe_load(CONFIG.read_text())
    cfg["trl"] |= {"async_prefetch": prefetch, "num_generations": 4, "max_completion_length": 24}
    cfg |= {"micro_batch_size": 4, "gradient_accumulation_steps": 1}
    cfg["datasets"][0] |= {"path": rows, "ds_type": "json"}
    del cfg["datasets"][0]["name"]
    cfg |= {"max_steps": STEPS, "save_strategy": "no", "output_dir": str(folder / "out")}
    del cfg["save_steps"]
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(cfg))
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    with (folder / "log").open("w") as log:
        words = [f"{binaries}/axolotl", "grpo", "train", file]
        subprocess.run(words, cwd=ROOT, env=env, stdout=log, stderr=log, check=True)
    (events,) = folder.glob("out/runs/*/events.*")
    curve = EventAccumulator(str(events)).Reload().Scalars("train/reward")
    ends = [event.wall_time for event in curve]
    return [b - a for a, b in pairwise(ends)][LEFT_OUT - 1 :], curve[-1].value


def main(binaries, rows):
    print(facts(), "\n")
    print("| run | async_prefetch | seconds per step: median | lowest | highest | last reward |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number in range(1, TIMES + 1):
        for prefetch in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                seconds, reward = train(Path(folder), binaries, rows, prefetch)
            times = (statistics.median(seconds), min(seconds), max(seconds))
            shown = " | ".join(f"{each:.1f}" for each in times)
            print(f"| {number} | {prefetch} | {shown} | {reward:.2f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), str(Path(sys.argv[2]).absolute()))
