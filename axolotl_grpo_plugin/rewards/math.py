r"""Accuracy for problems with LaTeX answers: MATH, NuminaMath, OpenR1-Math, and GSM8K too.

`completions.find_answer` finds the answer after the reasoning: in `<answer>`, else in `\boxed{}`, else after
`####`. A number in prose is not an answer. Different boxes are several answers, unless they are a list and
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
from itertools import batched, chain
from typing import Any, NamedTuple

import math_verify

from axolotl_grpo_plugin.completions import (
    Answer,
    after_reasoning,
    find_answer,
    read_boxes,
    turns_of,
)
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
    Unreadable,
    find_expressions,
    number,
    parse,
)
from axolotl_grpo_plugin.rewards.mathematics.latex import LONGEST, layout, normal, split, squeeze
from axolotl_grpo_plugin.rewards.mathematics.values import matched

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


class Part(NamedTuple):
    """One of the values that an answer lists.

    text: in normal form.
    tree: its kind begins with "?" if expressions.py does not read the text.
    """

    text: str
    tree: Tree


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
    reasons="correct wrong_value no_answer truncated empty_answer several_answers equation unevaluated "
    "echo too_large too_long too_slow unreadable bad_gold not_compared".split(),
    first=_quick,
    row_problem=lambda solution: gold_problem(str(solution)),
)
def accuracy_reward_func(completion: str, solution: str, prompt: Any = None) -> Score:
    r"""Return 1.0 if the answer equals the gold answer, else 0.0.

    solution: the gold answer ("\frac{3}{4}"), or a worked solution that has it in `\boxed{}` or after
        `####`. Several boxes are a set. If the gold answer cannot be read, the score is None for every
        completion.
    prompt: a string or chat messages. An expression of its last turn is not an answer.

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
    answer = find_answer(completion, ["tag", "box", "hash"], _merged, LONGEST, join_boxes=True)
    if answer.problem == "several_answers" and len({*read_boxes(solution)}) > 1:
        boxes = read_boxes(after_reasoning(completion))
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

    delegate: call math-verify.
    """
    answer, gold = normal(text), normal(written)
    if answer.removeprefix("-").isdecimal() and gold.removeprefix("-").isdecimal():
        return _verdict(answer == gold)

    answer, gold = _aligned(text, written)
    answer, gold = _interval(answer, text), _interval(gold, written)
    if _TIME.fullmatch(answer) or _TIME.fullmatch(gold):
        return _verdict(not _times(answer).isdisjoint(_times(gold)))
    if ("_" in answer) != ("_" in gold):
        # A base counts only if both have one.
        answer = _BASED.sub(r"\1", answer)
        gold = _BASED.sub(r"\1", gold)
    if ("%" in answer) != ("%" in gold):
        return _verdict(_is_same_percent(answer, gold))
    answer = answer.replace("%", "")
    gold = gold.replace("%", "")
    if r"\cup" in gold or len(split(gold)) > 1:
        # A union is a list of its parts.
        answer = answer.replace(r"\cup", ";")
        gold = gold.replace(r"\cup", ";")
    return _compare(answer, gold, prompt, delegate)


def _compare(answer: str, gold: str, prompt: Any, delegate: bool) -> str:
    as_words = _has_word(answer) and _has_word(gold)
    ours = _read(answer, as_words)
    golds = _read(gold, as_words)
    unread = [part.text for part in golds if part.tree.kind.startswith("?")]
    if answer == gold and not unread:
        return "correct"
    if len(ours) > len(golds):
        return "several_answers"
    if answer.count("=") > gold.count("="):
        return "equation"

    kinds = {part.tree.kind for part in ours}
    if {*_WORK.findall(answer)} - {*_WORK.findall(gold)}:
        return "unevaluated"
    if "?too_large" in kinds:
        return "too_large"
    if not unread and "?unreadable" not in kinds:
        return _judge([part.tree for part in ours], [part.tree for part in golds], prompt)

    # The grammar does not read one of the texts.
    if all(is_number(part.tree) for part in golds):
        return "wrong_value" if _PROSE.search(answer) else "unreadable"
    if answer != gold and _NO_MATHS.search(answer):
        return "unreadable"
    if prompt is not None and _is_echo([_relation(answer)], [_relation(gold)], prompt):
        return "echo"
    if not delegate:
        return ""
    if not all(map(_parse, unread)):
        return "bad_gold"
    return _verdict(matched(ours, golds, _same))


def _judge(ours: list[Tree], golds: list[Tree], prompt: Any) -> str:
    """Compare two lists of trees."""
    if not matched([*map(canonical, ours)], [*map(canonical, golds)], equal):
        return "wrong_value" if all(map(_has_value, ours)) else "too_large"

    # An answer may leave undone what the gold leaves undone.
    undone = set[str]().union(*map(unevaluated, golds))
    if not undone.issuperset(chain.from_iterable(map(unevaluated, ours))):
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
    solutions = [*map(sorted, batched(pairs, len(names)))]
    if len(names) == 1 or any([name for name, _ in solution] != names for solution in solutions):
        return [], ""
    tuples = [",".join(value for _, value in solution) for solution in solutions]
    return names, f"({'),('.join(tuples)})"


@lru_cache(maxsize=65536)
def _read(text: str, as_words: bool = False) -> Sequence[Part]:
    r"""Return the different parts of a list in normal form. `a\pm b` is two.

    as_words: a part of letters is a word, not a product.
    """
    parts: list[Part] = []
    for listed in split(text):
        for sign, opposite in ("+-", "-+"):
            plain = listed.replace(r"\pm", sign).replace(r"\mp", opposite)
            part = Part(plain, _tree(plain, as_words))
            if not any(_is_same_tree(part, known) for known in parts):
                parts.append(part)
    return parts


def _tree(text: str, as_word: bool = False) -> Tree:
    """Return the tree of a text, or one whose kind says why it is not read: "?unreadable"."""
    if as_word and text.isalpha() and len(text) > 1:
        return Tree(f"word {text.lower()}")
    try:
        return parse(text)
    except Unreadable as error:
        return Tree(f"?{error}", (Tree(f"text {text}"),))


def _is_same_tree(part: Part, gold: Part) -> bool:
    return equal(canonical(part.tree), canonical(gold.tree))


def _has_value(tree: Tree) -> bool:
    return tree.kind in STRUCTURES or bool(values(canonical(tree)))


def _is_echo(ours: list[Tree], golds: list[Tree], prompt: Any) -> bool:
    """Return whether answers are expressions of the question, in another form than the gold's."""
    *_, turn = turns_of(prompt)
    answers, wanted = [[*map(canonical, trees)] for trees in (ours, golds)]
    if not all(answer.parts for answer in answers):
        return False

    # A disguise counts only if it is no disguise of the gold's form.
    for form in (canonical, outline):
        echoes = _expressions(turn, form) - {*map(form, wanted)}
        if echoes.issuperset(map(form, answers)):
            return True
    return False


