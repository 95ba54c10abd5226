r"""Compare an answer with its gold.

The rules of value are in this order:

1. Equal tokens are equal answers.
2. Both sides get one notation: of names and lists, of units, equations and matrices.
3. An answer is wrong by its shape: it has more values than the gold, or an operation that the gold has done.
4. The values are matched. If both sides have a name, a unit or a modulus, they must agree.
5. An answer that leaves work to its reader is `unevaluated`.
6. An expression of the question in another form than the gold's is an `echo` (echo.py).
"""

import re
from collections.abc import Hashable, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import batched, permutations
from typing import Any

from axolotl_grpo_plugin.completions import turns_of
from axolotl_grpo_plugin.rewards.mathematics.echo import has_other_form, is_echo
from axolotl_grpo_plugin.rewards.mathematics.exact import (
    agree,
    is_small,
    rational,
    rounded,
    value_at,
    values,
)
from axolotl_grpo_plugin.rewards.mathematics.forms import canonical, is_number, undone
from axolotl_grpo_plugin.rewards.mathematics.functions import MATH, is_open_function
from axolotl_grpo_plugin.rewards.mathematics.grammar import Item, Reading, read, signs_of
from axolotl_grpo_plugin.rewards.mathematics.ranges import are_same, as_ranges
from axolotl_grpo_plugin.rewards.mathematics.trees import (
    CONSTANTS,
    EMPTY,
    INTERVALS,
    ONE,
    REALS,
    STRUCTURES,
    ZERO,
    Tree,
    joined,
    name,
    names,
    negated,
    number,
    replaced,
    subtrees,
)
from axolotl_grpo_plugin.rewards.mathematics.units import UNITS, unit_of
from axolotl_grpo_plugin.rewards.mathematics.values import matched

_PROSE = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{6}")


def compare(text: str, gold_text: str, prompt: Any = None) -> str:
    """Return the reason of an answer's score.

    Args:
        text: The answer.
        gold_text: The gold answer.
        prompt: A string or chat messages, if an expression of the question is no answer.
    """
    gold = read(gold_text)
    if not is_readable(gold):
        return "bad_gold"
    if signs_of(text) == gold.signs:
        return "correct"
    answer = read(text)
    if not answer.signs:
        return "unreadable"
    if len(answer.items) < len(gold.items) and "," in text:
        # "40,200" may be two numbers.
        listed = read(text, True)
        answer = listed if len(listed.items) == len(gold.items) else answer

    ours, golds = _in_one_notation(*aligned(_settled(answer), _settled(gold)))
    if refusal := _refusal(answer, gold, ours, golds):
        return refusal
    if not _is_match(answer, gold, ours, golds, prompt):
        return _reason_of_mismatch(text, ours, golds)
    if _leaves_work(ours, golds):
        return "unevaluated"
    if prompt:
        our_trees = [item.tree for item in ours]
        gold_trees = [item.tree for item in golds]
        if is_echo(our_trees, gold_trees, prompt):
            return "echo"
        if has_other_form(our_trees, gold_trees, prompt):
            return "unevaluated"
    return "correct"


def is_readable(gold: Reading) -> bool:
    """Return whether a gold answer can be compared: an expression or a short text."""
    return not any(item.is_unread and _NO_TEXT.search(str(item.tree.value)) for item in gold.items)


# Signs of mathematics that the grammar does not read. Other texts are compared as texts.
_NO_TEXT = re.compile(r"\\mid|:|\||\\begin|\?|^[^a-zA-Z0-9\\]*$|\\ldots .*\\ldots")


# ---------------------------------------------------------------------------------------------------
# Shape


def _refusal(answer: Reading, gold: Reading, ours: Sequence[Item], golds: Sequence[Item]) -> str:
    """Return why an answer is wrong by its shape alone, or ""."""
    if (
        len(ours) > len(golds)
        and not (_is_range(gold, golds) and _is_range(answer, ours))
        and not _is_letters(golds)
    ):
        return "several_answers"
    # An equation restates the problem, unless the gold is one.
    has_equation = any(
        item.tree.kind in ("=", "builder", "chain") or item.is_chain for item in ours
    )
    if has_equation and answer.equations > gold.equations:
        return "equation"
    # A sum or a limit leaves work to the reader that the gold has done.
    if answer.work - gold.work:
        return "unevaluated"
    if any(item.tree.kind == "?too_large" for item in ours):
        return "too_large"
    if "matrix" in answer.signs and _leaves_work(ours, golds):
        return "unevaluated"
    return ""


