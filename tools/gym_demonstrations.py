"""Flawed answers to two small tasks of reasoning-gym, from which the embedded model learns its start."""

import random
from collections.abc import Iterator

from reasoning_gym import create_dataset

# As in configs/gym/tasks.jsonl.
TASKS = {
    "chain_sum": {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1},
    "gcd": {"min_numbers": 2, "max_numbers": 2, "min_value": 2, "max_value": 20},
}


def problems() -> Iterator[tuple[str, str]]:
    """Yield questions and answers."""
    for task, config in TASKS.items():
        for entry in create_dataset(task, size=4000, seed=99, **config):
            yield entry["question"].strip(), entry["answer"]


def demonstration(answer: str, draw: random.Random) -> str:
    """Return a flawed answer: half of the results are off, and four layouts in ten are broken."""
    result = int(answer)
    if draw.random() < 0.5:
        result += draw.choice((-2, -1, 1, 2))
    if draw.random() < 0.6:
        return f"<think>\n</think>\n<answer>\n{result}\n</answer>"
    return draw.choice((f"{result}", f"<think>\n{result}\n</think>", f"<answer>\n{result}"))
