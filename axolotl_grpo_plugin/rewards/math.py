r"""Accuracy for problems with LaTeX answers: MATH, NuminaMath, OpenR1-Math, and GSM8K too.

`completions.find_answer` finds the answer after the reasoning: in `<answer>`, else in `\boxed{}`, else after
`####`, else in a line "Answer: ...". A number in prose is not an answer. Different boxes are several answers, unless they are a list and
the gold is a list, too.

An answer equals the gold if both have the same normal form (latex.py), or are equal expressions (exact.py).
math-verify decides about texts that expressions.py does not read, within a limit of CPU time. An answer that
leaves arithmetic to its reader that the gold has done is `unevaluated` ("12\times 34" for 408). An expression
of the question is an `echo`. A fraction is a number: "36/2" is 18. A percent may be written as "28%", "28" or
"0.28".
"""

import logging
import re
from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from itertools import batched
from typing import Any, NamedTuple

import math_verify

from axolotl_grpo_plugin.completions import Answer, find_answer, read_boxes, turns_of
from axolotl_grpo_plugin.limits import HelperDied, TooSlow, call
from axolotl_grpo_plugin.reward import Score, reward
from axolotl_grpo_plugin.rewards.mathematics.exact import (
    STRUCTURES,
    canonical,
    equal,
    is_number,
    outline,
    unevaluated,
    values,
)
from axolotl_grpo_plugin.rewards.mathematics.expressions import (
    Tree,
    UnreadableExpression,
    find_expressions,
    number,
    parse,
)
from axolotl_grpo_plugin.rewards.mathematics.latex import LONGEST, layout, normal, split, squeeze
from axolotl_grpo_plugin.rewards.mathematics.values import matched
from axolotl_grpo_plugin.thinking import after_thinking

LOG = logging.getLogger(__name__)
for _name in ("math_verify.parser", "math_verify.grader"):
    # math-verify warns that it runs without a time limit, but limits.py sets one.
    logging.getLogger(_name).setLevel(logging.ERROR)

_CPU_SECONDS = 3.0  # for math-verify on one completion

_WORD = re.compile(r"(?<![\\a-zA-Z{])[a-zA-Z]{2,}")
_PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{6}")
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
# math-verify would read "x12", "0x12" and "1'8" as products, and "17 1/1" as a sum.
_NO_MATHS = re.compile(
    r"(?<![\\a-zA-Z_{])[a-zA-Z]+[0-9]"
    r"|[0-9]['eE][+-]?[0-9]"
    r"|(?<!_)[0-9] [0-9]"
    r"|[0-9]_"
)
# Operations that expressions.py does not read. The last two are on matrices.
_WORK = re.compile(
    r"\\(?:iint|int|sum|prod|lim|det|b?mod)(?![a-zA-Z])"
    r"|\\?(?:gcd|lcm|max|min)(?![a-zA-Z])"
    r"|[^(,]\\begin"
    r"|\\end\{pmatrix\}[^),]"
)
_BASED = re.compile(r"^(-?[0-9A-Z]*[0-9])_(?:[0-9]|\{[0-9]+\})$")
_TIME = re.compile(
    r"[0-9]{1,2}(?::[0-9]{2})+(?:[ap]\.?m\.?)?"
    r"|[0-9]{1,2}[ap]\.?m\.?",
    re.IGNORECASE,
)
# The end of an expression in a question: signs of mathematics, punctuation.
_BREAK = re.compile(
    r"\$+|\\[()\[\]]"
    r"|\n"
    r"|[.,;:?](?=\s|$)"
)
# Two rays of numbers: "(-\\infty,2],(1,\\infty)".
_RAYS = re.compile(r"\(-\\infty,([^,]+)([)\]]),([(\[])([^,]+),\\infty\)")
_EITHER = re.compile(r"\\(?:cup|lor|vee)|(?<![a-zA-Z])or(?![a-zA-Z])")
# A name may stand beside these.
_NAMED = re.compile(r"[=<>≤≥≠]|\\[gln]e|\\[gl]t")
_RELATION = re.compile(r"[=<>]|\\(?:le|ge|ne)(?![a-zA-Z])")
_OPERATION = re.compile(r"[-+/^!|(]|\\[a-zA-Z]")


class ListedValue(NamedTuple):
    """One of the values that an answer lists.

    Attributes:
        text: The value in normal form.
        tree: The expression. Its kind begins with "?" if expressions.py does not read the text.
    """

    text: str
    tree: Tree

    @property
    def is_unread(self) -> bool:
        return self.tree.kind.startswith("?")


Listed = Sequence[ListedValue]