def _reason_of_mismatch(text: str, ours: Sequence[Item], golds: Sequence[Item]) -> str:
    if any(item.is_unread for item in ours):
        # An answer that equals a number can be read.
        return "wrong_value" if _PROSE.search(text) else "unreadable"
    if all(map(_has_value, ours)):
        return "wrong_value"
    return "too_large"


def _has_value(item: Item) -> bool:
    if any(part.kind in STRUCTURES for part in subtrees(item.tree)):
        return True
    return value_at(canonical(item.tree), 0) is not None


# ---------------------------------------------------------------------------------------------------
# Names and lists


def aligned(answer: Reading, gold: Reading) -> tuple[list[Item], list[Item]]:
    """Return the values of both sides, with named values as tuples if the other side has tuples."""
    ours = _members(answer)
    golds = _members(gold)
    labels, solved = _solutions(ours)
    gold_labels, gold_solved = _solutions(golds)
    if labels and (
        labels == gold_labels or all(item.tree.kind in ("()", "matrix") for item in golds)
    ):
        return _different(solved), _different(gold_solved or golds)
    if gold_labels and all(item.tree.kind in ("()", "matrix") for item in ours):
        return _different(ours), _different(gold_solved)
    if (
        gold_labels
        and len(gold_solved) == 1
        and len(ours) == len(golds)
        and not any(item.name for item in ours)
    ):
        # "2, 1" for "a=2, b=1"
        return [_tuple(ours)], [_tuple(golds)]
    return _merged(_different(ours), answer), _merged(_different(golds), gold)


def _tuple(items: Sequence[Item]) -> Item:
    return Item(Tree("()", tuple(item.tree for item in items)))


def _members(reading: Reading) -> list[Item]:
    r"""Return the values of an answer. "x\in\{1,2\}" has two, and "(y,x)=(2,1)" is "(1,2)"."""
    items: list[Item] = []
    for item in reading.items:
        labels = re.fullmatch(r"\( (.*) \)", item.name)
        if labels:
            items += _unnamed(item, labels[1].split(" , "))
        elif _is_list(item, reading) or (item.tree.kind == r"\cup" and len(reading.items) > 1):
            items += [item._replace(tree=part) for part in item.tree.parts]
        else:
            items.append(item)
    return items


def _is_list(item: Item, reading: Reading) -> bool:
    """Return whether the only value is a set, whose members are the values. A set of a set stays."""
    is_set = item.tree.kind == "{}" and item.tree.parts != (EMPTY,)
    return is_set and len(reading.items) == 1 and not reading.in_braces


def _unnamed(item: Item, labels: list[str]) -> list[Item]:
    """Return the tuples that stand for several names at once, with the names in order."""
    trees = item.tree.parts if item.tree.kind == "{}" else (item.tree,)
    order = [labels.index(label) for label in _in_order(labels)]
    items = []
    for tree in trees:
        if tree.kind == "()" and len(tree.parts) == len(labels):
            tree = tree.with_parts(tree.parts[index] for index in order)
        items.append(item._replace(name="", tree=tree))
    return items


_POLAR = ["r", r"\rho", r"\theta", r"\phi", "z"]


def _in_order(labels: Sequence[str]) -> list[str]:
    """Return names in the order of their tuple: alphabetic, or that of polar coordinates."""
    return sorted(labels, key=_POLAR.index if set(labels) <= set(_POLAR) else None)


def _different(items: list[Item]) -> list[Item]:
    """Return a list without the values that occur twice."""
    if len(items) == 1:
        return items
    kept: list[Item] = []
    seen: list[Tree] = []
    for item in items:
        tree = canonical(item.tree)
        is_known = any(
            item.name == other.name
            and item.unit == other.unit
            and item.modulus == other.modulus
            and equal(tree, known)
            for other, known in zip(kept, seen, strict=True)
        )
        if not is_known:
            kept.append(item)
            seen.append(tree)
    return kept


_LABEL = re.compile(r"\\?[a-zA-Z]+")


