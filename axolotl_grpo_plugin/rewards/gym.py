"""The reward for reasoning-gym's tasks: its own scorers, in a sandbox, for some of them run the answer.

What is paid is what a scorer pays in full. Three of them pay in full for nothing, and two execute arithmetic:
those are judged here instead. Others skip the text that they cannot read: their answers must have the form
of `_FORMS`, or the words of the gold one, from the first character to the last.
tests/rewards/test_gym.py has the completions with what each must score.
"""

import ast
import json
import os
import re
import warnings
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import find_answer, read_number
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.countdown import equation_reward_func
from axolotl_grpo_plugin.sandbox import Limits, Sandbox

INSTALL = 'reasoning-gym is not installed. pip install "axolotl-grpo-plugin[gym]"'
LONGEST_ANSWER = 10_000  # characters: far above any task's gold answer
_LIMITS = Limits(seconds=3.0)

# Their scorers pay in full for a first digit, any text, and the number without its sign.
_BY_VALUE = ("coin_flip", "game_of_life_halting", "gsm_symbolic")
_ARITHMETIC = ("countdown", "puzzle24")
# Of these the scorer evaluates the answer as Python (a list), or has sympy do it.
_EVALUATED = ("binary_matrix", "n_queens", "spiral_matrix", "string_insertion")
_SYMBOLIC = ("intermediate_integration", "polynomial_multiplication", "simple_integration")
_FORMULA = re.compile(r"[A-Za-z0-9+\-*/^(),. ]+")
_ATTRIBUTE = re.compile(r"\. *[A-Za-z]")
_NAMES = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc asin acos atan sinh cosh tanh exp log ln sqrt pi".split()
)
# Nearer than any other number to every one, for its scorer, is "nan".
_COMPLEX = re.compile(r"[0-9+\-ij(). ]+")

