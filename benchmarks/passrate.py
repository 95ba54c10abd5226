"""Does a training on rows of medium pass rate have fewer dead prompt groups? Print results/passrate.md's tables.

    python -m benchmarks.passrate FOLDER

Trains the quickstart in two stages: the base model, then the model of the first stage. Each stage trains on
all rows, and on the rows whose pass rate with that stage's first model is within a range. A prompt group is
dead if all its completions have the same correctness score. A finished run is kept.
"""

import subprocess
import sys
from itertools import batched
from pathlib import Path

import yaml
from pyarrow.parquet import read_metadata

from axolotl_grpo_plugin.runlog.attempts import rollout_files
from axolotl_grpo_plugin.runlog.reader import read
from axolotl_grpo_plugin.runlog.schema import REWARD
from axolotl_grpo_plugin.training.held_out import compared
from axolotl_grpo_plugin.training.record import HELD_OUT
from benchmarks.all import facts

FOLDER = Path(sys.argv[1])
CORRECT = "correctness_reward_func"
SEEDS, GROUP, PART = (1, 2, 3), 8, 20  # completions per prompt group; steps per column
STAGES = {"base": (60, ("0.3:0.7", "0.05:0.4")), "second": (40, ("0.1:0.9",))}  # steps, ranges


def axolotl(*words):
    subprocess.run(["axolotl", *map(str, words)], check=True, stdout=sys.stderr)


def config(name, **changes):
    """Write a config of the quickstart with changes, and return its file."""
    made = yaml.safe_load(Path("configs/quickstart.yaml").read_text()) | changes
    made |= {"output_dir": str(FOLDER / name), "grpo_rollouts": True}
    file = FOLDER / f"{name}.yaml"
    file.write_text(yaml.safe_dump(made))
    return file


def kept(name, limits, seed, **changes):
    """Return the file of the rows whose pass rate is within the limits."""
    file = FOLDER / f"rates-{name}-{seed}" / "passrate" / "kept.parquet"
    if not file.exists():
        words = ["--seed", seed, "--keep", limits]
        axolotl("grpo", "passrate", config(f"rates-{name}-{seed}", **changes), *words)
    return file


def train(name, seed, rows, **changes):
    """Train, and return the run's folder."""
    run = FOLDER / f"{name}-{seed}"
    if not (run / "model.safetensors").exists():
        (dataset,) = yaml.safe_load(Path("configs/quickstart.yaml").read_text())["datasets"]
        dataset |= {"path": str(rows), "ds_type": "parquet"} if rows else {}
        axolotl("grpo", "train", config(run.name, seed=seed, datasets=[dataset], **changes))
    return run


def dead(run):
    """Return the share of dead prompt groups in each part of the run."""
    groups = {}
    for file in rollout_files(run).counted:
        for group in batched(read(file), GROUP):
            scores = {row[REWARD + CORRECT] for row in group}
            groups.setdefault((group[0]["step"] - 1) // PART, []).append(len(scores) == 1)
    return [f"{sum(part) / len(part):.1%}" for _, part in sorted(groups.items())]


def show(stage, seed, limits, rows, run):
    count = read_metadata(rows).num_rows if rows else 918
    (sampled,) = [part for part in compared(run / HELD_OUT) if part["mode"] == "sampled"]
    before, after = next(
        change["means"] for change in sampled["differences"] if change["of"] == "right"
    )
    cells = [stage, seed, limits, count, *dead(run), *[""] * (3 - len(dead(run)))]
    cells.append(f"{before:.1%} → {after:.1%}")
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


FOLDER.mkdir(parents=True, exist_ok=True)
HEAD = ["first model", "seed", "pass rate", "rows", "dead, steps 1 to 20", "21 to 40", "41 to 60"]
HEAD += ["held-out right, sampled"]
print(facts(), "\n")
print(f"| {' | '.join(HEAD)} |", f"| {' | '.join(['---'] * len(HEAD))} |", sep="\n")
for stage, (steps, ranges) in STAGES.items():
    for seed in SEEDS:
        changes = {"max_steps": steps}
        if stage == "second":
            changes["base_model"] = str(FOLDER / f"base-all-{seed}")
        show(stage, seed, "any", None, train(f"{stage}-all", seed, None, **changes))
        for limits in ranges:
            name = f"{stage}-{limits.replace(':', '-')}"
            rows = kept(name, limits, seed, **changes)
            show(stage, seed, limits, rows, train(name, seed, rows, **changes))
