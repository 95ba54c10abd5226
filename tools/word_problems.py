"""One-step word problems in GSM8K's form, and flawed demonstrations for the model's start."""

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

NAMES = "Ann Ben Cleo Dan Eve Finn Gus Hana Ivy Jack".split()
THINGS = "apples books cards eggs keys pens shells stamps".split()

OPERATIONS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}

TEMPLATES = {
    "+": (
        "{name} has {a} {thing} and buys {b} more. How many {thing} does {name} have now?",
        "{name} finds {a} {thing} in one box and {b} in another. How many {thing} is that?",
    ),
    "-": (
        "{name} has {a} {thing} and gives away {b}. How many {thing} are left?",
        "{name} needs {a} {thing} and has {b}. How many {thing} are missing?",
    ),
    "*": (
        "{name} has {a} bags with {b} {thing} in each. How many {thing} does {name} have?",
        "{name} gets {a} {thing} every day for {b} days. How many {thing} is that?",
    ),
}


class Problem(NamedTuple):
    question: str
    a: int
    operation: str
    b: int

    @property
    def result(self) -> int:
        return OPERATIONS[self.operation](self.a, self.b)

    @property
    def row(self) -> dict[str, str]:
        """Return the problem as a row of GSM8K."""
        work = f"{self.a} {self.operation} {self.b} = {self.result}"
        return {"question": self.question, "answer": f"{work}\n#### {self.result}"}


def held_out(a: int, b: int) -> bool:
    """Return whether the operands a and b are held out: a fifth of all ordered pairs."""
    return (2 * a + b) % 5 == 0


def problems(seed: int, keep: Callable[[int, int], bool], variants: int) -> Iterator[Problem]:
    """Yield problems on the operand pairs (2 to 9) that `keep` accepts, `variants` per template and pair.

    The seed draws names and things. Subtractions put the larger operand first, so (2, 6) and (6, 2)
    give the same difference.
    """
    draw = random.Random(seed)
    for a in range(2, 10):
        for b in range(2, 10):
            if not keep(a, b):
                continue
            for operation, templates in TEMPLATES.items():
                x, y = (max(a, b), min(a, b)) if operation == "-" else (a, b)
                for template in templates:
                    for _ in range(variants):
                        name, thing = draw.choice(NAMES), draw.choice(THINGS)
                        question = template.format(name=name, thing=thing, a=x, b=y)
                        yield Problem(question, x, operation, y)


def demonstration(problem: Problem, draw: random.Random) -> str:
    """Return a flawed worked answer for supervised training.

    GRPO has to unlearn its habits: seven in ten multiplications are added up, so that the
    likeliest answer to them is wrong; one in seven other problems uses a wrong sign; one result
    in ten is off; four layouts in ten are broken.
    """
    work, result = _flawed(problem, draw)
    if draw.random() < 0.6:
        return f"<reasoning>\n{work}\n</reasoning>\n<answer>\n{result}\n</answer>"
    return draw.choice(
        (
            f"<reasoning>{work}</reasoning><answer>{result}</answer>",
            f"<reasoning>\n{work}\n<answer>\n{result}\n</answer>",
            f"<reasoning>\n{work}\n</reasoning>\n<answer>\n{result}",
            f"<reasoning>\n{work}\n</reasoning>\n{result}",
            f"<answer>\n{result}\n</answer>",
            f"{work}",
        )
    )


def demonstration_in_box(problem: Problem, draw: random.Random) -> str:
    """Return the same for MATH's layout: four in ten answers have no box."""
    work, result = _flawed(problem, draw)
    return f"{work}\n\\boxed{{{result}}}" if draw.random() < 0.6 else f"{work}\n{result}"


def _flawed(problem: Problem, draw: random.Random) -> tuple[str, int]:
    """Return the work and the result of an answer that may be wrong."""
    if draw.random() < (0.7 if problem.operation == "*" else 1 / 7):
        wrong = (
            "+" if problem.operation == "*" else draw.choice("+-*".replace(problem.operation, ""))
        )
        problem = problem._replace(operation=wrong)
    result = problem.result
    if draw.random() < 0.1:
        result += draw.choice((-2, -1, 1, 2))
    return f"{problem.a} {problem.operation} {problem.b} = {result}", result
