r"""The functions that an answer may have: names -> values.

To add a function, add a line to `FUNCTIONS`. The grammar reads the name as a command (`\gcd`), as text
(`\operatorname{gcd}`, `\text{gcd}`), and as a plain word (gcd). A function of numbers is work that is left to the reader.
"""

from collections.abc import Callable
from fractions import Fraction
from math import factorial, gcd
from typing import Any, NamedTuple

import mpmath

Value = Any  # a Fraction, or a number of mpmath, which has no types

MATH = mpmath.mp.clone()
MATH.prec = 500


class Function(NamedTuple):
    r"""A function.

    Attributes:
        value: The value of arguments, which are Fractions or numbers of mpmath. An ArithmeticError,
            TypeError or ValueError means that there is none.
        open: The argument may stand without brackets, as in `\sin 2x`.
        kind: Functions of one kind may be written as each other: `\tan x` and `\frac{\sin x}{\cos x}`.
    """

    value: Callable[..., Value]
    open: bool = False
    kind: str = ""


def _factorial(value: Value) -> Value:
    # An exact one would have too many digits, or is none.
    if value > 1000 or not MATH.isint(value):
        return MATH.gamma(value + 1)
    return Fraction(factorial(int(value)))


def _gcd(*values: Value) -> Value:
    """Return the greatest fraction of which all values are multiples. Raises: TypeError for an irrational value."""
    result = Fraction(0)
    for value in values:
        if not isinstance(value, Fraction):
            raise TypeError(value)
        under = result.denominator * value.denominator
        result = Fraction(gcd(int(result * under), int(value * under)), under)
    return result


FUNCTIONS = {
    "sin": Function(MATH.sin, open=True, kind="sin"),
    "cos": Function(MATH.cos, open=True, kind="sin"),
    "tan": Function(MATH.tan, open=True, kind="sin"),
    "cot": Function(MATH.cot, open=True, kind="sin"),
    "sec": Function(MATH.sec, open=True, kind="sin"),
    "csc": Function(MATH.csc, open=True, kind="sin"),
    "arcsin": Function(MATH.asin, open=True, kind="sin"),
    "arccos": Function(MATH.acos, open=True, kind="sin"),
    "arctan": Function(MATH.atan, open=True, kind="sin"),
    "sinh": Function(MATH.sinh, open=True, kind="sin"),
    "cosh": Function(MATH.cosh, open=True, kind="sin"),
    "tanh": Function(MATH.tanh, open=True, kind="sin"),
    "log": Function(MATH.log, open=True),
    "gcd": Function(_gcd),
    "max": Function(max),
    "min": Function(min),
}


def is_open_function(name: str) -> bool:
    r"""Return whether a name is a function whose argument may stand without brackets: "sin"."""
    return name in FUNCTIONS and FUNCTIONS[name].open


# Functions that have a notation of their own: "|x|", "n!".
NOTATIONS = {
    "||": Function(abs),
    "!": Function(_factorial),
    r"\binom": Function(MATH.binomial),
    r"\lfloor\rfloor": Function(MATH.floor),
    r"\lceil\rceil": Function(MATH.ceil),
}
