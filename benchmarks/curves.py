"""Train each CPU config that holds rows out with seeds 1 to 3; write results/curves.md and a picture of each.

    axolotl-grpo fetch smollm2
    python -m benchmarks.curves FOLDER                          # all of them: some hours
    python -m benchmarks.curves FOLDER configs/quickstart.yaml  # some of them

A finished run in FOLDER is kept unless its config has changed, so a stopped call goes on. The judge is a server that compares the answers.
Time is the CPU time of the command, imports included, because other work on the machine changes it least.
"""

import argparse
import os
import re
import resource
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import yaml
from matplotlib.figure import Figure
from pandas import Series
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.load import load_reward, reward_refs
from axolotl_grpo_plugin.runlog.reader import read
from axolotl_grpo_plugin.runlog.schema import REWARD
from axolotl_grpo_plugin.training.record import HELD_OUT
from axolotl_grpo_plugin.training.report import smooth
from benchmarks.all import facts
from tests.rewards.judge_server import JudgeServer

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
SEEDS = (1, 2, 3)
MODES = ("sampled", "greedy")
# The lowest score of a right answer, if it is not the highest. The sources of dispatch have different ones.
RIGHT = {"environments/quickstart": 0.05, "dispatch/quickstart": None}


def cpu_configs():
    """Return the configs that need no GPU and hold rows out, by name."""
    files = {file: file.read_text() for file in sorted((ROOT / "configs").rglob("*.yaml"))}
    return {
        str(file.relative_to(ROOT / "configs").with_suffix("")): file
        for file, text in files.items()
        if "two CPU cores" in text.partition("\nbase_model")[0] and "\ngrpo_held_out_rows" in text
    }


def config(file, seed, run, judge):
    cfg = yaml.safe_load(file.read_text())
    cfg |= {"seed": seed, "output_dir": str(run / "out")}
    if "OMP_NUM_THREADS" in os.environ:
        cfg.pop("grpo_cpu_threads", None)
    for arguments in (cfg.get("grpo_reward_args") or {}).values():
        if "base_url" in arguments:
            arguments |= {"model": "a-judge", "base_url": judge.url}
    return cfg


def without_port(text):
    """Return a config's text without the judge's port, which differs per call."""
    return re.sub(r"127\.0\.0\.1:\d+", "", text)


def train(name, file, seed, folder, judge):
    """Train, unless a run with this config has ended before. Return its folder."""
    run = folder / f"{name.replace('/', '-')}-{seed}"
    text, stored = yaml.safe_dump(config(file, seed, run, judge)), run / "config.yaml"
    if (run / "seconds").exists() and without_port(stored.read_text()) == without_port(text):
        return run
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir(parents=True)
    stored.write_text(text)
    words = [Path(sys.executable).with_name("axolotl"), "grpo", "train", stored]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with (run / "log").open("w") as log:
        subprocess.run(words, cwd=ROOT, env=env, stdout=log, stderr=log, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    (run / "seconds").write_text(f"{seconds}")
    return run


def held_out(name, run):
    """Return rows and {mode: [share before, share after]} by source: the first reward that scores its rows.

    Without a highest score, the values are mean rewards, and the name of the source says so.
    """
    cfg = yaml.safe_load((run / "config.yaml").read_text())
    best = {
        ref.path.rpartition(".")[2]: load_reward(ref).highest for ref in reward_refs(Config(cfg))
    }
    scores = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for answer in read(run / "out" / HELD_OUT):
        scored = [
            (key, score)
            for key, score in answer.items()
            if key.startswith(REWARD) and score is not None
        ]
        reward, score = scored[0] if scored else ("", 0.0)
        reward = reward.removeprefix(REWARD)
        bar = RIGHT.get(name, best.get(reward))
        source = answer.get("column/data_source") or ""
        if bar is None:
            source += " (mean reward)"
        score = score if bar is None else float(score >= bar)
        scores[source][answer["mode"]][answer["model"]].append(score)
    return {
        source: {mode: [each["before"], each["after"]] for mode, each in modes.items()}
        for source, modes in scores.items()
    }


def shown(pairs, source):
    """Return the ranges over seeds of the means before and after, such as "43-49 % -> 91-97 %"."""
    share = "mean reward" not in source
    parts = []
    for values in zip(*pairs, strict=True):
        means = [fmean(each) * (100 if share else 1) for each in values]
        ends = (f"{each:.0f}" if share else f"{each:.2f}" for each in (min(means), max(means)))
        parts.append("-".join(dict.fromkeys(ends)) + (" %" if share else ""))
    return " -> ".join(parts)


def rewards(run):
    """Return the steps and the mean reward of each."""
    (events,) = (run / "out" / "runs").rglob("events.*")
    curve = EventAccumulator(str(events)).Reload().Scalars("train/reward")
    return [each.step for each in curve], [each.value for each in curve]


def draw(name, runs):
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    for seed, run in runs.items():
        steps, values = rewards(run)
        (line,) = axes.plot(steps, values, alpha=0.2, linewidth=1)
        axes.plot(steps, smooth(Series(values)), color=line.get_color(), label=f"seed {seed}")
    axes.set(xlabel="step", ylabel="mean reward", title=f"configs/{name}.yaml")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    file = RESULTS / "curves" / f"{name.replace('/', '-')}.png"
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, dpi=100)


