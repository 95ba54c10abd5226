r"""The form of an expression: a canonical tree, and the work that it leaves to its reader."""

from collections import Counter
from collections.abc import Hashable
from fractions import Fraction
from functools import lru_cache
from math import gcd, prod

from axolotl_grpo_plugin.rewards.mathematics.exact import (
    is_real,
    rational,
    rounded,
    value_at,
    values,
)
from axolotl_grpo_plugin.rewards.mathematics.functions import FUNCTIONS, NOTATIONS
from axolotl_grpo_plugin.rewards.mathematics.trees import (
    CONSTANTS,
    MINUS,
    ONE,
    STRUCTURES,
    TEN,
    ZERO,
    Tree,
    joined,
    number,
)

# A sum does not change by its identity, nor does a product.
_IDENTITIES = {"+": ZERO, "*": ONE}


@lru_cache(maxsize=65536)
def canonical(tree: Tree) -> Tree:
    """Return a tree with sorted terms and factors, and without 0 as a term and 1 as a factor.

    Nothing is multiplied out, so an expression and its factors differ.
    """
    kind = tree.kind
    if not tree.parts:
        return tree
    parts = [canonical(part) for part in tree.parts]

    if kind == "-":
        return _sorted("*", MINUS, *parts)
    if kind == "/":
        over, under = parts
        return _sorted("*", over, _raised(under, MINUS))
    if kind == "^":
        return _raised(*parts)
    if kind in _IDENTITIES:
        return _sorted(kind, *parts)
    return tree.with_parts(parts)


def _sorted(kind: str, *parts: Tree) -> Tree:
    identity = _IDENTITIES[kind]
    flat = [*joined(kind, *parts).parts]

    if kind == "*":
        # The sign of a product is one factor: "x^2-5x" equals "-5x+x^2".
        sign = 1
        for index, part in enumerate(flat):
            if isinstance(part.value, Fraction) and part.value < 0:
                sign = -sign
                flat[index] = number(-part.value)
        flat.append(number(sign))

    kept = sorted(part for part in flat if part != identity)
    if len(kept) > 1:
        return Tree(kind, tuple(kept))
    return [*kept, identity][0]


def _raised(base: Tree, exponent: Tree) -> Tree:
    """Return a power, or its base if the power is 1."""
    power = rational(exponent) if exponent.is_constant else None
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
        factors = [part for part in joined("*", side).parts if part != MINUS]
        parts = factors if len(factors) > 1 else joined("+", *factors).parts
        pieces += [_sizes(part) for part in parts if part != ZERO]
    return frozenset(Counter(pieces).items()), rounded(values(tree))


@lru_cache(maxsize=65536)
def _sizes(tree: Tree) -> Hashable:
    # A tree without values is its own size.
    return rounded(map(abs, values(tree))) or tree


# ---------------------------------------------------------------------------------------------------
# Work that is left to the reader


def is_number(tree: Tree) -> bool:
    r"""Return whether a tree states a number: "-5", "36/2", "1\frac{1}{2}", "10^{-3}", "3\cdot10^{8}"."""
    kind = tree.kind
    if kind in ("number", "mixed"):
        return True

    kinds = [part.kind for part in tree.parts]
    if kind == "-":
        # The grammar has put the one sign of a number into it.
        return kinds[0] not in ("-", "number") and is_number(*tree.parts)
    if kind == "/":
        return kinds == ["number", "number"]
    if kind == "*" and kinds == ["number", "^"]:
        return _is_power_of_ten(tree.parts[1])
    return kind == "^" and _is_power_of_ten(tree)


def _is_power_of_ten(tree: Tree) -> bool:
    base, exponent = tree.parts
    is_whole = isinstance(exponent.value, Fraction) and exponent.value.denominator == 1
    return base == TEN and is_whole


def undone(tree: Tree) -> frozenset[str]:
    r"""Return the kinds of work that an expression leaves to its reader.

    "number": a number that is not stated ("2^3", "x^0").
    "+": terms that differ by a number ("2x+4x").
    "*": several numbers ("2\cdot3x").
    "log": any logarithm. The name of another function: of numbers ("5!").
    "sums": a product, a quotient or a power of constant sums ("(1+i)^2", "\frac{1}{2+\sqrt3}").
    "roots": several roots of numbers ("\sqrt2\sqrt3"), or a root of a negative or complex number.
    "fraction": a fraction that is not in lowest terms, within an expression ("\log_2\frac62", "\frac{4+2i}{2}").
    "log and number": a logarithm of numbers, and a number ("\log_2 6-1").
    "matrix": an operation on matrices.
    "irrational": anything but a number.
    """
    kinds: set[str] = set()
    _collect(tree, kinds, False)
    return frozenset(kinds)


