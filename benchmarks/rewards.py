"""Completions a second of each reward, beside what else there is: `python benchmarks/rewards.py [--completions DIR]`.

DIR holds a run's completions (`trl.log_completions`) or rollouts on GSM8K; without it the worked answers
of problems like GSM8K's are taken. One thread, the same completions for all, the best of three.
"""

import argparse
import random
import re
import time
from fractions import Fraction
from pathlib import Path

import math_verify
import pandas as pd
from trl.rewards import accuracy_reward

from axolotl_grpo_plugin.rewards import gsm8k
from axolotl_grpo_plugin.rewards.math import accuracy_reward_func

GSM8K = [getattr(gsm8k, name) for name in dir(gsm8k) if name.endswith("_reward_func")]
DRAW = random.Random(0)
COUNT = 1000


def numbers():
    """Boxed numbers, half of them right."""
    golds = [DRAW.randint(1, 2000) for _ in range(COUNT)]
    said = [gold if DRAW.random() < 0.5 else gold + DRAW.randint(1, 9) for gold in golds]
    return [f"So it is \\boxed{{{each:,}}}." for each in said], [str(gold) for gold in golds]


def latex():
    """Fractions, roots, tuples and polynomials, boxed; half right, of those half in another form."""
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
        said = DRAW.choice([right, other, wrong, wrong])
        completions.append(rf"Therefore the answer is $\boxed{{{said}}}$.")
    return completions, golds


def rollouts(folder):
    """Real ones, with the number of the worked answer as gold where no column has it."""
    if folder:
        table = pd.concat(pd.read_parquet(file) for file in sorted(Path(folder).rglob("*.parquet")))
        golds = table.get("column/answer")
        return list(table["completion"]), list(golds) if golds is not None else ["18"] * len(table)
    golds = [str(DRAW.randint(1, 999)) for _ in range(COUNT)]
    work = "First we add the two numbers, and then take away what was given.\n" * 3
    layout = "<reasoning>\n{}</reasoning>\n<answer>\n{}\n</answer>"
    return [layout.format(work, gold) for gold in golds], golds


def plain_math_verify(completions, golds):
    return [
        float(math_verify.verify(math_verify.parse(f"${gold}$"), math_verify.parse(text)))
        for text, gold in zip(completions, golds, strict=True)
    ]


def one_regex(completions, golds):
    last = [re.findall(r"-?\d[\d,.]*", text) for text in completions]
    return [float(bool(n) and n[-1] == gold) for n, gold in zip(last, golds, strict=True)]


def trls(completions, golds):
    chats = [[{"role": "assistant", "content": text}] for text in completions]
    return accuracy_reward(chats, [f"${gold}$" for gold in golds])


def ours(completions, golds):
    return accuracy_reward_func([""] * len(completions), completions, solution=golds)


def all_gsm8k(completions, golds):
    for function in GSM8K:
        function([""] * len(completions), completions, answer=golds)


def rate(function, completions, golds):
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        result = function(completions, golds)
        best = min(best, time.perf_counter() - began)
    return len(completions) / best, result


def compare(title, completions, golds):
    print(f"\n{title}: {len(completions)} completions")
    verdicts = {}
    for function in (one_regex, trls, plain_math_verify, ours):
        speed, verdicts[function] = rate(function, completions, golds)
        right = sum(each or 0.0 for each in verdicts[function])
        print(f"  {function.__name__:20} {speed:12,.0f} /s   {right:5.0f} right")
    differ = [i for i, each in enumerate(verdicts[ours]) if each != verdicts[plain_math_verify][i]]
    print(f"  ours and math-verify differ on {len(differ)}")
    for i in differ[:8]:
        print(f"    {completions[i][-60:]!r} gold {golds[i]!r}: ours {verdicts[ours][i]}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--completions", type=Path)
    real, golds = rollouts(arguments.parse_args().completions)
    compare("numbers", *numbers())
    compare("LaTeX", *latex())
    print(f"\nthe five GSM8K rewards together: {len(real)} completions")
    speed, _ = rate(all_gsm8k, real, golds)
    print(f"  {1e6 / speed:.1f} µs a completion of {sum(map(len, real)) // len(real)} characters")
    for size in (100_000, 1_000_000):
        for piece in ("<answer>", "</answer>", "9", "<reasoning>\n", "word "):
            text = piece * (size // len(piece))
            times = [1e3 / rate(function, [text], ["18"])[0] for function in (all_gsm8k, ours)]
            print(
                f"  {size:9,} characters of {piece!r:14}: {times[0]:6.2f} ms; math {times[1]:6.2f} ms"
            )


if __name__ == "__main__":
    main()
