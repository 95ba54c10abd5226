r"""Read the exact value of an answer in normal form (latex.py): a polynomial with roots.

This decides the frequent forms without a parser for all of LaTeX: numbers, fractions, roots of
whole numbers, `\pi`, variables with whole powers, and their sums and products.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import gcd, isqrt

# A monomial is a root's radicand (square-free, 1 for none) and powers of symbols, by name.
Monomial = tuple[int, tuple[tuple[str, int], ...]]
Value = dict[Monomial, Fraction]

_TOKEN = re.compile(
    r"(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?!_)|(?P<power>\^\{-?[0-9]{1,5}\})"
    r"|\\sqrt\{(?P<root>[0-9]{1,12})\}"
    r"|(?P<symbol>\\(?:pi|theta|alpha|beta|gamma|lambda|phi|omega)(?![a-zA-Z])|[a-zA-Z])(?P<index>_[0-9a-zA-Z])?"
    r"|(?P<fraction>\\frac(?=\{))|(?P<times>\\cdot ?)|(?P<sign>[-+])|(?P<other>[(){}/])"
)
_FUNCTIONS = frozenset("fghFGPQ")  # "f(x)" is no product
_DEEPEST = 12  # brackets in brackets
_MOST_TERMS = 40
_MOST_BITS = 40_000  # of a coefficient
_LARGEST_POWER = 12  # of a sum
_ONE: Monomial = (1, ())


class _Unknown(Exception):
    """`exact` does not read the form of this text."""


@lru_cache(maxsize=65536)
def exact(text: str) -> frozenset[tuple[Monomial, Fraction]] | None:
    r"""Return the exact value of an answer in normal form, or None for other forms.

    Two values are equal if and only if the numbers or polynomials are.

    >>> exact(r"\frac{1}{\sqrt{2}}") == exact(r"\frac{\sqrt{2}}{2}"), exact("(x+1)^{2}") == exact("1+2x+x^{2}")
    (True, True)
    """
    try:
        tokens = list(_tokens(text))
        value, rest = _sum(tokens, 0, 0)
        return frozenset(value.items()) if rest == len(tokens) else None
    except _Unknown:
        return None


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise _Unknown
        kind = match.lastgroup or ""
        if kind == "index":
            yield "symbol", match["symbol"] + match["index"]
        else:
            yield kind, match[kind]
        place = match.end()


def _sum(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Value, int]:
    total: Value = {}
    while at < len(tokens):
        kind, text = tokens[at]
        signed = kind == "sign"
        if not signed and total:
            break
        term, at = _term(tokens, at + signed, depth)
        _add(total, term, Fraction(-1 if signed and text == "-" else 1))
        if at == len(tokens) or tokens[at][0] != "sign":
            return total, at
    raise _Unknown


def _term(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Value, int]:
    value, at = _factor(tokens, at, depth)
    while at < len(tokens):
        kind, text = tokens[at]
        if kind == "times" or text == "/":
            other, at = _factor(tokens, at + 1, depth)
            value = _multiply(value, _inverse(other) if text == "/" else other)
            # "1/2x" may be (1/2)x or 1/(2x).
            if text == "/" and at < len(tokens) and _begins_factor(tokens[at], number=True):
                raise _Unknown
        elif _begins_factor(tokens[at], number=False):
            if text == "(" and tokens[at - 1][1] in _FUNCTIONS:
                raise _Unknown
            other, at = _factor(tokens, at, depth)
            value = _multiply(value, other)
        else:
            break
    return value, at


def _begins_factor(token: tuple[str, str], number: bool) -> bool:
    kind, text = token
    return kind in ("root", "symbol", "fraction") or text == "(" or (number and kind == "number")


def _factor(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Value, int]:
    if at >= len(tokens) or depth > _DEEPEST:
        raise _Unknown
    (kind, text), at = tokens[at], at + 1
    value: Value
    if kind == "number":
        value = {_ONE: Fraction(text)} if Fraction(text) else {}
    elif kind == "symbol":
        value = {(1, ((text, 1),)): Fraction(1)}
    elif kind == "root":
        value = _root(int(text))
    elif kind == "fraction":
        over, at = _group(tokens, at, depth)
        under, at = _group(tokens, at, depth)
        value = _multiply(over, _inverse(under))
    elif text == "(":
        value, at = _sum(tokens, at, depth + 1)
        at = _closed(tokens, at, ")")
    else:
        raise _Unknown
    if at < len(tokens) and tokens[at][0] == "power":
        return _power(value, int(tokens[at][1][2:-1])), at + 1
    return value, at


def _group(tokens: list[tuple[str, str]], at: int, depth: int) -> tuple[Value, int]:
    at = _closed(tokens, at, "{")
    value, at = _sum(tokens, at, depth + 1)
    return value, _closed(tokens, at, "}")


def _closed(tokens: list[tuple[str, str]], at: int, bracket: str) -> int:
    if at >= len(tokens) or tokens[at][1] != bracket:
        raise _Unknown
    return at + 1


def _add(total: Value, other: Value, sign: Fraction) -> None:
    for monomial, factor in other.items():
        total[monomial] = total.get(monomial, Fraction(0)) + sign * factor
        if not total[monomial]:
            del total[monomial]


def _multiply(one: Value, other: Value) -> Value:
    if len(one) * len(other) > _MOST_TERMS:
        raise _Unknown
    total: Value = {}
    for (root, symbols), factor in one.items():
        for (other_root, other_symbols), other_factor in other.items():
            shared = gcd(root, other_root)
            powers = dict(symbols)
            for name, power in other_symbols:
                powers[name] = powers.get(name, 0) + power
            product = factor * other_factor * shared
            if "i" in powers:
                product = -product if powers["i"] // 2 % 2 else product
                powers["i"] %= 2
            if product.numerator.bit_length() + product.denominator.bit_length() > _MOST_BITS:
                raise _Unknown
            kept = tuple(sorted((name, power) for name, power in powers.items() if power))
            _add(total, {(root * other_root // shared**2, kept): product}, Fraction(1))
    return total


def _inverse(value: Value) -> Value:
    if len(value) != 1:
        raise _Unknown  # division by a sum or by zero is not supported
    ((root, symbols), factor) = next(iter(value.items()))
    return {(root, tuple((name, -power) for name, power in symbols)): 1 / (factor * root)}


def _power(value: Value, power: int) -> Value:
    if power < 0:
        value, power = _inverse(value), -power
    bits = max(
        (each.numerator.bit_length() + each.denominator.bit_length() for each in value.values()),
        default=1,
    )
    if bits * power > _MOST_BITS or (len(value) > 1 and power > _LARGEST_POWER):
        raise _Unknown
    if len(value) == 1:
        ((root, symbols), factor) = next(iter(value.items()))
        number: Value = {(root if power % 2 else 1, ()): factor**power * root ** (power // 2)}
        powers = tuple((name, times * power) for name, times in symbols)
        return _multiply(number, {(1, powers): Fraction(1)})
    result: Value = {_ONE: Fraction(1)}
    for _ in range(power):
        result = _multiply(result, value)
    return result


def _root(number: int) -> Value:
    """Return the square root of a whole number, with its square factors in front."""
    front, under = 1, number
    if isqrt(number) ** 2 == number:
        return {_ONE: Fraction(isqrt(number))} if number else {}
    if number > 10**8:
        raise _Unknown  # its square factors would take too long to find
    for each in range(2, isqrt(number) + 1):
        while under % each**2 == 0:
            front, under = front * each, under // each**2
        if each**2 > under:
            break
    return {(under, ()): Fraction(front)}