def _collect(tree: Tree, kinds: set[str], is_within: bool) -> None:
    if is_number(tree):
        if is_within and not _is_reduced(tree):
            kinds.add("fraction")
        return

    kind = tree.kind
    if kind not in STRUCTURES:
        if (tree.is_constant or kind != "name") and rational(tree) is not None:
            kinds.add("number")
            return
        kinds.add("irrational")

    if kind == "+":
        # Equal cores could be added up.
        cores = [_core(part) for part in map(canonical, tree.parts) if part != ZERO]
        if len({*cores}) < len(cores):
            kinds.add("+")
        if any(part.kind == "^" and is_number(part) for part in tree.parts):
            # "x+10^2"
            kinds.add("number")
        is_sum_with_log = any(_is_log_of_numbers(part) for part in tree.parts)
        if is_sum_with_log and any(rational(part) for part in tree.parts if part.is_constant):
            kinds.add("log and number")
    elif kind in ("*", "/", "^", "-"):
        if kind == "*" and _count_numbers(tree) > 1:
            kinds.add("*")
        kinds |= _undone_factors(tree)
    elif kind == "log":
        # "\\log_{10} x" is "\\frac{\\ln x}{\\ln 10}".
        kinds.add("log")
    elif kind in FUNCTIONS or kind in NOTATIONS:
        if tree.is_constant or len({*values(tree)}) == 1:
            kinds.add(FUNCTIONS[kind].kind or kind if kind in FUNCTIONS else kind)
    elif kind == "det":
        kinds.add("det")

    if kind in ("+", "*", "^", "/", "-") and any(part.kind == "matrix" for part in tree.parts):
        kinds.add("matrix")

    if kind == "+" and any(part.kind == "/" and _is_whole(part) for part in tree.parts):
        kinds.add("fraction")
    is_function = kind in FUNCTIONS or kind == "^"
    for part in tree.parts:
        _collect(part, kinds, is_function)


def _is_whole(tree: Tree) -> bool:
    r"""Return whether a fraction of numbers is a whole number: "\frac{4}{2}"."""
    value = rational(tree) if tree.is_constant else None
    return value is not None and value.denominator == 1


def _is_reduced(tree: Tree) -> bool:
    if tree.kind != "/":
        return True
    over, under = (part.value for part in tree.parts)
    assert isinstance(over, Fraction) and isinstance(under, Fraction)  # because it is a number
    return over.denominator > 1 or under.denominator > 1 or gcd(int(over), int(under)) == 1


def _undone_factors(tree: Tree) -> set[str]:
    """Return the kinds of work in a product of constants."""
    kinds = set()
    sums = 0
    roots = 0
    for factor, exponent in _factors(tree, Fraction(1)):
        if not factor.is_constant:
            continue
        if factor.kind == "+":
            # "(1+i)^2" and "\frac{1}{1+i}" are two, "\sqrt{3+2\sqrt2}" is none.
            is_whole = exponent.denominator == 1
            if not is_whole and not is_real(value_at(factor, 0)):
                kinds.add("roots")
            sums += abs(int(exponent)) + (exponent < 0) if is_whole else 0
        elif factor.value == "i" and exponent.denominator > 1:
            kinds.add("roots")
        elif factor.kind == "/" and value_at(factor, 0) == 1:
            kinds.add("fraction")
        elif factor.kind in ("number", "/", "mixed") and exponent.denominator > 1:
            roots += exponent > 0
            value = value_at(factor, 0)
            if isinstance(value, Fraction) and value < 0 and exponent.denominator % 2 == 0:
                kinds.add("roots")
    is_turned = any(factor.value == "i" for factor, _ in _factors(tree, Fraction(1)))
    if sums > 1 or (sums and is_turned):
        kinds.add("sums")
    if roots > 1:
        kinds.add("roots")
    if _has_common_factor(tree):
        kinds.add("fraction")
    return kinds


def _factors(tree: Tree, exponent: Fraction) -> list[tuple[Tree, Fraction]]:
    """Return the factors of a product with their exponents."""
    if tree.kind == "*":
        return [pair for part in tree.parts for pair in _factors(part, exponent)]
    if tree.kind == "-":
        return _factors(tree.parts[0], exponent)
    if tree.kind == "/" and not is_number(tree):
        over, under = tree.parts
        return _factors(over, exponent) + _factors(under, -exponent)
    if tree.kind == "^":
        base, power = tree.parts
        value = rational(power) if power.is_constant else None
        if value is not None:
            return _factors(base, exponent * value)
    return [(tree, exponent)]


def _has_common_factor(tree: Tree) -> bool:
    r"""Return whether a whole number divides all terms of a constant sum and the number below: "\frac{4+2i}{2}"."""
    if tree.kind != "/" or not tree.is_constant:
        return False
    over, under = tree.parts
    below = rational(under)
    if below is None or below.denominator > 1:
        return False
    terms = over
    times = Fraction(1)
    for factor, _ in _factors(over, Fraction(1)):
        if factor.kind == "+":
            terms = factor
        else:
            times *= rational(factor) or 1
    if terms.kind != "+":
        return False
    content = 0
    for coefficient in map(times.__mul__, coefficients(terms)):
        if coefficient.denominator > 1:
            return False
        content = gcd(content, int(coefficient))
    return gcd(content, int(below)) > 1


def coefficients(tree: Tree) -> list[Fraction]:
    """Return the number before each term of a sum."""
    terms = joined("+", canonical(tree)).parts
    return [
        Fraction(prod(rational(part) or 1 for part in joined("*", term).parts)) for term in terms
    ]


def _is_log_of_numbers(tree: Tree) -> bool:
    if tree.kind == "-":
        tree = tree.parts[0]
    return tree.kind == "log" and all(rational(part) is not None for part in tree.parts)


@lru_cache(maxsize=65536)
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
        return int(base.value in CONSTANTS and power.kind == "number")
    if factor.kind == "/":
        return max(map(_count_numbers, factor.parts))
    if factor.kind in ("*", "-"):
        return sum(map(_count_numbers, factor.parts))
    return int(factor.kind in ("number", "mixed"))
