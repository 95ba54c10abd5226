"""Measure how time and memory of the commands grow with rows, rollouts and steps. Write benchmarks/results/growth.md.

    python -m benchmarks.growth FOLDER [--sizes 1000 10000 100000] [--out FILE]

FOLDER gets the data: rows like those of GSM8K, and logs of runs of one rank with 64 rollouts per step. They are written by the
functions that a training calls. Each command is a process of its own. Its time is user and system time, and its memory is
the largest resident size.
"""

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from axolotl_grpo_plugin.runlog.merging import merge
from axolotl_grpo_plugin.runlog.rewards import rewards_of
from axolotl_grpo_plugin.runlog.schema import write
from axolotl_grpo_plugin.transforms.gsm8k import instructions
from benchmarks.all import facts

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks/results/growth.md"
MODEL = ROOT / "axolotl_grpo_plugin/quickstart/model"
REWARD = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
NAME = "correctness_reward_func"
GSM8K = "axolotl_grpo_plugin.gsm8k"
GROUP = 8
TICKS = os.sysconf("SC_CLK_TCK")
BATCH = 64  # rollouts of a step
MERGED = 100  # batches, as in scoring/rollout_log.py

# Runs a command, and prints its seconds of CPU time and its largest resident size in MiB. It is a small process, because
# a child's peak is never below its parent's size at the fork.
LAUNCHER = """
import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss / 1024]))
"""
# Times a log of the health after many steps, in milliseconds.
HEALTH = """
import json, resource, sys, time
from types import SimpleNamespace
from trl import GRPOConfig
from transformers import TrainerControl
from axolotl_grpo_plugin.training.health import Health
steps = int(sys.argv[1])
logs = {f"rewards/r{number}/mean": 0.5 for number in range(60)} | {"reward": 0.5, "loss": 0.1, "step": 1}
state = SimpleNamespace(log_history=[logs] * steps, global_step=steps, max_steps=steps, is_world_process_zero=True)
health = Health("r0", {"r0": 1.0})
args = GRPOConfig(output_dir="none", report_to=[], use_cpu=True, bf16=False)
for _ in range(3):
    state.log_history.append(logs)
    began = time.process_time()
    health.on_log(args, state, TrainerControl(), logs)
print(1000 * (time.process_time() - began))
"""


class Used(NamedTuple):
    """The costs of a command: CPU time and memory."""

    seconds: float
    mebibytes: float


def question(number: int) -> str:
    """Return a question of about the length of GSM8K's, which no other number has."""
    story = "A farmer packs eggs into boxes, sells some of them at the market, and counts what is left. "
    return f"{story * 2}There are {number} boxes with 2 eggs each. How many eggs are there?"


def write_rows(file: Path, count: int) -> None:
    """Write a dataset."""
    with file.open("w") as lines:
        for number in range(count):
            answer = f"Each box has 2 eggs.\nSo there are {number} * 2 = {2 * number} eggs.\n#### {2 * number}"
            lines.write(json.dumps({"question": question(number), "answer": answer}) + "\n")


def write_config(folder: Path, rows: Path) -> Path:
    """Write a config that trains the quickstart's model on a dataset."""
    config = yaml.safe_load((ROOT / "configs/quickstart.yaml").read_text())
    (dataset,) = config["datasets"]
    keys: dict[str, Any] = {
        "datasets": [dataset | {"path": str(rows)}],
        "output_dir": str(folder / "out"),
    }
    keys |= {"test_datasets": None, "grpo_held_out_rows": None, "sequence_len": 256}
    file = folder / f"{rows.stem}.yaml"
    file.write_text(yaml.safe_dump(config | keys))
    return file


