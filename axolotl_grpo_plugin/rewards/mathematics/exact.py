r"""The values of expressions: exactly if they are rational, otherwise to 120 digits.

An expression with variables has a value at each of four points. An answer has too few characters to agree with
another expression by chance. A structure has no value, nor has 1/0, nor an expression whose value is too large.
"""

import random
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import lru_cache

from axolotl_grpo_plugin.rewards.mathematics.functions import FUNCTIONS, MATH, NOTATIONS, Value
from axolotl_grpo_plugin.rewards.mathematics.trees import STRUCTURES, Tree, subtrees

_CLOSE = MATH.mpf(10) ** -120  # relative
_MOST_BITS = 10_000  # of an exact number
_LARGEST = 2**14  # a power, and the argument of a function

_POSITIVE = (0, 1)  # points at which all variables are positive
_POINTS = (0, 1, 2, 3)  # at 2 they are negative, at 3 they have different signs
_MIXED = range(2, 10)  # more points with different signs, for roots
_CONSTANTS = {"e": +MATH.e, "i": MATH.mpc(0, 1), r"\pi": +MATH.pi}
_CALLED = FUNCTIONS | NOTATIONS


def agree(answer: Tree, gold: Tree) -> bool:
    """Return whether two expressions have the same values.

    They are compared at points where both are real, or both are not. If both have a root or a logarithm that is not real at
    one of the points, variables are positive: `\\sqrt{x}\\sqrt{y}` is `\\sqrt{xy}`.
    """
    if answer.is_constant and gold.is_constant:
        return is_same_at(answer, gold, 0) is True

    are_compared = False
    for point in _POINTS:
        is_same = is_same_at(answer, gold, point)
        if is_same is False:
            may_differ = point not in _POSITIVE and are_compared
            if may_differ and _leaves_reals(answer) and _leaves_reals(gold):
                continue
            return False
        are_compared = are_compared or is_same is True
    return are_compared


def is_same_at(answer: Tree, gold: Tree, point: int) -> bool | None:
    """Return whether two values are equal at a point, or None if they cannot be compared there."""
    value = value_at(answer, point)
    other = value_at(gold, point)
    if value is None or other is None:
        return None
    if is_real(value) != is_real(other):
        # "2 ln x" is not real for a negative x, but "ln x^2" is.
        return None if not (answer.is_constant and gold.is_constant) else False
    # A number of mpmath can be added to a Fraction, but not subtracted from it.
    return is_small(value + -other, value)


def _leaves_reals(tree: Tree) -> bool:
    for part in subtrees(tree):
        if part.is_constant or part.kind not in ("^", "log"):
            continue
        base, power = part.parts
        exponent = rational(power)
        if part.kind == "^" and (exponent is None or exponent.denominator % 2):
            continue
        for point in _MIXED:
            value = value_at(base, point)
            if value is not None and (not is_real(value) or value.real < 0):
                return True
    return False


def is_real(value: Value | None) -> bool:
    """Return whether a value is a real number, or there is none."""
    if value is None or isinstance(value, Fraction | MATH.mpf):
        return True
    return is_small(value.imag, value)


def is_small(value: Value, beside: Value) -> bool:
    """Return whether a value is 0 in comparison with another one."""
    if isinstance(value, Fraction):
        return not value
    return bool(_CLOSE * abs(beside) - abs(value) >= 0)


def values(tree: Tree) -> tuple[Value, ...]:
    """Return the values of a tree at each point, or () if it has none."""
    points = (0,) if tree.is_constant else _POINTS
    computed = [value_at(tree, point) for point in points]
    return () if None in computed else tuple(computed)


def value_at(tree: Tree, point: int) -> Value | None:
    """Return the value of a tree at a point, or None."""
    try:
        return _value(tree, 0 if tree.is_constant else point)
    except (ArithmeticError, TypeError, ValueError):
        return None


@lru_cache(maxsize=65536)
def _value(tree: Tree, point: int) -> Value:
    kind = tree.kind
    if kind == "number":
        return tree.value
    if kind == "name" and tree.value in _CONSTANTS:
        return _CONSTANTS[str(tree.value)]
    if kind in STRUCTURES:
        raise TypeError(kind)

    parts = [_value(part, point) for part in tree.parts]

    if kind == "+":
        return _bounded(sum(parts))
    if kind == "*":
        return _product(parts)
    if kind == "-":
        return -parts[0]
    if kind == "/":
        return _bounded(parts[0] * _power(parts[1], Fraction(-1)))
    if kind == "^":
        return _power(*parts)
    if kind == "mixed":
        whole, over, under = parts
        return whole + over / under
    if kind == "%":
        return parts[0] / 100
    if kind in _CALLED:
        limited = map(_limited, parts)
        return _snapped(_CALLED[kind].value(*limited))
    if kind == "call" and tree.value == "C" and len(parts) == 2:
        # "C(n,2)"
        return _snapped(NOTATIONS[r"\binom"].value(*map(_limited, parts)))
    return _unknown(f"{kind} {tree.value}", point, parts)


def _unknown(label: str, point: int, arguments: Sequence[Value]) -> Fraction:
    """Return the value of a variable or an unknown function, by its name, the point and its arguments."""
    written = [MATH.nstr(argument, 50) for argument in arguments]
    size, sign = _drawn(f"{label} {written}", point)
    return Fraction(size * sign, 997)


@lru_cache(maxsize=65536)
def _drawn(label: str, point: int) -> tuple[int, int]:
    draw = random.Random(f"{label} {point}")
    sign = draw.choice((1, -1))
    if point < len(_POINTS) - 1:
        sign = -1 if point == 2 else 1
    return draw.randrange(300, 2500), sign


def _product(parts: Iterable[Value]) -> Value:
    result: Value = Fraction(1)
    for part in parts:
        result = _bounded(result * part)
    return result


def _bounded(value: Value) -> Value:
    """Return a value that takes few digits. Raises: OverflowError for another exact one."""
    if isinstance(value, Fraction):
        bits = value.numerator.bit_length() + value.denominator.bit_length()
        if bits > 4 * _MOST_BITS:
            raise OverflowError
    return value


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

    return _snapped(MATH.power(base, _limited(power)))


def _snapped(value: Value) -> Value:
    """Return a whole number exactly, if a value is one: the root of 16, `\\log_2 8`."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int):
        return Fraction(value)

    whole = MATH.nint(value.real)
    # A larger number has more digits than are known.
    is_known = abs(whole) < 2**400
    if is_known and is_small(value - whole, value):
        return Fraction(int(whole))
    return value


@lru_cache(maxsize=65536)
def rational(tree: Tree) -> Fraction | None:
    """Return the value of a tree if it is the same rational number at each point."""
    first = value_at(tree, 0)
    if not isinstance(first, Fraction):
        return None
    if not tree.is_constant and any(value_at(tree, point) != first for point in _POINTS[1:]):
        return None
    return first


def rounded(numbers: Iterable[Value]) -> tuple[str, ...]:
    """Return numbers as texts of 40 digits."""
    return tuple(MATH.nstr(MATH.convert(number), 40) for number in numbers)
