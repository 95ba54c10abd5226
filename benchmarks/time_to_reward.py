"""Measure the time and the generated tokens until a share of sampled held-out answers is right.

    python -m benchmarks.time_to_reward quickstart FOLDER
    python -m benchmarks.time_to_reward quickstart FOLDER --share 0.9      # the same runs
    python -m benchmarks.time_to_reward smollm2 FOLDER       # after: axolotl-grpo fetch smollm2

It trains each arm with each seed: TRL's own trainer, Axolotl without this plugin, the plugin, and the
plugin with dynamic sampling. All arms have the same model, rows, rewards and settings. Each run saves
checkpoints, which are evaluated in their order until one reaches the share. A finished run is kept.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from axolotl_grpo_plugin import paths
from axolotl_grpo_plugin.config import Config
from benchmarks.all import facts

ROOT = Path(__file__).resolve().parents[1]
ARMS = ("trl", "axolotl", "plugin", "sampling")


class Case(NamedTuple):
    """A comparison.

    every: steps between checkpoints. first: the first checkpoint to evaluate, after the base model.
    share: of right answers to reach. rows, samples: held-out rows, and answers per row.
    """

    config: str
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int
    every: int
    first: int
    share: float
    rows: int
    samples: int


CASES = {
    "quickstart": Case("configs/quickstart.yaml", ARMS, (1, 2, 3, 4, 5), 80, 5, 5, 0.8, 234, 4),
    "smollm2": Case("configs/quickstart-smollm2.yaml", ARMS, (1, 2, 3), 24, 4, 12, 0.5, 72, 2),
}
PLAIN = """
from axolotl_grpo_plugin.rewards.gsm8k import *
from axolotl_grpo_plugin.rewards import gsm8k as rewards
from axolotl_grpo_plugin.transforms.gsm8k import gsm8k
globals().update({name: getattr(rewards, name) for name in vars(rewards) if name.endswith("_reward_func")})
"""  # plain Axolotl refuses paths of the plugin that `plugins:` does not name


def config(case, arm, seed, run):
    """Return the config of a run."""
    cfg = yaml.safe_load((ROOT / CASES[case].config).read_text())
    paths.resolve_packaged(Config(cfg))
    cfg |= {
        "seed": seed,
        "output_dir": str(run / "out"),
        "max_steps": CASES[case].steps,
        "save_steps": CASES[case].every,
        "save_strategy": "steps",
        "save_only_model": True,
        "save_total_limit": 100,  # Axolotl keeps 4
        "lr_scheduler": "constant",
        "grpo_held_out_rows": None,
        "grpo_cpu_threads": None,
    }
    if arm == "sampling":  # the rollouts count the tokens of all rounds
        cfg |= {"grpo_dynamic_sampling": True, "grpo_rollouts": True}
    if arm == "axolotl":
        del cfg["plugins"]
        cfg = {key: value for key, value in cfg.items() if not key.startswith("grpo_")}
        own = cfg["trl"]["reward_funcs"]
        cfg["trl"]["reward_funcs"] = [f"plain.{key.rpartition('.')[2]}" for key in own]
        for entry in (*cfg["datasets"], *cfg["test_datasets"]):
            entry["type"] = "plain.gsm8k"
    return cfg


def train_in_trl(file):
    """Train a config in TRL's own trainer."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    from axolotl_grpo_plugin.load import load_reward, reward_refs
    from axolotl_grpo_plugin.transforms.gsm8k import gsm8k

    cfg = yaml.safe_load(Path(file).read_text())
    trl = cfg["trl"]
    tokenizer = AutoTokenizer.from_pretrained(cfg["base_model"])
    transform, how = gsm8k(cfg)
    rows = Dataset.from_json(cfg["datasets"][0]["path"])
    rows = rows.map(partial(transform, tokenizer=tokenizer), **how)
    lora = cfg.get("adapter") and LoraConfig(
        r=cfg["lora_r"],
        lora_alpha=cfg["lora_alpha"],
        target_modules=cfg["lora_target_modules"],
        layers_to_transform=cfg["peft_layers_to_transform"],
        task_type="CAUSAL_LM",
    )
    GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(cfg["base_model"], dtype="float32"),
        reward_funcs=[load_reward(ref) for ref in reward_refs(Config(cfg))],
        args=GRPOConfig(
            output_dir=cfg["output_dir"],
            per_device_train_batch_size=cfg["micro_batch_size"],
            gradient_accumulation_steps=cfg["gradient_accumulation_steps"],
            num_generations=trl["num_generations"],
            max_completion_length=trl["max_completion_length"],
            temperature=trl["temperature"],
            beta=trl["beta"],
            max_steps=cfg["max_steps"],
            learning_rate=float(cfg["learning_rate"]),
            lr_scheduler_type="constant",
            max_grad_norm=cfg["max_grad_norm"],
            optim="adamw_torch",
            seed=cfg["seed"],
            save_steps=cfg["save_steps"],
            save_only_model=True,
            gradient_checkpointing=False,
            logging_steps=1,
            report_to=["tensorboard"],
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
        peft_config=lora,
    ).train()


