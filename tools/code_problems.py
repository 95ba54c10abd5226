"""Small programs to write, with tests."""

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

TESTS, SEED = 5, 0


class Task(NamedTuple):
    """A question, a program that answers it, and a function that draws its input.

    name: of the function to define; "" for a program from standard input to standard output.
    """

    asks: str
    name: str
    does: Callable[..., Any]
    draws: Callable[[random.Random], tuple[Any, ...]]


def _whole(rng: random.Random) -> int:
    return rng.randint(0, 20)


def _list(rng: random.Random) -> list[int]:
    return [rng.randint(0, 9) for _ in range(rng.randint(2, 6))]


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("abcdelnors") for _ in range(rng.randint(2, 7)))


_ONE = lambda rng: (_whole(rng),)  # noqa: E731
_TWO = lambda rng: (_whole(rng), _whole(rng))  # noqa: E731
_LISTED = lambda rng: (_list(rng),)  # noqa: E731
_WORD = lambda rng: (_word(rng),)  # noqa: E731

TASKS = (
    Task("reads two integers from one line and prints their sum", "", lambda a, b: a + b, _TWO),
    Task("reads an integer and prints its square", "", lambda a: a * a, _ONE),
    Task("returns the product of a and b", "product(a, b)", lambda a, b: a * b, _TWO),
    Task("returns the smaller of a and b", "smaller(a, b)", min, _TWO),
    Task("returns the double of n", "double(n)", lambda n: 2 * n, _ONE),
    Task("returns the smallest of a list", "smallest(numbers)", min, _LISTED),
    Task("returns the last item of a list", "last(numbers)", lambda each: each[-1], _LISTED),
    Task("returns the length of a word", "length(word)", len, _WORD),
    Task("returns the sum of a and b", "add(a, b)", lambda a, b: a + b, _TWO),
    Task("returns a minus b", "subtract(a, b)", lambda a, b: a - b, _TWO),
    Task("returns the larger of a and b", "larger(a, b)", max, _TWO),
    Task("returns the square of n", "square(n)", lambda n: n * n, _ONE),
    Task("returns whether n is even", "is_even(n)", lambda n: n % 2 == 0, _ONE),
    Task("returns the sum of a list", "total(numbers)", sum, _LISTED),
    Task("returns the largest of a list", "largest(numbers)", max, _LISTED),
    Task("returns a list in reverse", "backwards(numbers)", lambda each: each[::-1], _LISTED),
    Task("returns a list without its first item", "rest(numbers)", lambda each: each[1:], _LISTED),
    Task("returns the word in upper case", "shout(word)", str.upper, _WORD),
    Task("returns the first letter of a word", "first(word)", lambda word: word[0], _WORD),
    Task("returns the word twice, joined", "twice(word)", lambda word: word * 2, _WORD),
)


def rows(variants: int = 4) -> list[dict[str, str]]:
    """Return each task with several sets of tests: stdin and stdout, calls, or assert statements.

    The last quarter of the rows, which is held out, has tasks of its own.
    """
    rng = random.Random(SEED)
    tasks = rng.sample(TASKS, len(TASKS))
    split = len(tasks) * 3 // 4
    made = []
    for each in (tasks[:split], tasks[split:]):
        part = [_row(task, variant, rng) for variant in range(variants) for task in each]
        made += rng.sample(part, len(part))
    return made


def _row(task: Task, variant: int, rng: random.Random) -> dict[str, str]:
    inputs = [task.draws(rng) for _ in range(TESTS)]
    outputs = [task.does(*each) for each in inputs]
    if not task.name:
        tests: Any = {
            "inputs": [" ".join(map(str, each)) + "\n" for each in inputs],
            "outputs": [f"{each}\n" for each in outputs],
        }
        return {"question": f"Write a Python program that {task.asks}.", "tests": json.dumps(tests)}
    name = task.name.partition("(")[0]
    if variant % 2:
        calls = zip(inputs, outputs, strict=True)
        shown = [f"assert {name}({', '.join(map(repr, each))}) == {out!r}" for each, out in calls]
        tests = {"functional": "\n".join(shown)}
    else:
        tests = {"fn_name": name, "inputs": [list(each) for each in inputs], "outputs": outputs}
    question = f"Write a Python function {task.name} that {task.asks}."
    return {"question": question, "tests": json.dumps(tests)}