def _solutions(items: list[Item]) -> tuple[list[str], list[Item]]:
    """Return the names in "p=5, q=2; p=7, q=2", and their values as tuples: "(5,2),(7,2)"."""
    if len(items) == 1 or any(item.is_range or not _LABEL.fullmatch(item.name) for item in items):
        return [], []
    labels = _in_order([*dict.fromkeys(item.name for item in items)])
    if len(labels) == 1 or len(items) % len(labels):
        return [], []
    solutions = []
    for solution in batched(items, len(labels)):
        ordered = sorted(solution, key=lambda item: labels.index(item.name))
        if [item.name for item in ordered] != labels:
            return [], []
        solutions.append(_tuple(ordered))
    return labels, solutions


def _merged(items: list[Item], reading: Reading) -> list[Item]:
    r"""Return two inequalities as one interval, and "x\ne0, 1" as one set, unless they are alternatives."""
    if len(items) < 2 or not items[0].is_range:
        return items
    first = items[0]
    if first.tree.kind == r"\setminus" and all(
        (item.tree.kind == r"\setminus" and item.name == first.name)
        or (not item.name and not item.is_range)
        for item in items[1:]
    ):
        excluded: list[Tree] = []
        for item in items:
            excluded += item.tree.parts[1].parts if item.tree.kind == r"\setminus" else [item.tree]
        return [first._replace(tree=Tree(r"\setminus", (REALS, Tree("{}", tuple(excluded)))))]
    if reading.is_either or any(item.name != first.name or not item.is_range for item in items):
        return items
    if any(item.tree.kind == r"\setminus" for item in items):
        # "x>0, x\\ne5"
        return [first._replace(tree=Tree(r"\cap", tuple(item.tree for item in items)))]
    if len(items) != 2:
        return items
    both = as_ranges(Tree(r"\cap", (first.tree, items[1].tree)))
    if both is None or len(both) != 1:
        return items
    rays = sorted(
        [first.tree, items[1].tree], key=lambda tree: tree.parts[0] != negated(name(r"\infty"))
    )
    to, since = rays
    if to.kind not in INTERVALS or since.kind not in INTERVALS:
        return items
    interval = Tree(since.kind[0] + to.kind[1], (since.parts[0], to.parts[1]))
    return [first._replace(tree=interval)]


# ---------------------------------------------------------------------------------------------------
# Notation


def _settled(reading: Reading) -> Reading:
    """Return a reading with one value for each equation of numbers."""
    if not reading.equations:
        return reading
    return reading._replace(items=tuple(map(_without_equation, reading.items)))


def _without_equation(item: Item) -> Item:
    """Return the value of an equation of numbers that states one: "1/2=0.5", but not "9*2=18"."""
    tree = item.tree
    if tree.kind != "=" or not tree.is_constant:
        return item
    # "\\cos 60^\\circ=\\frac{1}{2}" names its value.
    stated_sides = tree.parts[1:] if is_open_function(tree.parts[0].kind) else tree.parts
    *others, last = map(canonical, tree.parts)
    if any(map(_is_unstated, stated_sides)) or not all(equal(side, last) for side in others):
        # The last side of several equations is still the value of a gold answer.
        return item._replace(tree=tree.parts[-1]) if item.is_chain else item
    return item._replace(tree=tree.parts[-1], is_chain=False)


def _in_one_notation(ours: list[Item], golds: list[Item]) -> tuple[list[Item], list[Item]]:
    """Return the values of both sides, with the answer's units, equations and matrices written as the gold's."""
    if any(item.unit and unit_of(item.unit) for item in golds):
        ours = [*map(_with_unit, ours)]
    if not any(item.tree.kind == "=" for item in golds):
        ours = [*map(_without_letters, ours)]
    if any(_has_fractions(item.tree) for item in golds):
        ours, golds = ([*map(_distributed, items)] for items in (ours, golds))
    return ours, golds


def _with_unit(item: Item) -> Item:
    """Return "5000 m" as a value with a unit."""
    if item.tree.kind != "*" or item.unit:
        return item
    value, *letters = item.tree.parts
    label = str(letters[0].value)
    if len(letters) > 1 or letters[0].kind != "name" or label not in UNITS or not value.is_constant:
        return item
    return item._replace(tree=value, unit=(label,))


def _without_letters(item: Item) -> Item:
    """Return the value of an expression of several letters: "x+y=12". Numbers beside them would have to be moved."""
    if item.tree.kind != "=" or len(item.tree.parts) != 2:
        return item
    left, right = item.tree.parts
    has_number = any(part.kind in ("number", "mixed") for part in subtrees(left))
    if (
        has_number
        or len(names(left) - CONSTANTS) < 2
        or not right.is_constant
        or _is_unstated(right)
    ):
        return item
    return item._replace(tree=right)


