"""Make the figures of benchmarks/results again, one command after the other. Resumable.

    python -m benchmarks.all FOLDER [--only NAME ...] [--list]

Each command writes FOLDER/NAME.md, and some write NAME.json for `benchmarks.speeds`. Its head has the commit, the versions and the machine. A command with such a file
of this commit is not run again. The texts of benchmarks/results are then written by hand from these tables.
Run it on a machine that does nothing else. Not made: growth, which writes its page itself, and gated,
own_data, real_model, async_prefetch and smollm2_gsm8k, whose pages have the commands.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SMOLLM2 = "models/smollm2-135m-instruct"
PACKAGES = ("axolotl", "trl", "transformers", "torch")


class Run(NamedTuple):
    """A command of Python. FOLDER stands for its own folder. minutes: that it took on two cores."""

    name: str
    words: str
    minutes: int


RUNS = (
    Run("scoring", "-m benchmarks.scoring", 2),
    Run("code", "-m benchmarks.code", 3),
    Run("generation", f"-m benchmarks.generation {SMOLLM2}", 4),
    Run("rewards", "-m benchmarks.rewards", 5),
    Run("lengths", f"-m benchmarks.lengths --gsm8k GSM8K --tokenizer {SMOLLM2}", 10),
    Run("passrate", "-m benchmarks.passrate FOLDER", 15),
    Run("quickstart", "-m benchmarks.curves FOLDER configs/quickstart.yaml", 10),
    Run("packed", "-m benchmarks.packed FOLDER", 120),
    Run("time-quickstart", "-m benchmarks.time_to_reward quickstart FOLDER", 35),
    Run("time-quickstart-90", "-m benchmarks.time_to_reward quickstart FOLDER --share 0.9", 10),
    Run("time-smollm2", "-m benchmarks.time_to_reward smollm2 FOLDER", 90),
    Run("curves", "-m benchmarks.curves FOLDER", 300),
)


def facts(*more: str) -> str:
    """Return one line with the commit, the versions and the machine. more: packages besides PACKAGES."""
    commit = printed("git", "describe", "--always", "--dirty", "--exclude=*") or "unknown"
    versions = ", ".join(f"{name} {version(name)}" for name in (*PACKAGES, *more))
    cpu = dict(line.partition(":")[::2] for line in printed("lscpu").splitlines())
    names = " ".join(cpu[key].strip() for key in ("Model name", "CPU family", "Model"))
    return (
        f"Commit {commit}, {versions}, Python {platform.python_version()}, {date.today()}. "
        f"{names} (name, family, model in `lscpu`), {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the start, Linux {platform.release()}."
    )


def printed(*command: str) -> str:
    """Return the output of a command, in English."""
    environment = {**os.environ, "LC_ALL": "C"}
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    return ended.stdout.strip()


def run(chosen: Run, folder: Path) -> None:
    """Run a command, unless its table is there."""
    own = folder / chosen.name.partition("-")[0]
    places = {"FOLDER": str(own), "GSM8K": os.environ.get("GSM8K_DIR", "GSM8K_DIR")}
    words = [places.get(word, word) for word in chosen.words.split()]
    file = folder / f"{chosen.name}.md"
    lines = f"`{' '.join(['python', *words])}`\n\n{facts()}\n"
    if file.exists() and file.read_text().partition(",")[0] == lines.partition(",")[0]:
        print(f"{chosen.name}: finished before")
        return
    print(f"{chosen.name}: about {chosen.minutes} minutes", flush=True)
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SPEEDS": str(folder)}
    ended = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    if ended.returncode:
        print(f"{chosen.name}: failed with exit code {ended.returncode}")
        return
    minutes = (time.monotonic() - began) / 60
    file.write_text(f"{lines}It took {minutes:.1f} minutes.\n\n{ended.stdout}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=[known.name for known in RUNS])
    parser.add_argument("--list", action="store_true", help="Print the commands, and run nothing.")
    given = parser.parse_args()
    chosen = [known for known in RUNS if not given.only or known.name in given.only]
    for known in chosen:
        if given.list:
            print(f"{known.name:20} {known.minutes:4} minutes  python {known.words}")
        else:
            given.folder.mkdir(parents=True, exist_ok=True)
            run(known, given.folder.resolve())


if __name__ == "__main__":
    main()
