"""Make Countdown problems offline."""

import json
import operator
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import islice
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
    """A kind of problem: how many numbers, from 1 to `largest`, with which operators and targets."""

    sizes: tuple[int, ...]
    largest: int
    operators: str
    targets: range


class Problem(NamedTuple):
    nums: tuple[int, ...]
    target: int
    solution: str  # one of several

    @property
    def row(self) -> dict[str, Any]:
        """Return the problem as a row of Jiayi-Pan/Countdown-Tasks-3to4."""
        return {"target": self.target, "nums": list(self.nums)}


# The size of Jiayi-Pan/Countdown-Tasks-3to4's problems.
STANDARD = Kind(sizes=(3, 4), largest=99, operators="+-*/", targets=range(10, 100))
# Easy enough for the embedded model of 0.6 million parameters.
QUICKSTART = Kind(sizes=(3,), largest=9, operators="+-", targets=range(1, 25))


def write(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, and make the folder if needed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def held_out(nums: Sequence[int]) -> bool:
    """Return whether problems with these numbers, in any order, are held out: a fifth of all."""
    return sum(number * number for number in nums) % 5 == 0


def splits(kind: Kind, seed: int, train: int, test: int) -> tuple[list[Problem], list[Problem]]:
    """Return distinct problems to train and to test on. No set of numbers occurs in both.

    Raises: ValueError if the kind has fewer problems.
    """
    return _distinct(kind, seed, train, held=False), _distinct(kind, seed + 1, test, held=True)


def _distinct(kind: Kind, seed: int, count: int, held: bool) -> list[Problem]:
    found: dict[tuple[tuple[int, ...], int], Problem] = {}
    for problem in islice(problems(kind, seed), 100 * count):
        if len(found) == count:
            return list(found.values())
        if held_out(problem.nums) == held:
            found.setdefault((problem.nums, problem.target), problem)
    raise ValueError(f"{kind}: found fewer than {count} different problems. Ask for fewer.")


def problems(kind: Kind, seed: int) -> Iterator[Problem]:
    """Yield random problems endlessly. The target is the value of a random expression of the numbers.

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
    """Return the value and text of a random expression. It joins two random parts at a time."""
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
