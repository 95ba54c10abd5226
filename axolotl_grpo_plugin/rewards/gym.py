"""The reward for reasoning-gym's tasks. Its scorers run in a sandbox, because some execute the answer.

By default, only full credit of a scorer counts. Three scorers give full credit to wrong answers, and two
execute arithmetic: this module scores their tasks itself. Other scorers skip text that they cannot read, so
the whole answer must match `_FORMS` or the words of the gold answer.
"""

import ast
import os
import re
import warnings
from fractions import Fraction
from functools import cache
from importlib.util import find_spec
from math import isclose
from typing import NamedTuple

from axolotl_grpo_plugin.completions import find_answer, read_number
from axolotl_grpo_plugin.reward import Row, Score, reward
from axolotl_grpo_plugin.rewards.countdown import equation_reward_func
from axolotl_grpo_plugin.rewards.mathematics.values import read_object
from axolotl_grpo_plugin.sandbox import Limits, Sandbox

INSTALL = "reasoning-gym is not installed. pip install reasoning-gym==0.1.25"
_PROBABILITY = re.compile(r"[0-9]{0,30}\.?[0-9]{1,30}|[0-9]{1,30}/[1-9][0-9]{0,30}")
LONGEST_ANSWER = 10_000  # characters: far more than any gold answer
_LIMITS = Limits(seconds=3.0)

# Their scorers give full credit to a right first digit, any text, and the number without its sign.
_BY_VALUE = ("game_of_life_halting", "gsm_symbolic")
_ARITHMETIC = ("countdown", "puzzle24")
# Their scorers evaluate the answer as a Python list, or let sympy evaluate it.
_EVALUATED = ("binary_matrix", "n_queens", "spiral_matrix", "string_insertion")
_SYMBOLIC = ("intermediate_integration", "polynomial_multiplication", "simple_integration")
_FORMULA = re.compile(r"[A-Za-z0-9+\-*/^(),. ]+")
_ATTRIBUTE = re.compile(r"\. *[A-Za-z]")
_NAMES = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_FUNCTIONS = frozenset(
    {
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "exp",
        "log",
        "ln",
        "sqrt",
        "pi",
    }
)
# The scorer of complex_arithmetic accepts "nan" as correct.
_COMPLEX = re.compile(r"[0-9+\-ij(). ]+")

_FLOAT = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_TIME = r"\d+:\d+(?::\d+(?:\.\d+)?)?"
# The scorers of these tasks skip text that they cannot read, or ignore text after the answer.
_FORMS = {
    "advanced_geometry": rf"\(?\s*{_FLOAT}\s*(?:°|,\s*{_FLOAT}\s*\)?)?",
    "fraction_simplification": r"\$*\s*(?:\\d?frac\s*\{\s*\d+\s*\}\s*\{\s*\d+\s*\}|\d+\s*/\s*\d+)\s*\$*",
    "kakurasu": r"[01\s,|\[\]]+",
    "polynomial_equations": rf'""|{_FLOAT}(?:\s*,\s*{_FLOAT})*',
    "pool_matrix": rf"{_FLOAT}(?:\s+{_FLOAT})*",
    "propositional_logic": r"[\s(¬]*[A-Z][\s)]*(?:[∧∨→↔][\s(¬]*[A-Z][\s)]*)*",
    "quantum_lock": r"[A-Ca-c\s→>,-]+",
    "rubiks_cube": r"[^\s\d]+[1-9]?(?:\s+[^\s\d]+[1-9]?)*",
    "rush_hour": r"(?:[A-Z][-+]\d+[\s,]*)+",
    "sokoban": r"[UDLR\s,]+",
    "survo": r"[\d\s]+",
    "time_intervals": rf"(?:-?\d+ days,\s*)?{_TIME}|-?\d+(?: days?)?",
    "tower_of_hanoi": r"(?:Move disk \d+ from Peg \d+ to Peg \d+\s*)+",
}
_SAME_WORDS = ("letter_jumble", "spell_backward", "word_sorting")
_WORD = re.compile(r"\w+")