def write_step(folder: Path, step: int) -> None:
    """Write the batch of a step, as a training does, and merge the files after every 100 batches."""
    ask = instructions()
    columns: dict[str, list[object]] = {"prompt": [], "completion": [], "column/answer": []}
    for number in range((step - 1) * BATCH // GROUP, step * BATCH // GROUP):
        gold = str(2 * number)
        for sample in range(GROUP):
            columns["prompt"].append(ask(question(number)))
            answer = gold if sample % 2 else str(number)
            text = f"<reasoning>\nEach box has 2 eggs, so I count {answer}.\n</reasoning>\n<answer>\n{answer}\n</answer>"
            columns["completion"].append(text)
            columns["column/answer"].append(gold)
    rights = [float(number % 2) for number in range(BATCH)]
    same = {
        "attempt": 1,
        "step": step,
        "rank": 0,
        "mode": "train",
        "completion_tokens": 40,
        "truncated": False,
    }
    columns |= {name: [value] * BATCH for name, value in same.items()}
    columns |= {
        "group": [(step - 1) * BATCH // GROUP + number // GROUP for number in range(BATCH)],
        f"reward/{NAME}": [2.0 * right for right in rights],
        f"reason/{NAME}": ["correct" if right else "wrong_value" for right in rights],
        f"read/{NAME}": [str(number) for number in range(BATCH)],
        "reward": [2.0 * right for right in rights],
        "advantage": [right - 0.5 for right in rights],
    }
    write(folder / "rollouts", step - 1, columns, rewards_of({NAME: [0.0, 2.0]}))
    if step % MERGED == 0:
        merge(folder / "rollouts", 0)


def write_run(folder: Path, rollouts: int) -> None:
    """Write the rollout log of a run."""
    done = folder / "done"
    if not done.exists():
        for step in range(1, rollouts // BATCH + 1):
            write_step(folder, step)
        done.touch()


def used(*words: object) -> Used:
    """Run a command of this package. Return its costs."""
    command = [sys.executable, "-c", LAUNCHER, sys.executable, *map(str, words)]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, mebibytes = json.loads(ended.stdout.splitlines()[-1])
    return Used(seconds, mebibytes)


def command(*words: object) -> Used:
    """Run an `axolotl-grpo` command. Return its costs."""
    return used("-c", "from axolotl_grpo_plugin.cli import grpo; grpo()", *words)


def served(folder: Path, rollouts: int) -> tuple[Used, str]:
    """Serve a run, and write one more step. Return the costs of that step, and the bytes that the page gets."""
    words = [
        "-c",
        "from axolotl_grpo_plugin.cli import grpo; grpo()",
        "view",
        str(folder),
        "--serve",
        "--port",
        "0",
    ]
    with subprocess.Popen(
        [sys.executable, "-u", *words], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().split()[0]
            whole = fetched(address, 0)
            before = cpu_seconds(process.pid)
            write_step(folder, rollouts // BATCH + 1)
            news = fetched(address, 1)
            seconds = cpu_seconds(process.pid) - before
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
        finally:
            process.terminate()
    for file in (folder / "rollouts/train").glob(f"001-{rollouts // BATCH + 1:06d}-*"):
        file.unlink()
    return Used(seconds, peak), f"{news:,} of {whole:,}"


def fetched(address: str, version: int) -> int:
    """Return the number of bytes that a page of a version gets."""
    with urllib.request.urlopen(f"{address}/data?seen={version}") as answer:
        return len(answer.read())


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def health(steps: int) -> float:
    """Return the milliseconds of one log of the health after many steps."""
    ended = subprocess.run(
        [sys.executable, "-c", HEALTH, str(steps)], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(ended.stdout.splitlines()[-1])


def table(head: str, sizes: list[int], lines: dict[str, list[str]]) -> str:
    """Return a table of Markdown with a column per size."""
    heads = " | ".join(f"{size:,}" for size in sizes)
    rows = [f"| {head} | {heads} |", "| --- |" + " ---: |" * len(sizes)]
    rows += [f"| {name} | {' | '.join(cells)} |" for name, cells in lines.items()]
    return "\n".join(rows)


def shown(cost: Used) -> str:
    return f"{cost.seconds:.2f} s, {cost.mebibytes:,.0f} MiB"


def measure(folder: Path, sizes: list[int]) -> str:
    """Return the tables. Print each line as it is measured."""
    data: dict[str, list[str]] = {}
    logs: dict[str, list[str]] = {}
    steps: dict[str, list[str]] = {}

    def add(lines: dict[str, list[str]], name: str, cell: str) -> None:
        lines.setdefault(name, []).append(cell)
        print(f"{name}: {cell}", flush=True)

    few = folder / "rows-8.jsonl"
    write_rows(few, 8)
    for size in sizes:
        print(f"{size:,}", flush=True)
        rows = folder / f"rows-{size}.jsonl"
        if not rows.exists():
            write_rows(rows, size)
        config = write_config(folder, rows)
        run = folder / f"run-{size}"
        write_run(run, size)
        counted = ["--data", few, "--tokenizer", MODEL, "--transform", GSM8K]
        on_rows = {"`stats CONFIG`": ["stats", config], "`check CONFIG`": ["check", config]}
        on_log = {
            "`stats --rollouts RUN`": ["stats", *counted, "--rollouts", run],
            "`passrate CONFIG --from-rollouts RUN`": [
                *("passrate", config, "--from-rollouts", run, "--out", folder / "rates")
            ],
            "`reward score RUN`": ["reward", "score", run, "--reward", REWARD],
            "`view RUN`": ["view", run, "--out", folder / "view.html"],
        }
        for name, words in on_rows.items():
            add(data, name, shown(command(*words)))
        for name, words in on_log.items():
            add(logs, name, shown(command(*words)))
        cost, sent = served(run, size)
        add(logs, "`view --serve`: one more step", shown(cost))
        add(logs, "`view --serve`: bytes for it, and for the whole run", sent)
        add(logs, "files of the log", f"{len(list(run.glob('rollouts/train/*'))):,}")
        add(steps, "health of a logged step", f"{health(size):.1f} ms")
    return "\n\n".join(
        (
            table("rows of a dataset", sizes, data),
            table("rollouts, 64 per step", sizes, logs),
            table("logged steps", sizes, steps),
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6])
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    folder = given.folder.resolve()
    head = f"""# Growth

CPU time (user and system) and the largest resident size of each command as its input grows. A run has one rank and 64 rollouts
per step. `passrate` reads a dataset with as many rows as the log has rollouts. A line of `view --serve` is the work for one new step
of a page that is open.

`python -m benchmarks.growth FOLDER --sizes {" ".join(map(str, given.sizes))}`

{facts()}
"""
    given.out.write_text(f"{head}\n{measure(folder, given.sizes)}\n")


if __name__ == "__main__":
    main()
