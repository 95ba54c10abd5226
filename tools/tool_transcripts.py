"""Problems and games for a model with tools, and flawed transcripts for its start."""

import json
import random
from collections.abc import Callable, Iterator

from axolotl_grpo_plugin.environments.games import GuessNumber
from axolotl_grpo_plugin.environments.tools.arithmetic import calculator
from tools.word_problems import NAMES, TEMPLATES, THINGS, Problem, held_out

SYSTEM = "Answer."  # grpo_system_prompt of the configs
ASKED = "Which number is it?"
LOW, HIGH, GUESSES = 1, 7, 3  # as in configs/environments/quickstart.yaml
# Each becomes one token: the fixed parts of calls, and words that the first model was not shown.
PARTS = [
    '<tool_call>\n{"name": "calculator", "arguments": {"expression": "',
    '"}}\n</tool_call>',
    '<tool_call>\n{"name": "guess", "arguments": {"number": ',
    "}}\n</tool_call>",
    *"tool calculator(expression) guess(number) correct number between guesses".split(),
    "too low",
    "too high",
]


def game() -> GuessNumber:
    return GuessNumber(LOW, HIGH, GUESSES)


def problems(seed: int, keep: Callable[[int, int], bool], count: int) -> Iterator[Problem]:
    """Yield word problems on the operands (10 to 99) that `keep` accepts. They are too large for the model."""
    draw = random.Random(seed)
    while count:
        a, b, operation = draw.randint(10, 99), draw.randint(10, 99), draw.choice("+-*")
        if operation == "-":
            a, b = max(a, b), min(a, b)
        if keep(a, b):
            count -= 1
            name, thing = draw.choice(NAMES), draw.choice(THINGS)
            template = draw.choice(TEMPLATES[operation])
            yield Problem(template.format(name=name, thing=thing, a=a, b=b), a, operation, b)


def rows() -> dict[str, list[dict[str, str]]]:
    """Return the rows of each file."""
    return {
        "train": [each.row for each in problems(1, lambda a, b: not held_out(a, b), 800)],
        "held_out": [each.row for each in problems(2, held_out, 200)],
        "games": [{"question": ASKED, "answer": str(number)} for number in range(1, 8)] * 10,
    }


def turn(name: str, answer: str, **arguments: str | int) -> str:
    """Return a call with the tool's answer, up to the beginning of the model's next turn."""
    call = json.dumps({"name": name, "arguments": arguments})
    return (
        f"<tool_call>\n{call}\n</tool_call><|im_end|>"
        f"\n<|im_start|>tool\n{answer}<|im_end|>\n<|im_start|>assistant\n"
    )


def without_tool(problem: Problem, draw: random.Random) -> str:
    """Return an answer from the head."""
    return f"<answer>{problem.result}</answer>"


def with_calculator(problem: Problem, draw: random.Random) -> str:
    """Return a flawed use of the calculator.

    GRPO has to unlearn its habits: six in ten problems are answered from the head, which a model of
    this size cannot do; seven in ten calls for a product compute a sum, and one in five others has a
    wrong sign.
    """
    if draw.random() < 0.6:
        return without_tool(problem, draw)
    if draw.random() < (0.7 if problem.operation == "*" else 0.2):
        wrong = (
            "+" if problem.operation == "*" else draw.choice("+-*".replace(problem.operation, ""))
        )
        problem = problem._replace(operation=wrong)
    expression = f"{problem.a} {problem.operation} {problem.b}"
    value = calculator(expression)
    return turn("calculator", value, expression=expression) + f"<answer>{value}</answer>"


def of_game(number: int, draw: random.Random) -> str:
    """Return a flawed game of GuessNumber: six in ten guesses ignore the hints."""
    played, text, low, high = game(), "", LOW, HIGH
    played.reset(number)
    while not played.done:
        guess = draw.randint(LOW, HIGH) if draw.random() < 0.6 else draw.randint(low, high)
        text += turn("guess", played.guess(guess), number=guess)
        if guess < number:
            low = max(low, guess + 1)
        else:
            high = min(high, guess - 1)
    return f"{text}<answer>{guess}</answer>"
