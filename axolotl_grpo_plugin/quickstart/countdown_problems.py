"""Countdown problems made offline, and the flawed demonstrations that the tiny model starts from."""

import operator
import random
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

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
    def row(self) -> dict[str, object]:
        """As a row of Jiayi-Pan/Countdown-Tasks-3to4."""
        return {"target": self.target, "nums": list(self.nums)}


# The size of Jiayi-Pan/Countdown-Tasks-3to4's problems, for `axolotl grpo fetch countdown`.
STANDARD = Kind(sizes=(3, 4), largest=99, operators="+-*/", targets=range(10, 100))
# What a model of 0.6 million parameters can do.
QUICKSTART = Kind(sizes=(3,), largest=9, operators="+-", targets=range(1, 25))


def held_out(nums: Sequence[int]) -> bool:
    """Whether the problems of these numbers, in any order, are held out: a fifth of all."""
    return sum(number * number for number in nums) % 5 == 0


def splits(kind: Kind, seed: int, train: int, test: int) -> tuple[list[Problem], list[Problem]]:
    """That many distinct problems to train and to test on; no numbers of one occur in the other.

    kind must have as many, for they are drawn until they are found.
    """
    return (
        list(islice(_distinct(problems(kind, seed), held=False), train)),
        list(islice(_distinct(problems(kind, seed + 1), held=True), test)),
    )


def _distinct(drawn: Iterator[Problem], held: bool) -> Iterator[Problem]:
    seen = set()
    for problem in drawn:
        key = (*sorted(problem.nums), problem.target)
        if held_out(problem.nums) == held and key not in seen:
            seen.add(key)
            yield problem


def problems(kind: Kind, seed: int) -> Iterator[Problem]:
    """Problems without end, each with the value of a random expression as its target.

    >>> next(problems(STANDARD, 0)).solution
    ''
    """
    draw = random.Random(seed)
    while True:
        nums = tuple(draw.randint(1, kind.largest) for _ in range(draw.choice(kind.sizes)))
        value, solution = _expression(nums, kind.operators, draw)
        if value.denominator == 1 and int(value) in kind.targets:
            yield Problem(nums, int(value), solution)


def _expression(
    nums: Sequence[int], operators: str, draw: random.Random
) -> tuple[Fraction, str]:
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
