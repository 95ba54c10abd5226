"""Print the tables of results/gated.md from six finished runs of the quickstart.

    python benchmarks/gated.py FOLDER

FOLDER holds quickstart-SEED and quickstart-gated-SEED; results/gated.md has the commands.
The plain rewards score the held-out completions of both configs, so that the numbers compare.
"""

import json
import sys
from pathlib import Path

import pandas as pd

from axolotl_grpo_plugin.rewards import gsm8k
from axolotl_grpo_plugin.training.held_out import read_changes

FOLDER = Path(sys.argv[1])
CORRECT = "correctness_reward_func"
LAYOUT = [f"{name}_reward_func" for name in ("int", "strict_format", "soft_format", "xmlcount")]
STEPS = ((1, 25), (26, 50), (51, 100), (101, 150))


def compare(**moments):
    """Return the changes from before=(run, moment) to after=(run, moment), by (reward, mode)."""
    scored = FOLDER / "scored.jsonl"
    with scored.open("w") as out:
        for when, (run, moment) in moments.items():
            for row in map(json.loads, (run / "held_out.jsonl").open()):
                if row["when"] == moment:
                    text = row["completion"]
                    scores = {name: getattr(gsm8k, name).score(text).value for name in LAYOUT}
                    scores |= {CORRECT: row["rewards"][CORRECT], "layout": sum(scores.values())}
                    out.write(json.dumps(row | {"when": when, "rewards": scores}) + "\n")
    return {(each.reward, each.mode): each for each in read_changes(scored, {CORRECT: 2.0})}


def interval(change):  # in points; a right answer scores 2.0
    return f"{50 * change.low:+.1f} to {50 * change.high:+.1f}"


HEAD = ["seed", "config", "right, greedy", "right, sampled", "gated less plain, sampled"]
HEAD += [*LAYOUT, "all four", *(f"steps {first} to {last}" for first, last in STEPS)]
table = [HEAD, ["---"] * len(HEAD)]
NAMES = ("quickstart", "quickstart-gated")
for run in [FOLDER / f"{name}-{seed}" for seed in (42, 1, 2) for name in NAMES]:
    row = run.name.rsplit("-", 1)[::-1]
    found = compare(before=(run, "before"), after=(run, "after"))
    for each in (found[CORRECT, "greedy"], found[CORRECT, "sampled"]):
        row.append(f"{each.right_before:.1%} → {each.right_after:.1%} ({interval(each)})")
    against = compare(before=(FOLDER / f"quickstart-{row[0]}", "after"), after=(run, "after"))
    row.append(interval(against[CORRECT, "sampled"]) if "gated" in row[1] else "")
    for each in (found[name, "sampled"] for name in (*LAYOUT, "layout")):
        row.append(f"{each.before:.2f} → {each.after:.2f}")
    steps = pd.concat(map(pd.read_parquet, (run / "completions").iterdir()))
    row += [f"{steps[steps.step.between(*each)][CORRECT].mean() / 2:.1%}" for each in STEPS]
    table.append(row)
for part in (slice(2, 5), slice(5, 10), slice(10, None)):
    print(*(f"| {' | '.join(row[:2] + row[part])} |" for row in table), "", sep="\n")
