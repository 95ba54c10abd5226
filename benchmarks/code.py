"""Measure how many programs per second the code reward scores, and print results/code.md.

    python -m benchmarks.code > benchmarks/results/code.md

One step scores 256 programs with 5 tests each, as a training does: with 2 scoring processes, each with
its own sandbox. The time of a step is wall time: the median of 5 steps, after a first step that starts the
processes. All programs differ. A quarter of them is right; the others fail at the last test, fail at the
first test, or raise an exception.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from axolotl_grpo_plugin.load import RewardRef
from axolotl_grpo_plugin.scoring.guard import GuardedReward
from axolotl_grpo_plugin.scoring.pool import Pool
from benchmarks.all import facts

PROGRAMS, TESTS, WORKERS, STEPS = 256, 5, 2, 5
INPUTS = [[3, 1, 2], [5, 5], [9, 0, 4, 4, 7], [1], list(range(40, 0, -1))]
FAULTS = (
    "",
    "if len(n) > 9: n[0] += 1",
    "if len(n) == 3: n[0] += 1",
    "if len(n) == 3: n[0] = n[99]",
)
PRINTS = {
    "inputs": [f"{len(each)}\n{' '.join(map(str, each))}\n" for each in INPUTS],
    "outputs": [" ".join(map(str, sorted(each))) + f"\n{sum(each)}\n" for each in INPUTS],
}
CALLS = {
    "fn_name": "solve",
    "inputs": [[each] for each in INPUTS],
    "outputs": [[sorted(each), sum(each)] for each in INPUTS],
}
ASSERTS = {
    "functional": "\n".join(
        f"assert solve({each}) == ({sorted(each)}, {sum(each)})" for each in INPUTS
    )
}
FORMS = {"stdin and stdout": PRINTS, "calls": CALLS, "assert statements": ASSERTS}


def program(number, form):
    solve = [
        "import sys, heapq",
        "from collections import defaultdict",
        f"LIMIT = {number}",
        "def solve(n):",
        "    heap = list(n)",
        "    heapq.heapify(heap)",
        "    n = [heapq.heappop(heap) for _ in range(len(heap))]",
        f"    {FAULTS[number % 4] or 'pass'}",
        "    return n, sum(n)",
    ]
    if form is PRINTS:
        solve += ["data = sys.stdin.read().split()"]
        solve += ["n, total = solve([int(each) for each in data[1:]])", "print(*n)", "print(total)"]
    return "I sort.\n```python\n" + "\n".join(solve) + "\n```"


def measure(sandbox):
    """Print the table's rows for one kind of sandbox."""
    reward = RewardRef("axolotl_grpo_plugin.rewards.code.code_reward_func")
    pool = Pool(WORKERS, 4 << 30, [reward])
    guard = GuardedReward(reward, "code", pool, 10, 600)
    call = guard.for_trl()
    for form, tests in FORMS.items():
        completions = [program(number, tests) for number in range(PROGRAMS)]
        columns = {"tests": [json.dumps(tests)] * PROGRAMS}
        times = []
        for _ in range(STEPS + 1):
            began = time.perf_counter()
            scores = call(prompts=[""] * PROGRAMS, completions=completions, **columns)
            times.append(time.perf_counter() - began)
            assert scores == [float(number % 4 == 0) for number in range(PROGRAMS)], scores
        seconds = statistics.median(times[1:])
        # The first failure ends a program's tests, so the four kinds of programs run 5, 5, 1 and 1.
        run = PROGRAMS * (5 + 5 + 1 + 1) / 4
        print(
            f"| {sandbox} | {form} | {seconds:.2f} | {PROGRAMS / seconds:.0f} | {run / seconds:.0f} "
            f"| {times[0]:.2f} |",
            flush=True,
        )
    pool.close()


def main():
    user = "root" if os.geteuid() == 0 else "not root"
    print("# The code reward: programs per second\n\nMade by `python -m benchmarks.code`.")
    print(" ".join(__doc__.split("\n\n")[-1].split()), f"\n\n{facts()} As {user}.\n")
    print("| sandbox | tests | seconds per step | programs/s | tests/s | the first step |")
    print("|---|---|---:|---:|---:|---:|")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as folder:  # a PATH without bwrap
        Path(folder, "unshare").symlink_to(shutil.which("unshare"))
        for sandbox, path in (("bubblewrap", os.environ["PATH"]), ("user namespaces", folder)):
            command = [sys.executable, "-m", "benchmarks.code", sandbox]
            subprocess.run(command, env={**os.environ, "PATH": path}, check=True)
    print(
        f"\nLoad {os.getloadavg()[0]:.1f} at the end; the measurement itself causes about 2 of it."
    )


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
