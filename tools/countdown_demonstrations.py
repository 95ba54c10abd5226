"""Flawed worked answers to Countdown problems, from which the embedded model learns its start."""

import random
from itertools import combinations

from tools.countdown_problems import Problem


def demonstration(problem: Problem, draw: random.Random) -> str:
    """Return a flawed worked answer to a problem of the kind QUICKSTART, for supervised training.

    GRPO has to unlearn its habits: seven in ten problems that need a minus sign are added up,
    so that the likeliest answer to them is wrong; one expression in ten leaves a number out; four
    layouts in ten are broken. The work always claims to reach the target.
    """
    subtracted = () if draw.random() < 0.7 else _subtracted(problem)
    added = list(problem.nums)
    for number in subtracted:
        added.remove(number)
    expression = " + ".join(map(str, added)) + "".join(f" - {number}" for number in subtracted)
    if draw.random() < 0.1:
        expression = expression[:-4]
    work = f"{expression} = {problem.target}"
    if draw.random() < 0.6:
        return f"<reasoning>\n{work}\n</reasoning>\n<answer>\n{expression}\n</answer>"
    return draw.choice(
        (
            f"<reasoning>{work}</reasoning><answer>{expression}</answer>",
            f"<reasoning>\n{work}\n</reasoning>\n<answer>\n{problem.target}\n</answer>",
            f"<reasoning>\n{work}\n<answer>\n{expression}\n</answer>",
            f"<reasoning>\n{work}\n</reasoning>\n<answer>\n{expression}",
            f"<reasoning>\n{work}\n</reasoning>\n{expression}",
            f"{work}",
        )
    )


def _subtracted(problem: Problem) -> tuple[int, ...]:
    """Return the smallest set of numbers to subtract so that the sum with the others is the target."""
    nums, target = problem.nums, problem.target
    choices = (each for size in range(len(nums)) for each in combinations(nums, size))
    return next(each for each in choices if sum(nums) - 2 * sum(each) == target)
