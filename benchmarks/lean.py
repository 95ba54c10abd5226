"""Measure the training phase of a step with and without LeanStep: time, computed tokens and memory.

    python -m benchmarks.lean FOLDER [--model models/smollm2-135m-instruct] [--repeat 3]

Each measurement is one optimizer step of TRL's GRPOTrainer in a process of its own. The completions and rewards are made
up, so that all arms train on the same ones; all else is TRL's code. The arms alternate. FOLDER gets a JSON file
per measurement. A later call continues from these files.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from axolotl_grpo_plugin.training.lean_step import COMPUTED, PADDED, LeanStep
from benchmarks.all import facts

ARMS: dict[str, dict[str, bool] | None] = {
    "plain TRL": None,
    "trim and sort": {"grpo_skip_zero_advantage": False, "grpo_share_prompts": False},
    "trim, sort, skip": {"grpo_share_prompts": False},
    "all": {},
}


class Case(NamedTuple):
    """A step to measure.

    rows: completions. micro: completions per pass. limit: tokens of a completion. mean: the mean length, as a share
    of the limit. spread: of the logarithm of the lengths in a prompt group. dead: share of dead groups.
    """

    title: str
    rows: int
    micro: int
    limit: int
    mean: float
    spread: float
    dead: float
    vllm: bool = False
    lora: bool = False


CASES = {
    "notes": Case("32 completions, 4 per pass, mean 25 % of 256", 32, 4, 256, 0.25, 0.7, 0.5),
    "quickstart": Case(
        "quickstart-smollm2: 16 completions in one pass, LoRA",
        16,
        16,
        36,
        0.75,
        0.2,
        0.0,
        lora=True,
    ),
    "vllm": Case(
        "32 completions, 8 per pass, vLLM's ratios", 32, 8, 256, 0.25, 0.7, 0.5, vllm=True
    ),
}


def rollouts(case: Case) -> tuple[list[list[int]], list[list[int]], list[float]]:
    """Return prompts, completions and rewards in groups of eight. Long groups are more often dead."""
    draw = random.Random(3)
    groups = []
    for _ in range(case.rows // 8):
        middle = draw.gauss(0, 0.5) if case.spread > 0.5 else 0.0
        lengths = []
        for _ in range(8):
            factor = 2.718281828 ** (
                middle + draw.gauss(0, case.spread) - case.spread**2 / 2 - 0.12
            )
            lengths.append(min(case.limit, max(4, int(case.mean * case.limit * factor))))
        groups.append(lengths)
    by_length = sorted(
        range(len(groups)), key=lambda number: -sum(groups[number]) * draw.uniform(0.6, 1.4)
    )
    dead = by_length[: round(case.dead * len(groups))]
    prompts, completions, rewards = [], [], []
    for number, lengths in enumerate(groups):
        prompt = draw.choices(range(100, 40000), k=draw.randint(50, 90))
        for place, length in enumerate(lengths):
            prompts.append(prompt)
            completions.append(draw.choices(range(100, 40000), k=length))
            rewards.append(1.0 if number in dead else float(place % 2))
    return prompts, completions, rewards


def trainer_of(case: Case, model: str, folder: str) -> Any:
    """Return TRL's trainer with made-up completions."""
    prompts, completions, rewards = rollouts(case)
    args = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=case.micro,
        gradient_accumulation_steps=case.rows // case.micro,
        num_generations=8,
        max_completion_length=case.limit,
        loss_type="dapo",
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
    )
    layers = ["q_proj", "k_proj", "v_proj", "o_proj"]
    lora = LoraConfig(
        r=16, lora_alpha=32, target_modules=layers, layers_to_transform=list(range(15, 30))
    )
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
        lambda prompts, **_: rewards,
        args,
        Dataset.from_dict({"prompt": [f"{number}?" for number in range(64)]}),
        processing_class=AutoTokenizer.from_pretrained(model),
        peft_config=lora if case.lora else None,
    )
    logps = [[-1.0] * len(ids) for ids in completions] if case.vllm else None
    trainer.use_vllm = case.vllm
    made = prompts, completions, None, ["x"] * case.rows, logps, {}, None, None
    trainer._generate = lambda _: made
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = case.rows // case.micro
    return trainer


def measure(case: Case, arm: str, model: str, folder: str) -> dict[str, float]:
    """Run a step. Return its seconds of CPU time, its tokens, and the peak memory of the process in GiB."""
    torch.set_num_threads(1)
    trainer = trainer_of(case, model, folder)
    options = ARMS[arm]
    if options is not None:
        LeanStep(trainer, options)
    inputs = [{"prompt": f"{number}?"} for number in range(case.rows)]
    start = time.process_time()
    largest = tokens = 0
    for _ in range(case.rows // case.micro):
        batch = trainer._prepare_inputs(inputs)
        tokens += (size := batch["prompt_ids"].numel() + batch["completion_ids"].numel())
        largest = max(largest, size)
        trainer.compute_loss(trainer.model, batch).backward()
        trainer._step += 1
    seconds = time.process_time() - start
    metrics = trainer._metrics["train"]
    gradient = sum(
        value.grad.pow(2).sum() for value in trainer.model.parameters() if value.grad is not None
    )
    return {
        "seconds": seconds,
        "tokens": sum(metrics[COMPUTED]) or tokens,
        "by_trl": sum(metrics[PADDED]) or tokens,
        "largest_pass": largest,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "gradient": float(gradient.sqrt()),
    }


def table(case: Case, results: dict[str, list[dict[str, float]]]) -> str:
    """Return a Markdown table of a case."""
    plain = median(result["seconds"] for result in results["plain TRL"])
    by_trl = results["all"][0]["by_trl"]
    lines = [
        f"## {case.title}",
        "",
        "| arm | seconds, median (lowest to highest) | times faster | tokens | largest pass | peak memory, GiB | norm of the gradient |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for arm, measured in results.items():
        seconds = [result["seconds"] for result in measured]
        first = measured[0]
        tokens = by_trl if ARMS[arm] is None else first["tokens"]
        cells = [
            arm,
            f"{median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})",
            f"{plain / median(seconds):.1f}",
            f"{tokens:,.0f} ({tokens / by_trl:.0%})",
            f"{first['largest_pass']:,.0f}",
            f"{first['memory']:.1f}",
            f"{first['gradient']:.6g}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="models/smollm2-135m-instruct")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument(
        "--one", nargs=2, metavar=("CASE", "ARM"), help="measure here, and print JSON"
    )
    options = parser.parse_args()
    if options.one:
        name, arm = options.one
        print(json.dumps(measure(CASES[name], arm, options.model, str(options.folder))))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    print(facts(), "\n")
    for name, case in CASES.items():
        results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
        for number in range(options.repeat):
            for arm in ARMS:
                file = options.folder / f"{name}-{arm.replace(' ', '_')}-{number}.json"
                if not file.exists():
                    command = [sys.executable, "-m", "benchmarks.lean", str(options.folder)]
                    command += ["--model", options.model, "--one", name, arm]
                    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                    file.write_text(done.stdout.splitlines()[-1])
                results[arm].append(json.loads(file.read_text()))
        print(table(case, results), end="\n\n", flush=True)


if __name__ == "__main__":
    main()