_SCRIPT = """
from reasoning_gym.factory import create_dataset
from reasoning_gym.dataset import ProceduralDataset


def main(request, channel):
    entry, answer = request["entry"], request["answer"]
    metadata = entry["metadata"]
    task = metadata["source_dataset"]
    try:
        dataset = create_dataset(task, **entry["config"])
        if task in ("arc_agi", "rearc"):  # JSON made lists of the tuples, which are not equal
            metadata["output"] = tuple(map(tuple, metadata["output"]))
    except Exception:  # reasoning-gym has no such task or option
        return channel.send({"bad_gold": True})
    if type(dataset).score_answer is ProceduralDataset.score_answer:
        return channel.send({"score": 0.0})  # the default scorer pays for a substring

    def score(text):
        try:
            return float(dataset.score_answer(text, entry))
        except Exception:  # most scorers raise if they cannot read the answer
            return None

    result = score(answer)
    if result is None and score(entry["answer"] or "") is None:
        return channel.send({"bad_gold": True})
    # Many scorers give a little credit to any text.
    nothing = [score(text) or 0.0 for text in ("", "?", "0")] if request["partial"] else [0.0]
    channel.send({"score": result or 0.0, "nothing": max(nothing)})
"""


def ready(allow_unsafe: bool = False) -> None:
    """Raise RuntimeError if reasoning-gym, or a sandbox for its scorers, is missing."""
    if find_spec("reasoning_gym") is None:
        raise RuntimeError(INSTALL)
    _sandbox(allow_unsafe, os.getpid()).run({"entry": {"metadata": {}}}, seconds=0.1)


def _quickly(
    completion: str, entry: object, partial: bool = False, allow_unsafe: bool = False
) -> Score | None:
    problem = read_entry(entry)
    if problem is None:
        return Score(None, "bad_gold")
    answer = find_answer(completion, ["tag"])
    return _score_without_task(problem, answer.text) if answer.text else Score(0.0, answer.problem)


@reward(
    range=(0.0, 1.0),
    reads="entry",
    reasons=(
        "correct",
        "partial",
        "wrong",
        "too_long",
        "not_plain",
        "time_limit",
        "crashed",
        "no_answer_tag",
        "truncated",
        "empty_answer",
        "bad_gold",
    ),
    first=_quickly,
    ready=ready,
)
def gym_reward_func(
    completion: str, entry: object, partial: bool = False, allow_unsafe: bool = False
) -> Score:
    """Return 1.0 if reasoning-gym's scorer gives full credit to the answer, else 0.0.

    The answer is the last `<answer>` after the reasoning. The score is also 0.0 if the scorer takes more than
    3 s, or if the scorer would execute the answer and the answer is not plain data or a formula. The score is
    None if `entry` is not a problem of reasoning-gym.

    Args:
        entry: {question, answer, metadata}, or its JSON text, as the transform `gym` writes it.
        partial: Also give the scorer's partial credit, if it exceeds the credit for text without content. An
            answer that contains the gold answer gets no partial credit.
        allow_unsafe: If no sandbox works, run the scorers in plain processes.

    Source: https://github.com/open-thought/reasoning-gym (Apache-2.0).

    >>> entry = {"question": "2 + 3 = ?", "answer": "5", "metadata": {"source_dataset": "chain_sum"}}
    >>> gym_reward_func([""], ["<answer>5</answer>"], entry=[entry])
    [1.0]
    """
    problem = read_entry(entry)
    answer = find_answer(completion, ["tag"]).text
    assert problem is not None and answer is not None  # `_quickly` checked this
    if not _is_plain(problem.metadata["source_dataset"], answer):
        return Score(0.0, "not_plain", answer)
    reply, ended = _sandbox(allow_unsafe, os.getpid()).call(
        {"entry": problem._asdict(), "answer": answer, "partial": partial}
    )
    if reply is None:
        return Score(0.0, "time_limit" if ended.late else "crashed", answer)
    if "bad_gold" in reply:
        return Score(None, "bad_gold", answer)
    score = reply["score"]
    if score >= 1.0:
        return Score(1.0, "correct", answer)
    has_gold = problem.answer and problem.answer in answer
    if partial and score > reply["nothing"] and not has_gold:
        return Score(score, "partial", answer)
    return Score(0.0, "wrong", answer)


