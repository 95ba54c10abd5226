"""Find an expression of the question in an answer."""

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd
from typing import Any

from axolotl_grpo_plugin.completions import turns_of
from axolotl_grpo_plugin.rewards.mathematics.forms import canonical, coefficients, outline
from axolotl_grpo_plugin.rewards.mathematics.grammar import find_expressions, read
from axolotl_grpo_plugin.rewards.mathematics.tokens import LONGEST, Token, tokens
from axolotl_grpo_plugin.rewards.mathematics.trees import ONE, Tree, number, subtrees

# The end of an expression in a question: signs of mathematics, punctuation.
_BREAK = re.compile(r"\$+|\\[()\[\]]|\n|[.,;:?](?=\s|$)")
_WORD = re.compile(r"(?<![\\a-zA-Z{])[a-zA-Z]{2,}")
_OPERATION = re.compile(r"[-+/^!|(]|\\[a-zA-Z]")
_RELATIONS = frozenset({"=", "<", ">", r"\le", r"\ge", r"\ne", r"\equiv"})


# A question that asks for a form, and the test of the form.
_HALF = Tree("/", (ONE, number(2)))
_SQUARES = [factor * factor for factor in range(2, 100)]
_EXPAND = re.compile(r"\b(?:expand|multiply out)\b", re.IGNORECASE)
_SIMPLIFY = re.compile(
    r"\bsimplif(?:y|ied)\b|\bsimplest\b|\blowest terms\b|\brationali[sz]e\b", re.IGNORECASE
)
_FACTOR = re.compile(r"\bfactor(?:i[sz]e)?\b(?! of| theorem)|\bfactored form\b", re.IGNORECASE)


def has_other_form(ours: Sequence[Tree], golds: Sequence[Tree], prompt: Any) -> bool:
    """Return whether the question asks to expand, to factor or to simplify, and only the gold has that form.

    "(x+1)^4(x+1)" is not expanded, neither "x(x-5)+6" nor "x(9x+3)" is factored, and
    "3\\sqrt8" is not simplified.
    """
    question = turns_of(prompt)[-1]
    if _EXPAND.search(question):
        return all(map(_is_expanded, golds)) and not all(map(_is_expanded, ours))
    if _FACTOR.search(question):
        return any(
            _count_factors(tree) < _count_factors(gold) or _has_content(tree) > _has_content(gold)
            for tree, gold in zip(ours, golds, strict=False)
        )
    if _SIMPLIFY.search(question):
        return all(map(_is_simplified, golds)) and not all(map(_is_simplified, ours))
    return False


def _is_simplified(tree: Tree) -> bool:
    """Return whether a tree has neither "\\sqrt8" nor "\\frac69", which can be simplified."""
    for part in subtrees(tree):
        if part.kind == "^" and part.parts[1] == _HALF:
            under = part.parts[0].value
            if isinstance(under, Fraction) and any(
                under % square == 0 < under for square in _SQUARES
            ):
                return False
        elif part.kind == "/" and isinstance(part.parts[1].value, Fraction):
            numbers = [*coefficients(part.parts[0]), part.parts[1].value]
            if all(number.denominator == 1 for number in numbers) and gcd(*map(int, numbers)) > 1:
                return False
    return True


def _has_content(tree: Tree) -> bool:
    """Return whether a factor has terms with a common divisor or with fractions: "9x+3", "x+\\frac13"."""
    if tree.kind in ("*", "/", "^", "-"):
        return any(map(_has_content, tree.parts))
    if tree.kind != "+":
        return False
    numbers = coefficients(tree)
    return any(number.denominator > 1 for number in numbers) or gcd(*map(int, numbers)) > 1


def _is_expanded(tree: Tree) -> bool:
    """Return whether a tree has no product, quotient or power of a sum with variables."""
    if tree.kind in ("*", "/", "^") and any(
        part.kind == "+" and not part.is_constant for part in tree.parts
    ):
        return False
    return all(map(_is_expanded, tree.parts))