def _is_unstated(tree: Tree) -> bool:
    """Return whether a constant leaves work to its reader."""
    return bool(undone(_count_of(tree)) - {"irrational"})


def _count_of(tree: Tree) -> Tree:
    """Return the number before a percent sign, or another tree as it is."""
    return tree.parts[0] if tree.kind == "%" else tree


def _has_fractions(tree: Tree) -> bool:
    """Return whether a tree is a matrix with fractions, or a number times a matrix."""
    if tree.kind == "*":
        return tree.parts[-1].kind == "matrix"
    return tree.kind == "matrix" and any(part.kind == "/" for part in subtrees(tree))


def _distributed(item: Item) -> Item:
    r"""Return a number times a matrix as a matrix: the usual form of an inverse, "\frac15\begin{pmatrix}..."."""
    tree = item.tree
    if tree.kind != "*" or len(tree.parts) != 2 or tree.parts[1].kind != "matrix":
        return item
    factor, matrix = tree.parts
    if not is_number(factor):
        return item
    rows = [row.with_parts(_multiple(factor, entry) for entry in row.parts) for row in matrix.parts]
    return item._replace(tree=matrix.with_parts(rows))


def _multiple(factor: Tree, entry: Tree) -> Tree:
    times, value = rational(factor), rational(entry)
    if times is None or value is None or not is_number(entry):
        return joined("*", factor, entry)
    return number(times * value)


# ---------------------------------------------------------------------------------------------------
# Matching


def _is_match(
    answer: Reading, gold: Reading, ours: list[Item], golds: list[Item], prompt: Any
) -> bool:
    if _is_range(gold, golds) or _is_range(answer, ours):
        if is_same := _is_same_range(answer, gold, ours, golds):
            return is_same
        if is_same is False and len(ours) != len(golds):
            return False
    if _is_letters(golds) and _is_letters(ours):
        return _letters(golds) == _letters(ours)
    if len(ours) != len(golds):
        return False
    many = len(golds) > 1
    if matched(ours, golds, lambda item, other: _is_same(item, other, many)):
        return True
    for new_names in _renamings(answer, gold, ours, golds, prompt):
        renamed = [item._replace(tree=replaced(item.tree, new_names)) for item in ours]
        if matched(renamed, golds, lambda item, other: _is_same(item, other, many)):
            return True
    return False


def _is_letters(items: Sequence[Item]) -> bool:
    return bool(items) and all(_LETTERS.fullmatch(_written_letters(item)) for item in items)


_LETTERS = re.compile("[A-H]{1,6}")


def _written_letters(item: Item) -> str:
    if item.name or item.letter:
        return ""
    if item.tree.kind == "name":
        return str(item.tree.value)
    if item.tree.kind == "word" and item.tree.parts:
        letters = "".join(str(part.value) for part in item.tree.parts[0].parts)
        return letters if letters == "".join(sorted({*letters})) else ""
    return ""


def _letters(items: Sequence[Item]) -> set[str]:
    return set("".join(map(_written_letters, items)))


def _is_same(item: Item, gold: Item, many: bool) -> bool:
    """Return whether two values are equal, with their names, units and moduli."""
    item = _with_argument_of(item, gold)
    if verdict := _is_same_choice(item, gold):
        return verdict
    if verdict is False or not _are_names_compatible(item, gold, many):
        return False
    if gold.modulus is not None:
        return item.modulus is not None and _is_same_residue(item, gold)
    if "based" in (item.tree.kind, gold.tree.kind) and item.tree.kind != gold.tree.kind:
        # A base counts only if both have one.
        return _digits(item) == _digits(gold)
    if (
        "time" in (item.tree.kind, gold.tree.kind)
        and not _is_fraction(item)
        and not _is_fraction(gold)
    ):
        if any(unit_of(other.unit) is not None for other in (item, gold)):
            return False
        return not _clock_times(item).isdisjoint(_clock_times(gold))
    if "%" in (item.tree.kind, gold.tree.kind):
        return _is_same_percent(item, gold)
    if _is_same_relation(item, gold):
        return True
    scale = _scale(item, gold)
    if scale is None:
        return False
    item, gold = _without_clock(item), _without_clock(gold)
    tree = canonical(item.tree) if scale == 1 else canonical(joined("*", number(scale), item.tree))
    if equal(tree, canonical(gold.tree)):
        return True
    if gold.rounded is not None and equal(tree, canonical(gold.rounded)):
        return True
    if (
        item.product is not None
        and not gold.unit
        and equal(canonical(item.product), canonical(gold.tree))
    ):
        return True
    if gold.product is not None and not item.unit and equal(tree, canonical(gold.product)):
        return True
    return _is_same_vector(item.tree, gold.tree)


