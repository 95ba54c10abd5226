"""A mix of six domains in the form that verl, xLR and Reasoning360 write: `mix.parquet`."""

import json
import random
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as arrow
from pyarrow import parquet

from tools import code_problems

SEED, EACH = 0, 24
BOXED = r"Put the final answer within \boxed{}."
TAGGED = "Put the final answer within <answer> </answer>."
BIRDS = ("heron", "jay", "kite", "lark", "owl", "robin", "swan", "wren")
PARTICLES = {"proton": "positive", "electron": "negative", "neutron": "none"}

Problem = tuple[str, str, str]  # data_source, what is asked, ground truth


def write(file: Path) -> None:
    """Write the rows, shuffled, as Parquet with verl's nested columns."""
    made = list(rows())
    random.Random(SEED).shuffle(made)
    parquet.write_table(arrow.Table.from_pylist(made), file)


def rows(each: int = EACH) -> Iterator[dict[str, Any]]:
    """Yield `each` rows of each domain, in verl's columns."""
    rng = random.Random(SEED)
    domains = (_math, _code, _logic, _simulation, _table, _stem)
    drawn = chain.from_iterable(islice(domain(rng), each) for domain in domains)
    for index, (source, asked, truth) in enumerate(drawn):
        yield {
            "data_source": source,
            "prompt": [{"role": "user", "content": asked}],
            "ability": source.partition("__")[0],
            "reward_model": {"style": "rule", "ground_truth": truth},
            "extra_info": {"index": index, "split": "train"},
        }


def _math(rng: random.Random) -> Iterator[Problem]:
    while True:
        one, other = rng.randint(2, 12), rng.randint(2, 12)
        yield "math__products", f"What is {one} * {other}? {BOXED}", str(one * other)


def _code(rng: random.Random) -> Iterator[Problem]:
    for row in code_problems.rows():
        yield "codegen__small", f"{row['question']} Answer with one ```python block.", row["tests"]


def _logic(rng: random.Random) -> Iterator[Problem]:
    while True:
        row = rng.sample(BIRDS, 3)
        asked = (
            f"Three birds sit in a row. The {row[1]} sits right of the {row[0]}, and the {row[2]} right of "
            f"the {row[1]}. List them from left to right, as in ['ant', 'bee']. {TAGGED}"
        )
        yield "logic__ordering_puzzle", asked, json.dumps(row)


def _simulation(rng: random.Random) -> Iterator[Problem]:
    while True:
        given = [rng.randint(0, 9) for _ in range(4)]
        asked = f"def f(x):\n    return sorted(x)[::-1]\n\nWhat does f({given}) return? {TAGGED}"
        yield "simulation__codeio", asked, json.dumps(sorted(given, reverse=True))


def _table(rng: random.Random) -> Iterator[Problem]:
    while True:
        cells = {name: rng.randint(10, 99) for name in ("rye", "oats", "corn")}
        table = "\n".join(f"| {name} | {tons} |" for name, tons in cells.items())
        asked = f"| crop | tons |\n| --- | --- |\n{table}\n\nHow many tons of oats? {BOXED}"
        yield "table__crops", asked, str(cells["oats"])


def _stem(rng: random.Random) -> Iterator[Problem]:
    while True:
        particle = rng.choice(list(PARTICLES))
        charges = rng.sample(list(PARTICLES.values()), 3)
        listed = ", ".join(
            f"({letter}) {charge}" for letter, charge in zip("ABC", charges, strict=True)
        )
        asked = f"Which charge has a {particle}: {listed}? Answer with the letter. {BOXED}"
        yield "stem__particles", asked, "ABC"[charges.index(PARTICLES[particle])]
