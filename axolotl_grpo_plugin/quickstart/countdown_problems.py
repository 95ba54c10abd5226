"""Countdown problems made offline, and the flawed demonstrations that the tiny model starts from."""

import json
import operator
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, islice
from pathlib import Path
from typing import Any, NamedTuple

OPERATIONS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}
_BINDS = {"+": 1, "-": 1, "*": 2, "/": 2}


class Kind(NamedTuple):
    """What problems to make: how many numbers, from 1 to which, with which operators and targets."""

    sizes: tuple[int, ...]
    largest: int
    operators: str
    targets: range


class Problem(NamedTuple):
    nums: tuple[int, ...]
    target: int
    solution: str  # one of them

    @property
    def row(self) -> dict[str, Any]:
        """As a row of Jiayi-Pan/Countdown-Tasks-3to4."""
        return {"target": self.target, "nums": list(self.nums)}


# The size of Jiayi-Pan/Countdown-Tasks-3to4's problems, for `axolotl grpo fetch countdown`.
STANDARD = Kind(sizes=(3, 4), largest=99, operators="+-*/", targets=range(10, 100))
# What a model of 0.6 million parameters can do.
QUICKSTART = Kind(sizes=(3,), largest=9, operators="+-", targets=range(1, 25))


def write(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, making the folder where there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def held_out(nums: Sequence[int]) -> bool:
    """Whether the problems of these numbers, in any order, are held out: a fifth of all."""
    return sum(number * number for number in nums) % 5 == 0


def splits(kind: Kind, seed: int, train: int, test: int) -> tuple[list[Problem], list[Problem]]:
    """That many distinct problems to train and to test on; no numbers of one occur in the other.

    Raises: ValueError where kind does not have as many.
    """
    return _distinct(kind, seed, train, held=False), _distinct(kind, seed + 1, test, held=True)


def _distinct(kind: Kind, seed: int, count: int, held: bool) -> list[Problem]:
    found: dict[tuple[tuple[int, ...], int], Problem] = {}
    for problem in islice(problems(kind, seed), 100 * count):
        if len(found) == count:
            return list(found.values())
        if held_out(problem.nums) == held:
            found.setdefault((problem.nums, problem.target), problem)
    raise ValueError(f"{kind} has no {count} such problems, or they are rare")


def problems(kind: Kind, seed: int) -> Iterator[Problem]:
    """Problems without end, each with the value of a random expression as its target.

    >>> next(problems(STANDARD, 0))
    Problem(nums=(91, 86, 81, 1), target=86, solution='91 - (1 * 86 - 81)')
    """
    draw = random.Random(seed)
    while True:
        nums = tuple(draw.randint(1, kind.largest) for _ in range(draw.choice(kind.sizes)))
        value, solution = _expression(nums, kind.operators, draw)
        if value.denominator == 1 and int(value) in kind.targets:
            yield Problem(nums, int(value), solution)


def _expression(nums: Sequence[int], operators: str, draw: random.Random) -> tuple[Fraction, str]:
    """A random expression of these numbers and its value: two parts at a time become one."""
    parts = [(Fraction(number), str(number), 3) for number in nums]
    while len(parts) > 1:
        draw.shuffle(parts)
        (a, left, left_binds), (b, right, right_binds) = parts.pop(), parts.pop()
        sign = draw.choice(operators if b else operators.replace("/", ""))
        binds = _BINDS[sign]
        if left_binds < binds:
            left = f"({left})"
        if right_binds < binds or (right_binds == binds and sign in "-/"):
            right = f"({right})"
        parts.append((OPERATIONS[sign](a, b), f"{left} {sign} {right}", binds))
    value, text, _ = parts[0]
    return value, text


def demonstration(problem: Problem, draw: random.Random) -> str:
    """A flawed worked answer to a problem of `QUICKSTART`, as the warm start is shown them.

    Its habits are what GRPO has to mend: seven in ten problems that need a minus sign are added up,
    so that the likeliest answer to them is wrong; one expression in ten leaves a number out; four
    layouts in ten are broken. The work claims to make the target, whether it does or not.
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
    """The fewest of the numbers that make the target when they are subtracted, the others added."""
    nums, target = problem.nums, problem.target
    choices = (each for size in range(len(nums)) for each in combinations(nums, size))
    return next(each for each in choices if sum(nums) - 2 * sum(each) == target)
