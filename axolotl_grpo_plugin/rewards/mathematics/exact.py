r"""Decide whether two expressions (expressions.py) are equal, and whether one of them is evaluated.

Values are compared at three points: exactly if they are rational, otherwise to 120 digits. An answer
has too few characters to agree by chance.
"""

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import factorial, prod
from typing import Any

import mpmath

from axolotl_grpo_plugin.rewards.mathematics.expressions import FUNCTIONS, ONE, Tree, joined, number
from axolotl_grpo_plugin.rewards.mathematics.values import matched

Value = Any  # a Fraction, or a number of mpmath, which has no types

_MATH = mpmath.mp.clone()
_MATH.prec = 500
_CLOSE = _MATH.mpf(10) ** -120  # relative
_MOST_BITS = 10_000  # of an exact power
_LARGEST = 2**14  # a power, and the argument of a function
_POINTS = 3  # all variables positive, all negative, and mixed

_ZERO, _MINUS, _TEN = map(number, (0, -1, 10))

# A sum does not change by its identity, nor does a product.
_IDENTITIES = {"+": _ZERO, "*": ONE}
_CONSTANTS = {"e": +_MATH.e, "i": _MATH.mpc(0, 1), r"\pi": +_MATH.pi}


def _factorial(value: Value) -> Value:
    # An exact one would have too many digits, or is none.
    if value > 1000 or not _MATH.isint(value):
        return _MATH.gamma(value + 1)

    return Fraction(factorial(int(value)))


# Functions by the kinds of their trees. The enclosed ones are named by their brackets.
_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "||": abs,
    "!": _factorial,
    r"\binom": _MATH.binomial,
    r"\lfloor\rfloor": _MATH.floor,
    r"\lceil\rceil": _MATH.ceil,
}
for _name in FUNCTIONS - {"ln", "lg"}:
    _FUNCTIONS[_name] = getattr(_MATH, _name.replace("arc", "a"))

# Sets, tuples, intervals and equations. They have no value.
STRUCTURES = frozenset({r"\{\}", "()", "[]", "(]", "[)", "="})


def equal(answer: Tree, gold: Tree) -> bool:
    """Return whether two canonical trees are equal."""
    if answer == gold:
        return True
    if not {answer.kind, gold.kind} & STRUCTURES:
        return _agree(values(answer), values(gold))

    if answer.kind != gold.kind:
        return False
    if len(answer.parts) != len(gold.parts):
        return False
    if answer.kind == r"\{\}":
        # The members of a set have no order.
        return matched(answer.parts, gold.parts, equal)
    return all(map(equal, answer.parts, gold.parts))


def _agree(ours: Sequence[Value], golds: Sequence[Value]) -> bool:
    """Return whether values agree at the points where both are real, or both are not."""
    is_compared = False

    # One of them may have no value at any point.
    for value, gold in zip(ours, golds, strict=False):
        if _is_real(value) != _is_real(gold):
            # "2 ln x" is not real for a negative x, but "ln x^2" is.
            continue

        # A number of mpmath can be added to a Fraction, but not subtracted from it.
        difference = value + -gold
        if not _is_small(difference, value):
            return False
        is_compared = True

    return is_compared


def _is_real(value: Value) -> bool:
    return _is_small(value.imag, value)


def _is_small(value: Value, beside: Value) -> bool:
    if isinstance(value, Fraction):
        return not value
    return bool(_CLOSE * abs(beside) - abs(value) >= 0)


@lru_cache(maxsize=65536)
def values(tree: Tree) -> tuple[Value, ...]:
    """Return the values of a canonical tree at each point, or () if it has none.

    A structure has no value, nor has 1/0, nor an expression whose value is too large.
    """
    try:
        return tuple(_value(tree, point) for point in range(_POINTS))
    except (ArithmeticError, TypeError, ValueError):
        return ()