def _count_factors(tree: Tree) -> int:
    """Count the factors with variables. A square is two."""
    if tree.kind in ("*", "/"):
        return sum(map(_count_factors, tree.parts))
    if tree.kind == "-":
        return _count_factors(tree.parts[0])
    if tree.kind == "^":
        base, power = tree.parts
        times = power.value if isinstance(power.value, Fraction) and power.value > 0 else 1
        return int(_count_factors(base) * times)
    return int(not tree.is_constant)


def is_echo(ours: Sequence[Tree], golds: Sequence[Tree], prompt: Any) -> bool:
    """Return whether answers are expressions of the question, in another form than the gold's."""
    question = turns_of(prompt)[-1]
    answers = [canonical(_relation(tree)) for tree in ours]
    wanted = [canonical(_relation(tree)) for tree in golds]
    if any(
        _holds(answer, part) for answer in answers for part in _objects(question) if part.parts
    ) and not any(
        _holds(gold, part) for gold in wanted for part in _objects(question) if part.parts
    ):
        # "\\frac{50}{\\sqrt{50}}" has the root that the question asks to simplify.
        return True
    if (_objects(question) - {*wanted}).issuperset(answers):
        return True
    if not all(answer.parts for answer in answers):
        return False

    # A disguise counts only if it is no disguise of the gold's form.
    for form in (canonical, outline):
        expressions = _expressions(question, form)
        if not expressions:
            continue
        echoes = expressions - {form(tree) for tree in wanted}
        if echoes.issuperset(form(answer) for answer in answers):
            return True
    return False


def _holds(tree: Tree, part: Tree) -> bool:
    return any(other == part for other in subtrees(tree))


def _relation(tree: Tree) -> Tree:
    """Return the sides of a relation in any order, or another tree as it is."""
    if tree.kind in ("=", "<", r"\le", r"\ne"):
        return Tree("=", tuple(sorted(map(canonical, tree.parts))))
    if tree.kind == "ratio" and len(tree.parts) == 2:
        return Tree("/", tree.parts)
    return tree


# "Write $0.75$ as a fraction": the verb and its object. "Write your answer" has another one.
_MATHS = r"(\$[^$]{1,200}\$|\\\(.{1,200}?\\\)|[0-9][0-9./,]*(?: [0-9]+/[0-9]+)?\\?%?)"
_VERB = (
    r"\b(?:re-?write|write|express|convert|change|turn|represent|simplify|reduce|expand|factor(?:i[sz]e)?"
    r"|rationali[sz]e|factori[sz]ation of|standard form of)\b"
)
_REWRITTEN = re.compile(
    rf"{_VERB}(?:(?!answer|result|solution|number of)[^.?!$\\0-9]){{0,60}}{_MATHS}", re.IGNORECASE
)
_AS = re.compile(
    rf"{_MATHS} (?:as|in|into|to) (?:an? |the |its )?(?:[a-z-]+ ){{0,3}}"
    r"(?:fraction|decimal|percent(?:age)?|notation|form|number|power|product|logarithm|radical)",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def _objects(question: str) -> frozenset[Tree]:
    """Return the numbers and expressions that a question asks to write in another form."""
    written = [match[1] for pattern in (_REWRITTEN, _AS) for match in pattern.finditer(question)]
    return frozenset(
        canonical(_relation(item.tree))
        for text in written
        for item in read(text.rstrip(".,")).items
    )


@lru_cache(maxsize=4096)
def _expressions(question: str, form: Callable[[Tree], Hashable]) -> frozenset[Hashable]:
    """Return all expressions and relations in a question, in one of the forms of forms.py."""
    expressions: set[Tree] = set()
    for sentence in dict.fromkeys(_BREAK.split(question)):
        for piece in dict.fromkeys([sentence, *_WORD.split(sentence)]):
            if _OPERATION.search(piece):
                expressions.update(_found(tokens(piece[:LONGEST])))
    return frozenset(form(tree) for tree in expressions)


def _found(written: Sequence[Token]) -> Iterator[Tree]:
    sides: list[list[Tree]] = []
    start = 0
    for index in range(len(written) + 1):
        if index == len(written) or written[index].text in _RELATIONS:
            trees = [canonical(tree) for tree in find_expressions(written[start:index])]
            yield from trees
            sides.append(trees[:1])
            start = index + 1
    if len(sides) > 1 and all(sides):
        yield Tree("=", tuple(sorted(side[0] for side in sides)))