def _with_argument_of(item: Item, gold: Item) -> Item:
    """Return "f(x)=x+1" as "f(n)=n+1" if the gold has that name."""
    if not (item.name and gold.name):
        return item
    ours, golds = (re.fullmatch(r"([a-zA-Z]) \( ([a-z]) \)", each.name) for each in (item, gold))
    if not ours or not golds or ours[1] != golds[1]:
        return item
    return item._replace(name=gold.name, tree=replaced(item.tree, {ours[2]: name(golds[2])}))


_CHOICES = frozenset("ABCDEFGH")


def _is_same_choice(item: Item, gold: Item) -> bool | None:
    """Compare the letters of choices. None: a letter does not decide."""
    letter = item.letter or (
        str(item.tree.value) if item.tree.kind == "name" and not item.name else ""
    )
    gold_letter = gold.letter or (
        str(gold.tree.value) if gold.tree.kind == "name" and not gold.name else ""
    )
    if gold_letter not in _CHOICES:
        return None
    if gold.letter:
        return letter == gold_letter if item.letter or re.fullmatch("[A-H]", letter) else None
    if item.letter or letter.upper() == gold_letter:
        return letter.upper() == gold_letter
    # "A=C" is not the choice C.
    return False if re.fullmatch("[A-Z]", item.name) else None


def _are_names_compatible(item: Item, gold: Item, many: bool) -> bool:
    if not (item.name and gold.name):
        return True
    ours, golds = (re.sub(r" \( ([a-z]) \)$", r" _ \1", each.name) for each in (item, gold))
    if ours == golds or item.name == gold.name or {*map(_is_word, (ours, golds))} == {True, False}:
        return True
    if _is_function_value(item.name, gold.name) or _is_function_value(gold.name, item.name):
        return True
    base, _, index = ours.partition(" _ ")
    gold_base, _, gold_index = golds.partition(" _ ")
    return base == gold_base and (many or not (index and gold_index))


def _is_word(label: str) -> bool:
    """Return whether a name describes: "area". A letter or a command does not."""
    return all(part.isalpha() and len(part) > 1 and part.islower() for part in label.split())


def _is_function_value(label: str, other: str) -> bool:
    """Return whether "y" may stand for "f(x)"."""
    return label == "y" and re.fullmatch(r"[a-zA-Z] \( [a-z] \)", other) is not None


def _is_same_residue(item: Item, gold: Item) -> bool:
    assert item.modulus is not None and gold.modulus is not None
    if not equal(canonical(item.modulus), canonical(gold.modulus)):
        return False
    if equal(canonical(item.tree), canonical(gold.tree)):
        return True
    value, other, modulus = (value_at(tree, 0) for tree in (item.tree, gold.tree, gold.modulus))
    if not (
        isinstance(value, Fraction)
        and isinstance(other, Fraction)
        and isinstance(modulus, Fraction)
    ):
        return False
    return bool(modulus) and abs(value) < abs(modulus) and (value - other) % modulus == 0


def _digits(item: Item) -> str:
    return str(item.tree.value).replace(" ", "") if item.tree.kind != "name" else ""


def _is_fraction(item: Item) -> bool:
    return item.tree.kind in ("/", "ratio")


def _without_clock(item: Item) -> Item:
    """Return a time as the ratio that it may be: "7:12"."""
    parts = str(item.tree.value).strip().split(":")
    if item.tree.kind != "time" or not all(part.isdecimal() for part in parts):
        return item
    return item._replace(tree=Tree("ratio", tuple(number(int(part)) for part in parts)))


