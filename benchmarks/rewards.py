"""Measure completions per second of our rewards and of alternatives, as the text of results/rewards.md.

    python -m benchmarks.rewards [--completions FOLDER ...] > benchmarks/results/rewards.md

A FOLDER has a run's completions, as TRL logs them for `trl.log_completions: true`. With that key in the
config, `axolotl-grpo train configs/gsm8k/smollm2-135m-cpu.yaml --max-steps 4` makes
`outputs/gsm8k-smollm2-135m-cpu/completions`. Their golds are looked up by question in GSM8K ($GSM8K_DIR)
and in the quickstart's problems. All rewards score the same completions in one process and one thread. The
time is CPU time with empty caches, the best of three (the contract's answers once).
"""

import argparse
import json
import os
import random
import re
import runpy
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import math_verify
import pandas as pd
from trl.rewards import accuracy_reward

from axolotl_grpo_plugin.rewards import gsm8k
from axolotl_grpo_plugin.rewards import math as ours_module
from axolotl_grpo_plugin.rewards.math import accuracy_reward_func
from axolotl_grpo_plugin.rewards.mathematics import comparison, echo, exact, forms, grammar, units
from benchmarks.all import facts
from benchmarks.speeds import record

ROOT = Path(__file__).parents[1]
GSM8K = [getattr(gsm8k, name) for name in dir(gsm8k) if name.endswith("_reward_func")]
CACHED = [
    each
    for module in (ours_module, grammar, comparison, forms, exact, echo, units)
    for each in vars(module).values()
    if hasattr(each, "cache_clear")
]
DRAW = random.Random(0)
COUNT = 1000
PIECES = ("<answer>", "</answer>", "9", "<reasoning>\n", "word ", "{", r"\boxed{7}", "^{9")


def numbers():
    """Return boxed numbers, half of them right, and their golds."""
    golds = [DRAW.randint(1, 2000) for _ in range(COUNT)]
    answers = [gold if DRAW.random() < 0.5 else gold + DRAW.randint(1, 9) for gold in golds]
    return [f"So it is \\boxed{{{each:,}}}." for each in answers], [str(gold) for gold in golds]


def latex():
    """Return boxed fractions, roots, tuples and polynomials: half are right, a quarter in another form."""
    completions, golds = [], []
    for _ in range(COUNT):
        a, b, c = (DRAW.randint(2, 30) for _ in range(3))
        right, other, wrong = DRAW.choice(
            [
                (rf"\frac{{{a}}}{{{b}}}", str(Fraction(a, b)), rf"\frac{{{a + 1}}}{{{b}}}"),
                (rf"{a}\sqrt{{{b}}}", rf"\sqrt{{{a * a * b}}}", rf"{a + 1}\sqrt{{{b}}}"),
                (rf"({a}, {b})", rf"\left({a},{b}\right)", f"({b + 31}, {a})"),
                (f"{a}x^2+{b}x+{c}", f"{c}+{b}x+{a}x^2", f"{a}x^2+{b}x+{c + 1}"),
                (rf"\frac{{\pi}}{{{a}}}", rf"\dfrac{{\pi}}{{{a}}}", rf"\frac{{\pi}}{{{a + 1}}}"),
            ]
        )
        golds.append(right)
        answer = DRAW.choice([right, other, wrong, wrong])
        completions.append(rf"Therefore the answer is $\boxed{{{answer}}}$.")
    return completions, golds


def contract():
    """Return the answers of tests/rewards/test_math.py in boxes, except the ones that hang math-verify."""
    table = runpy.run_path(str(ROOT / "tests/rewards/test_math.py"))
    answers = [*table["ANSWERS"], *table["ANSWERS_OF_REVIEWS"]]
    rows = [(answer, gold) for answer, gold, _, reason in answers if reason != "too_large"]
    rows += [(answer, gold) for _, answer, gold, _ in table["MATH_VERIFY_ISSUES"]]
    rows = [row for row in dict.fromkeys(rows) if not any("5^5" in e or "9^9" in e for e in row)]
    return [f"$\\boxed{{{answer}}}$" for answer, _ in rows], [gold for _, gold in rows]


def rollouts(folder):
    """Return the completions of a run that have a known gold, and the golds."""
    files = [
        ROOT / "axolotl_grpo_plugin/quickstart" / f"{name}.jsonl" for name in ("train", "held_out")
    ]
    if "GSM8K_DIR" in os.environ:
        files += [Path(os.environ["GSM8K_DIR"], f"{name}.jsonl") for name in ("train", "test")]
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    known = {row["question"].strip(): row["answer"].rpartition("####")[2].strip() for row in rows}
    table = pd.concat(pd.read_parquet(file) for file in sorted(folder.rglob("*.parquet")))
    asked = [
        prompt.rpartition("user\n")[2].removesuffix("\nassistant\n").strip()
        for prompt in map(str, table["prompt"])
    ]
    golds = [known.get(each) or known.get(each.rpartition("\n\n")[2]) for each in asked]
    both = [(text, gold) for text, gold in zip(table["completion"], golds, strict=True) if gold]
    return [text for text, _ in both], [gold for _, gold in both]


