r"""Accuracy for problems with LaTeX answers: MATH, NuminaMath, OpenR1-Math, and GSM8K too.

`completions.find_answer` finds the answer after the reasoning: in `<answer>`, else in `\boxed{}`, else after
`####`, else in a line "Answer: ...". A number in prose is not an answer. Different boxes are several answers, unless they are a list and
the gold is a list, too.

The modules of `mathematics/` compare an answer with its gold, in this order: `tokens` (text -> tokens),
`grammar` (tokens -> tree), `exact` (tree -> values), `forms` (tree -> work that is left), `comparison`.
"""

import re
from functools import lru_cache
from typing import Any

from axolotl_grpo_plugin.completions import Answer, find_answer, is_empty, read_boxes
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.mathematics.comparison import compare, is_readable, stated
from axolotl_grpo_plugin.rewards.mathematics.grammar import read
from axolotl_grpo_plugin.rewards.mathematics.tokens import LONGEST
from axolotl_grpo_plugin.thinking import after_thinking

_INTEGER = re.compile(r"-?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,400})")
_WORD = re.compile(r"(?<![\\a-zA-Z{])[a-zA-Z]{2,}")
_MOST_WORDS = 4  # of a gold answer that is not marked as text
_NO_GOLD = re.compile(
    r"\bnot ?(?:found|available|provided)\b"
    r"|\b(?:proofs?|prove[dns]?|proving|omitted|tbd|todo|n/a|q\.?e\.?d)\b"
    r"|\b(?:see|as|shown|given) (?:the )?(?:solution|above|below|figure|explanation|shown|desired|required)\b"
    r"|\b(?:left (?:as|for|to the)|refer to)\b|^\$?\\(?:black)?square\$?$"
    r"|\b(?:no answer|none given|we are done)\b"
    r"|\banswers? (?:may|will|can)? ?var(?:y|ies)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=65536)
def read_gold(solution: str) -> str | None:
    """Return the gold answer as written: in boxes, after `####`, or all of the text.

    Different boxes are a list. Prose is not a gold answer.
    """
    gold = solution.strip()
    marked = read_boxes(solution) or solution.split("####")[1:][-1:]
    if marked:
        gold = ", ".join(dict.fromkeys(filter(None, marked))).strip()
    elif len(_WORD.findall(gold)) > _MOST_WORDS:
        return None
    if _INTEGER.fullmatch(gold):
        return gold
    if len(gold) > LONGEST or is_empty(gold) or _NO_GOLD.search(gold) or not read(gold).signs:
        return None
    return gold


@lru_cache(maxsize=65536)
def gold_problem(solution: str) -> str:
    """Return why the gold answer of a solution cannot be read, or "" if it can."""
    written = read_gold(solution)
    if written is None:
        return f"no gold answer can be read from {solution[-60:]!r}"
    if not is_readable(read(written)):
        return f"the gold answer {written!r} has signs that cannot be read"
    return ""


@reward(
    range=(0.0, 1.0),
    reads="solution",
    may_read=("prompt",),
    reasons=(
        "correct",
        "wrong_value",
        "no_answer",
        "truncated",
        "empty_answer",
        "several_answers",
        "equation",
        "unevaluated",
        "echo",
        "too_large",
        "too_long",
        "unreadable",
        "bad_gold",
    ),
    inline=True,
    row_problem=lambda solution: gold_problem(str(solution)),
)
def accuracy_reward_func(completion: str, solution: str, prompt: Any = None) -> Score:
    r"""Return 1.0 if the answer equals the gold answer, else 0.0.

    Args:
        solution: The gold answer ("\frac{3}{4}"), or a worked solution that has it in `\boxed{}` or after
            `####`. Several boxes are a set. If the gold answer cannot be read, the score is None for every
            completion.
        prompt: A string or chat messages. An expression of its last turn is not an answer.

    Source: open-r1's and TRL's `accuracy_reward`, with the stricter rules of this module.

    >>> accuracy_reward_func([""], [r"So \boxed{0.75}."], solution=[r"\frac{3}{4}"])
    [1.0]
    """
    written = read_gold(str(solution))
    if written is None:
        return Score(None, "bad_gold")
    answer = _find(completion, str(solution))
    if answer.text is None:
        return Score(0.0, answer.problem)
    if _INTEGER.fullmatch(answer.text) and _INTEGER.fullmatch(written):
        is_same = int(answer.text.replace(",", "")) == int(written.replace(",", ""))
        reason = "correct" if is_same else "wrong_value"
    else:
        reason = compare(answer.text, written, prompt)
    if reason == "bad_gold":
        return Score(None, reason, answer.text)
    return Score(float(reason == "correct"), reason, answer.text)


def _find(completion: str, solution: str) -> Answer:
    """Return the answer of a completion as written. Boxes are a list if the solution's are."""
    answer = find_answer(
        completion, ["tag", "box", "hash", "line"], stated, LONGEST, join_boxes=True
    )
    if answer.problem == "several_answers" and len(set(read_boxes(solution))) > 1:
        boxes = read_boxes(after_thinking(completion))
        return Answer(", ".join(boxes)[:LONGEST])
    return answer