def _clock_times(item: Item) -> set[str]:
    """Return the times of day that a value may mean: "9:00 a.m." is "9am", and "9" may be."""
    if item.tree.kind == "number":
        clock, half = f"{item.tree.value}:00", ""
    elif item.tree.kind == "time":
        clock, _, half = str(item.tree.value).partition(" ")
    else:
        return set()
    return {clock + half} if half else {clock, f"{clock}am", f"{clock}pm"} | {clock + half}


def _is_same_percent(item: Item, gold: Item) -> bool:
    """Compare with a percent: 28 and 0.28 equal 28%, and 28% equals 28. But 0.5% is not 0.5."""
    if item.tree.kind == gold.tree.kind:
        return equal(canonical(item.tree.parts[0]), canonical(gold.tree.parts[0]))
    other = item if gold.tree.kind == "%" else gold
    if other.unit and unit_of(other.unit) is not None:
        return False
    is_gold = gold.tree.kind == "%"
    count, plain = (gold.tree.parts[0], item.tree) if is_gold else (item.tree.parts[0], gold.tree)
    if not is_number(plain if is_gold else count):
        return False
    if equal(canonical(Tree("/", (count, number(100)))), canonical(plain)):
        return True
    if not equal(canonical(count), canonical(plain)):
        return False
    return is_gold or abs(values(plain)[0]) >= 1


def _scale(item: Item, gold: Item) -> Fraction | None:
    """Return the size of the answer's unit in the gold's, 1 if they are not compared, None if they differ."""
    if not (item.unit and gold.unit) or item.unit == gold.unit:
        return Fraction(1)
    ours, golds = unit_of(item.unit), unit_of(gold.unit)
    if ours is None or golds is None:
        return Fraction(1)
    return ours.factor / golds.factor if ours.base == golds.base else None


def _is_same_relation(item: Item, gold: Item) -> bool:
    """Compare equations and inequalities: they have the same solutions if one is a multiple of the other."""
    kinds = {item.tree.kind, gold.tree.kind}
    if not kinds & {"=", "<", r"\le"}:
        return False
    ours, golds = _as_relation(item), _as_relation(gold)
    if (
        ours is None
        or golds is None
        or ours.kind != golds.kind
        or len(ours.parts) != len(golds.parts)
    ):
        return False
    if len(golds.parts) > 2:
        return matched([*map(canonical, ours.parts)], [*map(canonical, golds.parts)], equal)
    return _is_multiple(ours, golds)


def _as_relation(item: Item) -> Tree | None:
    if item.tree.kind in ("=", "<", r"\le"):
        return item.tree
    variables = names(item.tree) - CONSTANTS
    if item.is_range or not item.name or item.tree.kind in STRUCTURES or not variables:
        # "x=3" is solved, and an equation is not.
        return None
    if re.fullmatch(r"\\?[a-zA-Z]+", item.name):
        return Tree("=", (name(item.name), item.tree))
    called = re.fullmatch(r"([a-zA-Z]) \( ([a-z]) \)", item.name)
    return Tree("=", (Tree("call", (name(called[2]),), called[1]), item.tree)) if called else None


def _is_multiple(relation: Tree, gold: Tree) -> bool:
    """Return whether the differences of both sides have the same ratio at each point, positive for "<"."""
    ours, golds = (joined("+", tree.parts[0], negated(tree.parts[1])) for tree in (relation, gold))
    if names(ours) != names(golds):
        return False
    if canonical(ours) == canonical(golds):
        return True
    ratios = []
    for point in range(4):
        value, other = value_at(ours, point), value_at(golds, point)
        if value is None or other is None or not value or not other:
            continue
        if not isinstance(value, Fraction) and (is_small(value, 1) or is_small(other, 1)):
            continue
        ratios.append(
            Fraction(value, other)
            if isinstance(value, Fraction) and isinstance(other, Fraction)
            else MATH.convert(value) / MATH.convert(other)
        )
    if len(ratios) < 3:
        return False
    first = ratios[0]
    if relation.kind != "=" and (first.imag or first.real < 0):
        return False
    return all(is_small(ratio + -first, first) for ratio in ratios)


def _is_same_vector(tree: Tree, gold: Tree) -> bool:
    r"""Compare notations of vectors and points: a tuple, a column, "P(1,2)", "2\mathbf{i}+\mathbf{j}"."""
    ours, golds = _entries(tree), _entries(gold)
    if golds and ours:
        is_both_matrix = tree.kind == gold.kind == "matrix"
        return (
            not is_both_matrix
            and len(ours) == len(golds)
            and all(
                equal(canonical(value), canonical(other))
                for value, other in zip(ours, golds, strict=True)
            )
        )
    if golds:
        return _is_sum_of_units(tree, golds)
    return bool(ours) and _is_sum_of_units(gold, ours)