@lru_cache(maxsize=65536)
def _value(tree: Tree, point: int) -> Value:
    if tree.kind == "number":
        return tree.number
    if tree.kind in _CONSTANTS:
        return _CONSTANTS[tree.kind]
    if tree.kind in STRUCTURES:
        raise TypeError(tree.kind)

    parts = [_value(part, point) for part in tree.parts]

    if tree.kind == "+":
        return sum(parts)
    if tree.kind == "*":
        return prod(parts)
    if tree.kind == "^":
        return _power(*parts)
    if tree.kind in _FUNCTIONS:
        function = _FUNCTIONS[tree.kind]
        limited = map(_limited, parts)
        return _snapped(function(*limited))

    # A variable, or an unknown function: its value depends on its name, the point and its arguments.
    arguments = [_MATH.nstr(part, 50) for part in parts]
    draw = random.Random(f"{tree.kind} {point} {arguments}")
    signs = (1, -1, draw.choice((1, -1)))
    size = draw.randrange(300, 2500)
    return Fraction(signs[point] * size, 997)


def _limited(value: Value) -> Value:
    """Return a value that a function computes quickly. Raises: OverflowError for a larger one."""
    if abs(value) > _LARGEST:
        raise OverflowError
    return value


def _power(base: Value, power: Value) -> Value:
    """Return a power, exactly if that takes few digits."""
    are_exact = isinstance(base, Fraction) and isinstance(power, Fraction)
    if are_exact and power.denominator == 1:
        bits = base.numerator.bit_length() + base.denominator.bit_length()
        if bits * abs(power) < _MOST_BITS:
            return base**power

    return _snapped(_MATH.power(base, _limited(power)))


def _snapped(value: Value) -> Value:
    """Return a whole number exactly, if a value is one: the root of 16, `\\log_2 8`."""
    if isinstance(value, Fraction):
        return value

    whole = _MATH.nint(value.real)
    # A larger number has more digits than are known.
    is_known = abs(whole) < 2**400
    if is_known and _is_small(value - whole, value):
        return Fraction(int(whole))
    return value


@lru_cache(maxsize=65536)
def canonical(tree: Tree) -> Tree:
    """Return a tree with sorted terms and factors, and without 0 as a term and 1 as a factor.

    Nothing is multiplied out, so an expression and its factors differ.
    """
    kind = tree.kind
    parts = [canonical(part) for part in tree.parts]

    if kind == "-":
        return _sorted("*", _MINUS, *parts)
    if kind == "/":
        over, under = parts
        return _sorted("*", over, _raised(under, _MINUS))
    if kind == "^":
        return _raised(*parts)
    if kind in _IDENTITIES:
        return _sorted(kind, *parts)
    return Tree(kind, tuple(parts), tree.number)


def _sorted(kind: str, *parts: Tree) -> Tree:
    identity = _IDENTITIES[kind]
    flat = [*joined(kind, *parts).parts]

    if kind == "*":
        # The sign of a product is one factor: "x^2-5x" equals "-5x+x^2".
        sign = prod(-1 for part in flat if part.number < 0)

        flat = [part._replace(number=abs(part.number)) for part in flat]
        flat.append(number(sign))

    kept = sorted(part for part in flat if part != identity)
    if len(kept) > 1:
        return Tree(kind, tuple(kept))
    return [*kept, identity][0]


def _raised(base: Tree, exponent: Tree) -> Tree:
    """Return a power, or its base if the power is 1."""
    power = rational(exponent)
    if power is not None:
        exponent = number(power)

    if power == 1 or base == ONE:
        return base

    if base.kind == "*" and power == -1:
        # To divide by a product is to divide by each factor.
        factors = [_raised(part, exponent) for part in base.parts]
        return _sorted("*", *factors)
    return Tree("^", (base, exponent))