class GymProblem(NamedTuple):
    """A problem of reasoning-gym.

    Attributes:
        answer: The gold answer, or None if several are right.
        config: The options of the generator.
    """

    question: str
    answer: str | None
    metadata: Row
    config: Row


def read_entry(entry: object) -> GymProblem | None:
    """Return the problem of a row's `entry`, or None. It and its `metadata` may be JSON text."""
    fields = read_object(entry)
    metadata = read_object(fields.get("metadata"))
    question, answer = fields.get("question"), fields.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str | None):
        return None
    if not isinstance(metadata.get("source_dataset"), str):
        return None
    return GymProblem(question, answer, metadata, read_object(fields.get("config")))


def _score_without_task(problem: GymProblem, answer: str) -> Score | None:
    """Return the score if it needs no scorer of reasoning-gym, else None."""
    task = problem.metadata["source_dataset"]
    gold = problem.answer or ""
    if gold and answer == gold.strip():
        return Score(1.0, "correct", answer)
    if len(answer) > LONGEST_ANSWER:
        return Score(0.0, "too_long", answer)
    if task in _BY_VALUE:
        number = read_number(answer).value
        right = number is not None and number == read_number(gold).value
    elif task == "coin_flip":
        right = _PROBABILITY.fullmatch(answer) is not None
        right = right and isclose(Fraction(answer), Fraction(gold or 0), abs_tol=1e-9)
    elif task in _ARITHMETIC:
        score = equation_reward_func.score(
            f"<answer>{answer}</answer>",
            nums=problem.metadata.get("numbers"),
            target=problem.metadata.get("target", 24),
        )
        if score.value is None:
            return Score(None, "bad_gold", answer)
        right = score.value == 1.0
    elif not _is_whole(task, answer, gold):
        right = False
    else:
        return None
    return Score(float(right), "correct" if right else "wrong", answer)


def _is_whole(task: str, answer: str, gold: str) -> bool:
    """Return whether the task's scorer reads all of the answer, with no other text around or in it."""
    words = _WORD.findall(answer.lower())
    known = _WORD.findall(gold.lower())
    if task in _SAME_WORDS:
        return words == known
    if task == "knights_knaves":
        return {*words} <= {*known, "is", "a", "an", "and"}
    if task == "time_intervals" and (":" in answer) != (":" in gold):
        return False  # the scorer reads only the first number of a date
    if task not in _FORMS:
        return True
    return re.fullmatch(_FORMS[task], answer, re.ASCII) is not None


def _is_plain(task: str, answer: str) -> bool:
    """Return whether the task's scorer can evaluate the answer without executing code."""
    if task in _EVALUATED:
        return _is_data(answer)
    if task in _SYMBOLIC:
        if not _FORMULA.fullmatch(answer) or _ATTRIBUTE.search(answer):
            return False
        return all(len(name) == 1 or name in _FUNCTIONS for name in _NAMES.findall(answer))
    return task != "complex_arithmetic" or _COMPLEX.fullmatch(answer) is not None


def _is_data(text: str) -> bool:
    """Return whether a text is a Python literal, or not Python at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a filter that raises would change the result
        try:
            ast.literal_eval(text)
        except SyntaxError:
            return True
        except (ValueError, TypeError, RecursionError, MemoryError):
            return False
    return True


@cache
def _sandbox(allow_unsafe: bool, pid: int) -> Sandbox:
    """Return the sandbox of this process. A child process needs its own, hence `pid`."""
    return Sandbox(_SCRIPT, _LIMITS, imports=["reasoning_gym"], allow_unsafe=allow_unsafe)