def _quick(completion: str, solution: str, prompt: Any = None) -> Score | None:
    """Return the score, or None if math-verify is needed."""
    written = read_gold(str(solution))
    if written is None:
        return Score(None, "bad_gold")
    answer = _find(completion, str(solution))
    if answer.text is None:
        return Score(0.0, answer.problem)
    reason = _decide(answer.text, written, prompt)
    if not reason:
        return None
    return _scored(reason, answer.text)


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
    if len(gold) > LONGEST or _NO_GOLD.search(gold) or not normal(gold):
        return None
    return gold


@lru_cache(maxsize=65536)
def gold_problem(solution: str) -> str:
    """Return why the gold answer of a solution cannot be read, or "" if it can."""
    written = read_gold(solution)
    if written is None:
        return f"no gold answer can be read from {solution[-60:]!r}"
    reason = _decide(written, written) or _delegated(written, written, None)
    if reason == "correct":
        return ""
    return f"math-verify cannot read the gold answer {written!r}"


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
        "too_slow",
        "unreadable",
        "bad_gold",
        "not_compared",
    ),
    first=_quick,
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
    written = read_gold(str(solution)) or ""
    answer = _find(completion, str(solution)).text or ""
    return _scored(_delegated(answer, written, prompt), answer)


def _delegated(answer: str, written: str, prompt: Any) -> str:
    """Return the reason of an answer's score with the help of math-verify."""
    try:
        return str(call(_decide, answer, written, prompt, True, seconds=_CPU_SECONDS))
    except TooSlow:
        return "too_slow"
    except (TimeoutError, HelperDied) as error:
        # This is not caused by the answer.
        LOG.warning("math-verify did not compare %r with %r: %s", answer, written, error)
        return "not_compared"


def _scored(reason: str, answer: str) -> Score:
    if reason in ("bad_gold", "not_compared"):
        return Score(None, reason, answer)
    return Score(float(reason == "correct"), reason, answer)


def _find(completion: str, solution: str) -> Answer:
    """Return the answer of a completion as written. Boxes are a list if the solution's are."""
    answer = find_answer(
        completion, ["tag", "box", "hash", "line"], _merged, LONGEST, join_boxes=True
    )
    if answer.problem == "several_answers" and len(set(read_boxes(solution))) > 1:
        boxes = read_boxes(after_thinking(completion))
        return Answer(", ".join(boxes)[:LONGEST])
    return answer


def _merged(text: str) -> object:
    """Return a value that is equal for texts that state the same answer."""
    answer = normal(text)
    if answer.isdecimal():
        return answer
    return values(canonical(_tree(answer))) or answer


def _decide(text: str, written: str, prompt: Any = None, delegate: bool = False) -> str:
    """Return the reason of an answer's score, or "" if math-verify is needed.

    Args:
        text: The answer.
        written: The gold answer.
        prompt: A string or chat messages, if an expression of the question is no answer.
        delegate: Call math-verify.
    """
    answer = normal(text)
    gold = normal(written)
    if _is_integer(answer) and _is_integer(gold):
        return _verdict(answer == gold)

    answer, gold = _aligned(text, written)
    answer = _interval(answer, text)
    gold = _interval(gold, written)
    if _TIME.fullmatch(answer) or _TIME.fullmatch(gold):
        return _verdict(_is_same_time(answer, gold))
    answer, gold = _without_single_base(answer, gold)
    if ("%" in answer) != ("%" in gold):
        return _verdict(_is_same_percent(answer, gold))
    answer, gold = _with_unions_as_lists(answer.replace("%", ""), gold.replace("%", ""))
    return _compare(answer, gold, prompt, delegate)


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _is_same_time(answer: str, gold: str) -> bool:
    return not _times(answer).isdisjoint(_times(gold))


def _without_single_base(answer: str, gold: str) -> tuple[str, str]:
    """Return both texts. A base ("1011_2") counts only if both have one."""
    if ("_" in answer) == ("_" in gold):
        return answer, gold
    return _BASED.sub(r"\1", answer), _BASED.sub(r"\1", gold)


def _with_unions_as_lists(answer: str, gold: str) -> tuple[str, str]:
    """Return both texts. If the gold is a union or a list, a union is a list of its parts."""
    if r"\cup" not in gold and len(split(gold)) == 1:
        return answer, gold
    return answer.replace(r"\cup", ";"), gold.replace(r"\cup", ";")