def _relation(text: str) -> Tree:
    """Return the sides of an equation or an inequality, in any order."""
    sides = map(_tree, _RELATION.split(text))
    return Tree("=", tuple(sorted(map(canonical, sides))))


@lru_cache(maxsize=4096)
def _expressions(question: str, form: Callable[[Tree], Hashable]) -> frozenset[Hashable]:
    """Return all expressions and relations in a question, in one of the forms of exact.py."""
    found: set[Tree] = set()
    for sentence in _BREAK.split(question):
        for piece in [sentence, *_WORD.split(sentence)]:
            if _OPERATION.search(piece):
                plain = squeeze(layout(piece))[:LONGEST]
                found.add(_relation(plain))
                for side in _RELATION.split(plain):
                    found.update(map(canonical, find_expressions(side)))
    return frozenset(map(form, found))


def _same(part: Part, gold: Part) -> bool:
    """Return whether two parts are equal. math-verify compares parts that cannot be read as trees."""
    if "?" not in part.tree.kind + gold.tree.kind or part.text == gold.text:
        return _is_same_tree(part, gold)
    answers, golds = _parse(part.text), _parse(gold.text)
    try:
        # math-verify compares an interval with an inequality in one direction only.
        is_reversible = "=" not in part.text + gold.text
        if _verified(golds, answers):
            return True
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