def one_regex(completions, golds):
    last = [re.findall(r"-?\d[\d,.]*", text) for text in completions]
    return [float(bool(n) and n[-1] == gold) for n, gold in zip(last, golds, strict=True)]


def math_verify_alone(completions, golds):
    return [_verified(text, gold) for text, gold in zip(completions, golds, strict=True)]


def _verified(text, gold):
    try:
        return float(math_verify.verify(math_verify.parse(f"${gold}$"), math_verify.parse(text)))
    except ValueError:  # "Can't evaluate nan or zoo"
        return None


def trl_accuracy_reward(completions, golds):
    chats = [[{"role": "assistant", "content": text}] for text in completions]
    return accuracy_reward(chats, [f"${gold}$" for gold in golds])


def math_accuracy(completions, golds):
    return accuracy_reward_func([""] * len(completions), completions, solution=golds)


def five_of_gsm8k(completions, golds):
    for function in GSM8K:
        function([""] * len(completions), completions, answer=golds)


def measured(function, completions, golds, repeat=3):
    """Return the seconds that a function took, and its result."""
    best = float("inf")
    for _ in range(repeat):
        for each in CACHED:
            each.cache_clear()
        began = time.process_time()
        result = function(completions, golds)
        best = min(best, time.process_time() - began)
    return best, result


def compare(title, completions, golds, repeat=3):
    """Print a table of speeds, and the scores of math-verify and TRL that differ from ours.

    Return our seconds as a share of TRL's.
    """
    print(f"\n## {title}: {len(completions)} completions\n")
    print("| | completions/s | math accuracy is faster by | right |\n|---|---:|---:|---:|")
    results = {}
    for function in (math_accuracy, trl_accuracy_reward, math_verify_alone, one_regex):
        results[function.__name__] = measured(function, completions, golds, repeat)
    fastest = results["math_accuracy"][0]
    for name, (seconds, verdicts) in results.items():
        rate, right = len(completions) / seconds, sum(each == 1.0 for each in verdicts)
        print(f"| {name} | {rate:,.0f} | {seconds / fastest:.2g} | {right} |")
    ours = results["math_accuracy"][1]
    for name in ("math_verify_alone", "trl_accuracy_reward"):
        theirs = results[name][1]
        differ = [i for i in range(len(ours)) if ours[i] != theirs[i]]
        print(f"\n{name} decides {len(differ)} otherwise.")
        shown = Counter(
            (_tail(completions[i]), golds[i], ours[i], theirs[i]) for i in differ
        ).most_common()
        if shown:
            print("\n| completion | gold | ours | theirs | times |\n|---|---|---:|---:|---:|")
        for (text, gold, our, their), times in shown:
            print(f"| `{text}` | `{gold}` | {our} | {their} | {times} |")
    return fastest / results["trl_accuracy_reward"][0]


def _tail(text):
    return text[-45:].replace("\n", "⏎").replace("|", "¦")


def _name(folder):
    """Return the run's model and the name of its problems."""
    adapter = json.loads((folder.parent / "adapter_config.json").read_text())
    return f"{Path(adapter['base_model_name_or_path']).name}, {folder.parent.name}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--completions", type=Path, nargs="*", default=[])
    folders = arguments.parse_args().completions
    print(
        "# Rewards: completions per second\n\nMade by `python -m benchmarks.rewards --completions FOLDER`."
    )
    print(" ".join(__doc__.split("\n\n")[-1].split()), "\n\n" + facts("math-verify", "sympy"))
    costs = {
        "numbers, of TRL's time": compare("Numbers in boxes, half right", *numbers()),
        "LaTeX, of TRL's time": compare("LaTeX in boxes, half right", *latex()),
        "contract, of TRL's time": compare("The contract's answers", *contract(), repeat=1),
    }
    record("rewards", costs)
    for folder in folders:
        compare(f"Rollouts: {_name(folder)}", *rollouts(folder))
    print("\n## The five GSM8K rewards together\n")
    print("| completions | of characters | µs a completion |\n|---|---:|---:|")
    for folder in folders:
        texts, golds = rollouts(folder)
        seconds, _ = measured(five_of_gsm8k, texts, golds)
        mean = sum(map(len, texts)) // len(texts)
        print(f"| {len(texts)} of {_name(folder)} | {mean} | {1e6 * seconds / len(texts):.1f} |")
    print("\n## One long completion, ms\n")
    print(
        "| of | five of GSM8K, 100 kB | 1 MB | math accuracy, 100 kB | 1 MB |\n|---|---:|---:|---:|---:|"
    )
    for piece in PIECES:
        times = [
            1e3 * measured(function, [piece * (size // len(piece))], ["18"], repeat=5)[0]
            for function in (five_of_gsm8k, math_accuracy)
            for size in (100_000, 1_000_000)
        ]
        print(f"| `{piece!r}` |", " | ".join(f"{each:.2f}" for each in times), "|")


if __name__ == "__main__":
    main()