def _compare(answer: str, gold: str, prompt: Any, delegate: bool) -> str:
    """Compare two texts in normal form. Each may be a list."""
    as_words = _has_word(answer) and _has_word(gold)
    ours = _read(answer, as_words)
    golds = _read(gold, as_words)
    is_gold_read = not any(value.is_unread for value in golds)
    if answer == gold and is_gold_read:
        return "correct"
    if refusal := _refusal(answer, gold, ours, golds):
        return refusal
    if is_gold_read and not any(value.is_unread for value in ours):
        return _compare_trees(
            [value.tree for value in ours], [value.tree for value in golds], prompt
        )
    if refusal := _refusal_of_unread(answer, gold, golds, prompt):
        return refusal
    if not delegate:
        return ""
    if not all(_parse(value.text) for value in golds if value.is_unread):
        return "bad_gold"
    return _verdict(matched(ours, golds, _same))


def _refusal(answer: str, gold: str, ours: Listed, golds: Listed) -> str:
    """Return why an answer is wrong by its shape alone, or ""."""
    if len(ours) > len(golds):
        return "several_answers"
    # An equation restates the problem, unless the gold is one.
    if answer.count("=") > gold.count("="):
        return "equation"
    # A sum or a limit leaves work to the reader that the gold has done.
    if set(_WORK.findall(answer)) - set(_WORK.findall(gold)):
        return "unevaluated"
    if any(value.tree.kind == "?too_large" for value in ours):
        return "too_large"
    return ""


def _refusal_of_unread(answer: str, gold: str, golds: Listed, prompt: Any) -> str:
    """Return why an answer is wrong if the grammar does not read it or its gold, or ""."""
    # An answer that equals a number can be read.
    if all(is_number(value.tree) for value in golds):
        return "wrong_value" if _PROSE.search(answer) else "unreadable"
    if answer != gold and _NO_MATHS.search(answer):
        return "unreadable"
    if prompt is not None and _is_echo([_relation(answer)], [_relation(gold)], prompt):
        return "echo"
    return ""


def _compare_trees(ours: list[Tree], golds: list[Tree], prompt: Any) -> str:
    answers = [canonical(tree) for tree in ours]
    wanted = [canonical(tree) for tree in golds]
    if not matched(answers, wanted, equal):
        return "wrong_value" if all(map(_has_value, ours)) else "too_large"

    # An answer may leave undone what the gold leaves undone.
    undone: set[str] = set()
    allowed: set[str] = set()
    for tree in ours:
        undone |= unevaluated(tree)
    for tree in golds:
        allowed |= unevaluated(tree)
    if undone - allowed:
        return "unevaluated"
    if prompt is not None and _is_echo(ours, golds, prompt):
        return "echo"
    return "correct"


def _verdict(is_equal: bool) -> str:
    return "correct" if is_equal else "wrong_value"


def _times(text: str) -> set[str]:
    """Return the times of day that a text may mean: "9:00 a.m." is "9am", and "9" may be."""
    time = re.sub(r":00(?![0-9:])", "", text.replace(".", "").lower())
    return {time, f"{time}am", f"{time}pm"}


def _is_same_percent(answer: str, gold: str) -> bool:
    """Compare with a percent: 28 and 0.28 equal 28%, and 28% equals 28. But 0.5% is not 0.5."""
    tree = _tree(answer.replace("%", ""))
    count = canonical(tree)
    plain = canonical(_tree(gold.replace("%", "")))
    if "%" in gold:
        count, plain = plain, count
    if not is_number(tree):
        return False
    if equal(canonical(Tree("/", (count, number(100)))), plain):
        return True
    if not equal(count, plain):
        return False
    return "%" in gold or abs(values(plain)[0]) >= 1


def _has_word(text: str) -> bool:
    return any(part.isalpha() and len(part) > 1 for part in split(text))


def _aligned(text: str, written: str) -> tuple[str, str]:
    """Return the normal forms of an answer and its gold, with names if both need them.

    Named values ("x=3, y=2") become tuples in the order of the names, if the other side is a tuple
    or has the same names. Equations keep their left sides.
    """
    answer, gold = normal(text), normal(written)
    if not _NAMED.search(text + written):
        return answer, gold

    names, solved = _solutions(text)
    gold_names, gold_solved = _solutions(written)
    if names and (names == gold_names or gold[:1] in ("(", "[")):
        return solved, gold_solved or gold
    if gold_names and answer[:1] in ("(", "["):
        return answer, gold_solved
    if "=" in answer + gold:
        return normal(text, True), normal(written, True)
    return answer, gold


def _interval(plain: str, text: str) -> str:
    """Return the interval of two inequalities, unless they are alternatives or exclude each other."""
    rays = _RAYS.fullmatch(plain)
    if not rays or _EITHER.search(text):
        return plain
    to, end, begin, since = rays.groups()
    lengths = values(canonical(_tree(f"({to})-({since})")))
    if lengths and lengths[0].real >= 0:
        return f"{begin}{since},{to}{end}"
    return plain