_FLOAT = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_TIME = r"\d+:\d+(?::\d+(?:\.\d+)?)?"
# The scorers of these tasks skip what they cannot read, or read on after the answer is found.
_FORMS = {
    task: re.compile(form, re.ASCII)
    for task, form in {
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
    }.items()
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
        if task in ("arc_agi", "rearc"):  # what is a tuple there is a list in JSON, and no equal
            metadata["output"] = tuple(map(tuple, metadata["output"]))
    except Exception:  # it makes no such problem
        return channel.send({"bad_gold": True})
    if type(dataset).score_answer is ProceduralDataset.score_answer:
        return channel.send({"score": 0.0})  # its own would pay for a substring

    def score(text):
        try:
            return float(dataset.score_answer(text, entry))
        except Exception:  # what a scorer cannot read it most often raises on
            return None

    found = score(answer)
    if found is None and score(entry["answer"] or "") is None:
        return channel.send({"bad_gold": True})
    # Many pay a little for anything.
    nothing = [score(text) or 0.0 for text in ("", "?", "0")] if request["partial"] else [0.0]
    channel.send({"score": found or 0.0, "nothing": max(nothing)})
"""


def ready(allow_unsafe: bool = False) -> None:
    """RuntimeError where reasoning-gym, or a sandbox for its scorers, is missing."""
    if find_spec("reasoning_gym") is None:
        raise RuntimeError(INSTALL)
    _sandbox(allow_unsafe, os.getpid()).run({"entry": {"metadata": {}}}, seconds=0.1)


def _quickly(
    completion: str, entry: Any, partial: bool = False, allow_unsafe: bool = False
) -> Score | None:
    known = read_entry(entry)
    if known is None:
        return Score(None, "bad_gold")
    found = find_answer(completion, ["tag"])
    if found.text is None:
        return Score(0.0, found.problem)
    return _judge(known, found.text)


@reward(
    range=(0.0, 1.0),
    reads="entry",
    reasons="correct partial wrong too_long not_plain time_limit crashed no_answer_tag truncated empty_answer bad_gold".split(),
    first=_quickly,
    ready=ready,
)
def gym_reward_func(
    completion: str, entry: Any, partial: bool = False, allow_unsafe: bool = False
) -> Score:
    """1.0 where reasoning-gym's scorer of the task gives that to the last `<answer>` after the reasoning, else 0.0.

    0.0 also for an answer whose scorer takes longer than 3 s, and for one that is more than data or a
    formula where the scorer would execute it. None where `entry` is none of reasoning-gym's.

    entry: {question, answer, metadata}, or its JSON text, as the transform `gym` writes it.
    partial: also pay what the scorer pays below 1.0, where that is more than it pays for no content, and not
        for an answer that contains the gold one.
    allow_unsafe: where no sandbox works, run the scorers in plain processes.

    Source: https://github.com/open-thought/reasoning-gym (Apache-2.0).

    >>> entry = {"question": "2 + 3 = ?", "answer": "5", "metadata": {"source_dataset": "chain_sum"}}
    >>> gym_reward_func([""], ["<answer>5</answer>"], entry=[entry])
    [1.0]
    """
    known, answer = read_entry(entry), find_answer(completion, ["tag"]).text
    assert known is not None and answer is not None  # `_quickly` has looked
    if not _is_plain(known.metadata["source_dataset"], answer):
        return Score(0.0, "not_plain", answer)
    request = {"entry": known._asdict(), "answer": answer, "partial": partial}
    given, ended = _sandbox(allow_unsafe, os.getpid()).call(request)
    if given is None:
        return Score(0.0, "time_limit" if ended.late else "crashed", answer)
    if "bad_gold" in given:
        return Score(None, "bad_gold", answer)
    score = given["score"]
    if score >= 1.0:
        return Score(1.0, "correct", answer)
    if partial and score > given["nothing"] and not (known.answer and known.answer in answer):
        return Score(score, "partial", answer)
    return Score(0.0, "wrong", answer)


class Entry(NamedTuple):
    """A problem. answer: the gold one, None where any that solves it will do. config: the generator's."""

    question: str
    answer: str | None
    metadata: dict[str, Any]
    config: dict[str, Any]


def read_entry(entry: Any) -> Entry | None:
    """A row's entry, an object or its JSON text (`metadata` too); None where it is none of reasoning-gym's."""
    known = _object(entry)
    metadata = _object(known.get("metadata"))
    question, answer = known.get("question"), known.get("answer")
    if not isinstance(question, str) or not isinstance(answer, str | None):
        return None
    if not isinstance(metadata.get("source_dataset"), str):
        return None
    return Entry(question, answer, metadata, _object(known.get("config")))


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return dict(value) if isinstance(value, Mapping) else {}


def _judge(entry: Entry, answer: str) -> Score | None:
    """What needs no scorer to be judged; None for the rest."""
    task, gold = entry.metadata["source_dataset"], entry.answer
    if gold and answer == gold.strip():
        return Score(1.0, "correct", answer)
    if len(answer) > LONGEST_ANSWER:
        return Score(0.0, "too_long", answer)
    if task in _BY_VALUE:
        ours, theirs = read_number(answer).value, read_number(gold or "").value
        right: float | None = float(ours is not None and ours == theirs)
    elif task in _ARITHMETIC:
        numbers, target = entry.metadata.get("numbers"), entry.metadata.get("target", 24)
        shown = f"<answer>{answer}</answer>"
        right = equation_reward_func.score(shown, nums=numbers, target=target).value
    elif not _is_whole(task, answer, gold or ""):
        right = 0.0
    else:
        return None
    if right is None:
        return Score(None, "bad_gold", answer)
    return Score(right, "correct" if right else "wrong", answer)


def _is_whole(task: str, answer: str, gold: str) -> bool:
    """Return whether the task's scorer reads all of the answer, with no other text around or in it."""
    words, known = (_WORD.findall(text.lower()) for text in (answer, gold))
    if task in _SAME_WORDS:
        return words == known
    if task == "knights_knaves":
        return {*words} <= {*known, "is", "a", "an", "and"}
    if task == "time_intervals" and (":" in answer) != (":" in gold):
        return False  # of a date, the scorer reads the first number alone
    return task not in _FORMS or _FORMS[task].fullmatch(answer) is not None


def _is_plain(task: str, answer: str) -> bool:
    """Whether nothing is executed when its scorer evaluates the answer."""
    if task in _EVALUATED:
        return _is_data(answer)
    if task in _SYMBOLIC:
        return (
            _FORMULA.fullmatch(answer) is not None
            and not _ATTRIBUTE.search(answer)
            and all(len(name) == 1 or name in _FUNCTIONS for name in _NAMES.findall(answer))
        )
    return task != "complex_arithmetic" or _COMPLEX.fullmatch(answer) is not None


def _is_data(text: str) -> bool:
    """Whether text is a Python literal, or no Python at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as an error, one would hide what the text is
        try:
            tree = ast.parse(text, mode="eval")
        except SyntaxError:
            return True
        except (ValueError, RecursionError, MemoryError):
            return False
    try:
        ast.literal_eval(tree)
    except (ValueError, TypeError, RecursionError, MemoryError):
        return False
    return True


@cache
def _sandbox(allow_unsafe: bool, pid: int) -> Sandbox:
    """This process's: a child of it must have its own."""
    return Sandbox(_SCRIPT, _LIMITS, imports=["reasoning_gym"], allow_unsafe=allow_unsafe)