@lru_cache(maxsize=65536)
def outline(tree: Tree) -> Hashable:
    """Return a form that a canonical tree shares with its disguises.

    It has the sizes of the terms in a sum, or of the factors in a product. An equation has those of both
    sides.
    """
    sides = tree.parts if tree.kind == "=" else (tree,)
    pieces = []
    for side in sides:
        factors = [part for part in joined("*", side).parts if part != _MINUS]
        parts = factors if len(factors) > 1 else joined("+", *factors).parts
        pieces += [_sizes(part) for part in parts if part != _ZERO]
    return frozenset(Counter(pieces).items()), _rounded(values(tree))


@lru_cache(maxsize=65536)
def _sizes(tree: Tree) -> Hashable:
    # A tree without values is its own size.
    return _rounded(map(abs, values(tree))) or tree


def _rounded(numbers: Iterable[Value]) -> Hashable:
    return tuple(_MATH.nstr(_MATH.convert(number), 40) for number in numbers)


def rational(tree: Tree) -> Fraction | None:
    """Return the value of a canonical tree if it is the same rational number at each point."""
    different = set(values(tree))
    if len(different) != 1:
        return None

    value = different.pop()
    return value if isinstance(value, Fraction) else None


def is_number(tree: Tree) -> bool:
    r"""Return whether a tree states a number: "-5", "36/2", "3\cdot10^{8}"."""
    if tree.kind == "number":
        return True

    kinds = [part.kind for part in tree.parts]
    if tree.kind == "-":
        # The parser has put the one sign of a number into it.
        return kinds[0] not in ("-", "number") and is_number(*tree.parts)
    if tree.kind == "/":
        return kinds == ["number", "number"]
    if tree.kind == "*" and kinds == ["number", "^"]:
        # Scientific notation. The root of 10 is a power with a broken exponent.
        base, power = tree.parts[1].parts
        exponent = rational(canonical(power))
        return base == _TEN and exponent is not None and exponent.denominator == 1
    return False


def unevaluated(tree: Tree) -> set[str]:
    """Return the kinds of arithmetic that an expression leaves to its reader.

    "number": a number that is not stated ("2^3", "x^0").
    "+": terms that differ by a number ("2x+4x").
    "*": several numbers ("2\\cdot3x").
    "log": any logarithm.
    The name of another function: of numbers ("5!"). All functions of angles count as "sin".
    "irrational": anything but a number.
    """
    if is_number(tree):
        return set()

    kinds = set()
    if tree.kind not in STRUCTURES:
        if rational(canonical(tree)) is not None:
            return {"number"}
        kinds.add("irrational")

    if tree.kind == "+":
        # Equal cores could be added up.
        cores = [_core(part) for part in map(canonical, tree.parts) if part != _ZERO]
        if len({*cores}) < len(cores):
            kinds.add("+")
    elif tree.kind == "*" and _count_numbers(tree) > 1:
        kinds.add("*")
    elif tree.kind == "log":
        # "\\log_{10} x" is "\\frac{\\ln x}{\\ln 10}".
        kinds.add("log")
    elif tree.kind in _FUNCTIONS and len({*values(canonical(tree))}) == 1:
        kinds.add("sin" if tree.kind in FUNCTIONS else tree.kind)

    for part in tree.parts:
        kinds |= unevaluated(part)
    return kinds


def _core(term: Tree) -> Tree:
    """Return a canonical term without the numbers among its factors."""
    factors = joined("*", ONE, term).parts
    unknown = [part for part in factors if not rational(part)]
    return joined("*", *unknown)


def _count_numbers(factor: Tree) -> int:
    """Count the numbers among factors. A fraction has one, and so has a power such as "e^2"."""
    if factor.kind == "^":
        # "e^2" is a number, but "x^2" is none.
        base, power = factor.parts
        return int(base.kind in _CONSTANTS and power.kind == "number")
    if factor.kind == "/":
        return max(map(_count_numbers, factor.parts))
    if factor.kind in ("*", "-"):
        return sum(map(_count_numbers, factor.parts))
    return int(factor.kind == "number")