def _solutions(text: str) -> tuple[list[str], str]:
    """Return the names in "p=5, q=2; p=7, q=2", and their values as tuples: "(5,2),(7,2)"."""
    pairs = [part.split("=") for part in split(normal(text, True))]
    if not all(len(pair) == 2 and pair[0].isalpha() for pair in pairs):
        return [], ""

    names = sorted({name for name, _ in pairs})
    solutions = [sorted(solution) for solution in batched(pairs, len(names))]
    if len(names) == 1 or any([name for name, _ in solution] != names for solution in solutions):
        return [], ""
    tuples = [",".join(value for _, value in solution) for solution in solutions]
    return names, f"({'),('.join(tuples)})"


@lru_cache(maxsize=65536)
def _read(text: str, as_words: bool = False) -> Listed:
    r"""Return the different values of a list in normal form. `a\pm b` is two.

    Args:
        text: The list.
        as_words: A value of letters is a word, not a product.
    """
    listed: list[ListedValue] = []
    for part in split(text):
        for sign, opposite in ("+-", "-+"):
            signed = part.replace(r"\pm", sign).replace(r"\mp", opposite)
            value = ListedValue(signed, _tree(signed, as_words))
            if not any(_is_same_tree(value, known) for known in listed):
                listed.append(value)
    return listed


def _tree(text: str, as_word: bool = False) -> Tree:
    """Return the tree of a text, or one whose kind says why it is not read: "?unreadable"."""
    if as_word and text.isalpha() and len(text) > 1:
        return Tree(f"word {text.lower()}")
    try:
        return parse(text)
    except UnreadableExpression as error:
        return Tree(f"?{error}", (Tree(f"text {text}"),))


def _is_same_tree(value: ListedValue, gold: ListedValue) -> bool:
    return equal(canonical(value.tree), canonical(gold.tree))


def _has_value(tree: Tree) -> bool:
    return tree.kind in STRUCTURES or bool(values(canonical(tree)))


def _is_echo(ours: list[Tree], golds: list[Tree], prompt: Any) -> bool:
    """Return whether answers are expressions of the question, in another form than the gold's."""
    question = turns_of(prompt)[-1]
    answers = [canonical(tree) for tree in ours]
    wanted = [canonical(tree) for tree in golds]
    if not all(answer.parts for answer in answers):
        return False

    # A disguise counts only if it is no disguise of the gold's form.
    for form in (canonical, outline):
        echoes = _expressions(question, form) - {form(tree) for tree in wanted}
        if echoes.issuperset(form(answer) for answer in answers):
            return True
    return False


def _relation(text: str) -> Tree:
    """Return the sides of an equation or an inequality, in any order."""
    sides = map(_tree, _RELATION.split(text))
    return Tree("=", tuple(sorted(map(canonical, sides))))


@lru_cache(maxsize=4096)
def _expressions(question: str, form: Callable[[Tree], Hashable]) -> frozenset[Hashable]:
    """Return all expressions and relations in a question, in one of the forms of exact.py."""
    expressions: set[Tree] = set()
    for sentence in _BREAK.split(question):
        for piece in [sentence, *_WORD.split(sentence)]:
            if _OPERATION.search(piece):
                squeezed = squeeze(layout(piece))[:LONGEST]
                expressions.add(_relation(squeezed))
                for side in _RELATION.split(squeezed):
                    expressions.update(canonical(tree) for tree in find_expressions(side))
    return frozenset(form(tree) for tree in expressions)


def _same(value: ListedValue, gold: ListedValue) -> bool:
    """Return whether two values are equal. math-verify compares values that have no tree."""
    has_trees = "?" not in value.tree.kind + gold.tree.kind
    if has_trees or value.text == gold.text:
        return _is_same_tree(value, gold)
    answers = _parse(value.text)
    golds = _parse(gold.text)
    try:
        if _verified(golds, answers):
            return True
        # math-verify compares an interval with an inequality in one direction only.
        is_reversible = "=" not in value.text + gold.text
        return is_reversible and _verified(answers, golds)
    except Exception:  # math-verify raises errors of all kinds
        # If it fails on the gold alone, this raises, so a gold that cannot be compared is no wrong answer.
        _verified(golds, golds)
        return False


def _verified(golds: list[Any], answers: list[Any]) -> bool:
    verdict = math_verify.verify(golds, answers, timeout_seconds=None, raise_on_error=True)
    return bool(verdict)


@lru_cache(maxsize=65536)
def _parse(text: str) -> list[Any]:
    return list(
        math_verify.parse(
            f"${text}$",
            [math_verify.LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=None,
            raise_on_error=False,
        )
    )