def written(file):
    """Return the lines of a table, by config."""
    lines = defaultdict(list)
    for line in file.read_text().splitlines():
        if match := re.match(r"\| `(.+?)`", line):
            lines[match[1]].append(line)
    return lines


def write(folder):
    """Write the table and the pictures of the configs with all seeds. Keep the lines of the others."""
    table, lines = RESULTS / "curves.md", []
    before = written(table)
    for name in cpu_configs():
        place = folder.glob(f"{name.replace('/', '-')}-[0-9]/seconds")
        runs = {int(each.parent.name[-1]): each.parent for each in sorted(place)}
        if len(runs) < len(SEEDS):
            lines += before[name]
            continue
        draw(name, runs)
        steps = rewards(next(iter(runs.values())))[0][-1]
        found = [held_out(name, run) for run in runs.values()]
        spent = [float((run / "seconds").read_text()) for run in runs.values()]
        seeds = [*runs]
        for source, modes in found[0].items():
            label = f", {source.strip()}" if len(found[0]) > 1 or "(" in source else ""
            cells = [f"`{name}`{label}", steps, f"{fmean(spent):.0f} s", len(modes["greedy"][0])]
            for group in [*([seed] for seed in seeds), seeds]:
                kept = [found[seeds.index(seed)][source] for seed in group]
                both = (shown([each[mode] for each in kept], source) for mode in MODES)
                line = [*cells, ", ".join(map(str, group)), *both]
                lines.append(f"| {' | '.join(map(str, line))} |")
    head = ["Config", "Steps", "CPU time", "Rows", "Seeds", *map(str.title, MODES)]
    threads = os.environ.get("OMP_NUM_THREADS")
    text = f"""# Every config that needs no GPU

Made by `{f"OMP_NUM_THREADS={threads} " if threads else ""}python -m benchmarks.curves FOLDER`. The last call: {facts()}
A call for some configs keeps the lines of the others.
Right answers to held-out rows before and after the training; the last line of a config has the range over its seeds. CPU
time is that of the whole command, as a mean over the seeds.

| {" | ".join(head)} |
|{" --- |" * len(head)}
"""
    table.write_text(text + "\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("configs", type=Path, nargs="*", help="[all]")
    given = parser.parse_args()
    chosen = {each.resolve() for each in given.configs}
    if unknown := chosen - set(cpu_configs().values()):
        parser.error(f"not a CPU config with held-out rows: {', '.join(map(str, unknown))}")
    with JudgeServer() as judge:
        for name, file in cpu_configs().items():
            if chosen and file not in chosen:
                continue
            for seed in SEEDS:
                print(
                    name, seed, train(name, file, seed, given.folder.resolve(), judge), flush=True
                )
                write(given.folder.resolve())