def train(case, arm, seed, folder):
    """Train, unless the run has ended before. Return its folder."""
    run = folder / f"{case}-{arm}-{seed}"
    if (run / "seconds").exists():
        return run
    run.mkdir(parents=True, exist_ok=True)
    (run / "plain.py").write_text(PLAIN)
    file = run / "config.yaml"
    file.write_text(yaml.safe_dump(config(case, arm, seed, run)))
    words = ["axolotl", "train", file]
    if arm == "trl":
        words = [sys.executable, "-m", "benchmarks.time_to_reward", "--in-trl", file]
    env = {**os.environ, "PYTHONPATH": str(run), "HF_HUB_OFFLINE": "1"}
    began = time.perf_counter()
    with (run / "log").open("w") as log:
        subprocess.run(words, cwd=ROOT, env=env, stdout=log, stderr=log, check=True)
    (run / "seconds").write_text(f"{time.perf_counter() - began}")
    return run


def right_at(case, run):
    """Return the sampled share of right answers per checkpoint, up to the first that reaches the share."""
    from axolotl_grpo_plugin.evaluate.generate import generate, jobs_of
    from axolotl_grpo_plugin.evaluate.options import Options
    from axolotl_grpo_plugin.evaluate.scoring import AnswerScorer
    from axolotl_grpo_plugin.evaluate.session import open_session

    cfg = config(case, "plugin", 1, run)
    file = run / "eval.yaml"
    file.write_text(yaml.safe_dump(cfg))
    rows, samples = CASES[case].rows, CASES[case].samples
    dest = str(run.parent / f"{case}-eval")
    options = Options(checkpoints="all", samples=samples, limit=rows, out=dest)
    session = open_session(str(file), options, "test_datasets", "eval", evaluates=False)
    scorer = AnswerScorer(session.cfg)
    best = scorer.highest["correctness_reward_func"]
    found = {}
    for model in sorted(session.models, key=lambda model: model.step):
        if 0 < model.step < CASES[case].first or model.step % CASES[case].every:
            continue
        jobs = jobs_of(model, session.rows, session.plans, session.backend.engine)
        generate(session.backend, session.store, model, jobs, session.tokenizer.real)
        records = scorer.scored(jobs, [session.store[job.key] for job in jobs])
        found[model.step] = fmean(
            (record["reward/correctness_reward_func"] or 0) >= best for record in records
        )
        if found[model.step] >= CASES[case].share:
            break
    session.backend.close()
    scorer.close()
    return found


def costs(case, run):
    """Return (seconds, generated tokens) up to the end of each step."""
    import pandas as pd

    cfg = config(case, "plugin", 1, run)
    batch = cfg["micro_batch_size"] * cfg["gradient_accumulation_steps"]
    (events,) = (run / "out" / "runs").rglob("events.*")
    curves = EventAccumulator(str(events)).Reload()
    first, *_ = curves.Scalars("train/step_time")
    began = first.wall_time - first.value
    lengths = {each.step: each for each in curves.Scalars("train/completions/mean_length")}
    tokens = {step: each.value * batch for step, each in lengths.items()}
    if (run / "out" / "rollouts").is_dir():
        parts = map(pd.read_parquet, (run / "out" / "rollouts" / "train").iterdir())
        tokens = dict(pd.concat(parts).groupby("step").completion_tokens.sum())
    total, found = 0.0, {}
    for step, each in sorted(lengths.items()):
        total += tokens[step]
        found[step] = (each.wall_time - began, total)
    return found


def main(case, folder):
    _, arms, seeds, steps, *_ = CASES[case]
    print(facts(), "\n")
    print("| seed | arm | steps | seconds | generated tokens | right at that step |", end=" ")
    print("right before | s per step | s of the command |")
    print("| --- " * 9 + "|")
    for seed in seeds:
        for arm in arms:
            run = train(case, arm, seed, folder)
            file = run / f"right-{CASES[case].share}.json"
            if not file.exists():
                file.write_text(json.dumps(right_at(case, run)))
            found = {int(step): right for step, right in json.loads(file.read_text()).items()}
            spent = costs(case, run)
            before, end = found[0], max(found)
            reached = found[end] >= CASES[case].share
            shown = (f"{end}", f"{spent[end][0]:.1f}", f"{spent[end][1]:,.0f}", f"{found[end]:.1%}")
            if not reached:
                shown = (f"not in {steps}", *shown[1:])
            per_step = spent[steps][0] / steps
            whole = float((run / "seconds").read_text())
            print(f"| {seed} | {arm} |", *(f"{each} |" for each in shown), end=" ")
            print(f"{before:.1%} | {per_step:.2f} | {whole:.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-trl", help=argparse.SUPPRESS)
    parser.add_argument("case", choices=CASES, nargs="?")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--share", type=float, help="Of right answers to reach. [the case's]")
    parser.add_argument("--arms", nargs="+", choices=ARMS, help="To compare. [all]")
    given = parser.parse_args()
    if given.in_trl:
        train_in_trl(given.in_trl)
    else:
        if given.share:
            CASES[given.case] = CASES[given.case]._replace(share=given.share)
        if given.arms:
            CASES[given.case] = CASES[given.case]._replace(arms=given.arms)
        main(given.case, given.folder.resolve())