def _entries(tree: Tree) -> tuple[Tree, ...]:
    r"""Return the entries of a tuple, a point with a name, a row or a column."""
    if tree.kind == "()" and len(tree.parts) > 1:
        return tree.parts
    if tree.kind == "[]" and len(tree.parts) > 2:
        return tree.parts
    if tree.kind == "call" and len(tree.parts) > 1 and str(tree.value).isupper():
        return tree.parts
    if tree.kind == "matrix":
        if all(len(row.parts) == 1 for row in tree.parts):
            return tuple(row.parts[0] for row in tree.parts)
        if len(tree.parts) == 1:
            return tree.parts[0].parts
    return ()


def _is_sum_of_units(tree: Tree, entries: Sequence[Tree]) -> bool:
    """Return whether an expression in i, j and k has these coefficients."""
    labels = "ijk"[: len(entries)]
    if (
        not 1 < len(entries) < 4
        or "j" not in names(tree)
        or tree.kind not in ("+", "*", "-", "name")
    ):
        return False
    if names(tree) & {"i", "j", "k"} - {*labels}:
        return False
    none = dict.fromkeys(labels, ZERO)
    coefficients = [canonical(_substituted(tree, none | {label: ONE})) for label in labels]
    is_linear = equal(canonical(_substituted(tree, none)), ZERO) and equal(
        canonical(_substituted(tree, dict.fromkeys(labels, number(2)))),
        canonical(joined("*", number(2), joined("+", *coefficients))),
    )
    return is_linear and all(
        equal(value, canonical(entry)) for value, entry in zip(coefficients, entries, strict=True)
    )


def _substituted(tree: Tree, new: dict[str, Tree]) -> Tree:
    if tree.kind == "name":
        return new.get(str(tree.value), tree)
    return tree.with_parts(_substituted(part, new) for part in tree.parts) if tree.parts else tree


# ---------------------------------------------------------------------------------------------------
# Free parameters

_FREE = re.compile("[CcKABD](?:_[0-9])?")
_MOST_RENAMED = 3


def _renamings(
    answer: Reading, gold: Reading, ours: Sequence[Item], golds: Sequence[Item], prompt: Any
) -> list[dict[str, Tree]]:
    """Return the ways to rename the free parameters of an answer as the gold's."""
    has_parameters = bool(answer.parameters or gold.parameters)
    if not has_parameters and all(item.tree.is_constant for item in (*ours, *golds)):
        return []
    our_names = frozenset().union(*(names(item.tree) for item in ours))
    gold_names = frozenset().union(*(names(item.tree) for item in golds))
    only_ours = sorted(our_names - gold_names)
    only_golds = sorted(gold_names - our_names)
    if not only_ours and not only_golds:
        # "C_1" and "C_2" may change places.
        only_ours = only_golds = sorted(label for label in our_names if _FREE.fullmatch(label))
    if len(only_ours) != len(only_golds) or not 0 < len(only_ours) <= _MOST_RENAMED:
        return []
    if not set(only_golds) <= gold.parameters:
        others = {label for label in gold_names - CONSTANTS if not _FREE.fullmatch(label)}
        are_free = all(
            _FREE.fullmatch(label) or label in answer.parameters for label in only_ours + only_golds
        )
        if not (others and are_free) or (prompt is not None and _is_mentioned(only_golds, prompt)):
            return []
    return [
        {label: name(other) for label, other in zip(only_ours, order, strict=True)}
        for order in permutations(only_golds)
    ]


def _is_mentioned(labels: Sequence[str], prompt: Any) -> bool:
    question = turns_of(prompt)[-1]
    return any(
        re.search(rf"(?<![a-zA-Z]){re.escape(label)}(?![a-zA-Z])", question) for label in labels
    )


# ---------------------------------------------------------------------------------------------------
# Ranges of numbers


_RANGE = re.compile(r"\\(?:cup|cap|setminus|infty|mathbb)|-")


