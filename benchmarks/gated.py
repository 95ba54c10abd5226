"""Print the tables of results/gated.md from six finished runs of the quickstart.

    python -m benchmarks.gated FOLDER

FOLDER holds quickstart-SEED and quickstart-gated-SEED; results/gated.md has the commands.
The plain rewards score the held-out completions of both configs, so that the numbers compare.
"""

import sys
from pathlib import Path

import pandas as pd

from axolotl_grpo_plugin.report.tables import summarize
from axolotl_grpo_plugin.rewards import gsm8k
from axolotl_grpo_plugin.runlog.reader import read
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import REWARD
from axolotl_grpo_plugin.training.record import HELD_OUT
from benchmarks.all import facts

FOLDER = Path(sys.argv[1])
CORRECT = "correctness_reward_func"
LAYOUT = [f"{name}_reward_func" for name in ("int", "strict_format", "soft_format", "xmlcount")]
STEPS = ((1, 25), (26, 50), (51, 100), (101, 150))


def compare(**moments):
    """Return the changes from before=(run, moment) to after=(run, moment), by (reward, mode, statistic)."""
    answers = []
    for when, (run, moment) in moments.items():
        for row in read(run / HELD_OUT):
            if row["model"] == moment:
                scores = {
                    name: getattr(gsm8k, name).score(row["completion"]).value for name in LAYOUT
                }
                scores |= {CORRECT: row[REWARD + CORRECT], "layout": sum(scores.values())}
                answers.append(
                    {
                        **row,
                        "model": when,
                        **{REWARD + name: score for name, score in scores.items()},
                    }
                )
    rewards = [
        LoggedReward(CORRECT, (0.0, 2.0)),
        *(LoggedReward(name) for name in (*LAYOUT, "layout")),
    ]
    found = {}
    for part in summarize(answers, rewards)["parts"]:
        for change in part["differences"]:
            found[change["reward"], part["mode"], change["of"]] = change
    return found


def interval(change):  # in points; a right answer scores 2.0
    return f"{50 * change['difference']['low']:+.1f} to {50 * change['difference']['high']:+.1f}"


def arrow(change, form):
    return " → ".join(form.format(mean) for mean in change["means"])


print(facts(), "\n")
HEAD = ["seed", "config", "right, greedy", "right, sampled", "gated less plain, sampled"]
HEAD += [*LAYOUT, "all four", *(f"steps {first} to {last}" for first, last in STEPS)]
table = [HEAD, ["---"] * len(HEAD)]
NAMES = ("quickstart", "quickstart-gated")
for run in [FOLDER / f"{name}-{seed}" for seed in (42, 1, 2) for name in NAMES]:
    row = run.name.rsplit("-", 1)[::-1]
    found = compare(before=(run, "before"), after=(run, "after"))
    for mode in ("greedy", "sampled"):
        rights, scores = found[CORRECT, mode, "right"], found[CORRECT, mode, "mean"]
        row.append(f"{arrow(rights, '{:.1%}')} ({interval(scores)})")
    against = compare(before=(FOLDER / f"quickstart-{row[0]}", "after"), after=(run, "after"))
    row.append(interval(against[CORRECT, "sampled", "mean"]) if "gated" in row[1] else "")
    row += [arrow(found[name, "sampled", "mean"], "{:.2f}") for name in (*LAYOUT, "layout")]
    steps = pd.concat(map(pd.read_parquet, (run / "rollouts/train").iterdir()))
    row += [
        f"{steps[steps.step.between(*each)][REWARD + CORRECT].mean() / 2:.1%}" for each in STEPS
    ]
    table.append(row)
for part in (slice(2, 5), slice(5, 10), slice(10, None)):
    print(*(f"| {' | '.join(row[:2] + row[part])} |" for row in table), "", sep="\n")