def _is_range(reading: Reading, items: Sequence[Item]) -> bool:
    """Return whether an answer is written as a range: an inequality, a union, rays, numbers without some."""
    if any(item.is_range for item in items):
        return True
    if not _RANGE.search(reading.signs):
        return False
    for item in items:
        if any(part.kind in (r"\cup", r"\cap", r"\setminus") for part in subtrees(item.tree)):
            return True
        if item.tree.kind in INTERVALS and r"\infty" in names(item.tree):
            return True
    return False


def _is_same_range(
    answer: Reading, gold: Reading, ours: Sequence[Item], golds: Sequence[Item]
) -> bool | None:
    """Compare ranges of numbers, or return None if one of them is none."""
    labels = {item.name for item in (*ours, *golds)} - {""}
    if len(labels) > 1:
        return None
    our_ranges = as_ranges(_union(ours))
    gold_ranges = as_ranges(_union(golds))
    if our_ranges is None or gold_ranges is None:
        return None
    if _pieces(ours) > max(_pieces(golds), len(gold_ranges)):
        return False
    return are_same(our_ranges, gold_ranges)


def _union(items: Sequence[Item]) -> Tree:
    return Tree(r"\cup", tuple(item.tree for item in items)) if len(items) > 1 else items[0].tree


def _pieces(items: Sequence[Item]) -> int:
    return sum(len(item.tree.parts) if item.tree.kind == r"\cup" else 1 for item in items)


# ---------------------------------------------------------------------------------------------------
# Equal trees


def equal(answer: Tree, gold: Tree) -> bool:
    """Return whether two canonical trees are equal."""
    if answer == gold:
        return True
    if "word" in (answer.kind, gold.kind):
        return _is_same_word(answer, gold)
    if answer.kind[0] == "?" or gold.kind[0] == "?":
        return False
    if not {answer.kind, gold.kind} & STRUCTURES:
        return agree(answer, gold)

    if answer.kind != gold.kind or answer.value != gold.value:
        return _is_same_ratio(answer, gold)
    if gold.kind == "ratio":
        return _is_same_ratio(answer, gold)
    if gold.kind == "=":
        return _is_multiple(answer, gold)
    if len(answer.parts) != len(gold.parts):
        return False
    if gold.kind in ("{}", r"\cup", r"\cap", "cases"):
        # The members of a set have no order.
        return matched(answer.parts, gold.parts, equal)
    return bool(gold.parts) and all(map(equal, answer.parts, gold.parts))


def _is_same_word(answer: Tree, gold: Tree) -> bool:
    """Compare words as texts. Beside an expression, letters are a product."""
    if answer.kind == gold.kind:
        return answer.value == gold.value
    trees = [
        tree.parts[0] if tree.kind == "word" and tree.parts else tree for tree in (answer, gold)
    ]
    if any(tree.kind == "word" for tree in trees):
        return False
    return equal(canonical(trees[0]), canonical(trees[1]))


def _is_same_ratio(answer: Tree, gold: Tree) -> bool:
    """Compare ratios: "6:8" is "3:4" and 3/4."""
    if "ratio" not in (answer.kind, gold.kind):
        return False
    ours, golds = (tree.parts if tree.kind == "ratio" else (tree, ONE) for tree in (answer, gold))
    if len(ours) != len(golds) or {answer.kind, gold.kind} & (STRUCTURES - {"ratio"}):
        return False
    products = [
        (joined("*", value, golds[0]), joined("*", other, ours[0]))
        for value, other in zip(ours, golds, strict=True)
    ]
    return all(agree(canonical(value), canonical(other)) for value, other in products)


def _leaves_work(ours: Sequence[Item], golds: Sequence[Item]) -> bool:
    """Return whether an answer leaves work to its reader that the gold has done."""
    if any(item.tree.kind == "based" for item in golds):
        return False
    left: set[str] = set()
    allowed: set[str] = set()
    for item in ours:
        left |= undone(_count_of(item.tree))
        left |= undone(item.modulus) if item.modulus is not None else set()
    for item in golds:
        allowed |= undone(_count_of(item.tree))
        if item.rounded is not None or item.letter or item.tree.kind in STRUCTURES:
            allowed |= {"irrational"}
    return bool(left - allowed)


@lru_cache(maxsize=65536)
def stated(text: str) -> Hashable:
    """Return a value that is equal for texts that state the same answer."""
    reading = _settled(read(text))
    if len(reading.items) == 1:
        item = reading.items[0]
        return rounded(values(canonical(item.tree))) or item.tree
    return reading.signs
