"""Exact arithmetic."""

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

_MOST_BITS = 10_000  # of a result
_SEPARATOR = re.compile(r"(?<=\d),(?=\d{3}\b)")  # of thousands
_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "^": "**"})


def calculator(expression: str) -> str:
    """
    Compute the exact value of an arithmetic expression.

    Args:
        expression: Numbers, the signs + - * / // % **, and brackets. For example "(2 + 3) * 4 / 7".

    Returns:
        The value.
    """
    text = _SEPARATOR.sub("", str(expression))
    text = text.translate(_SIGNS).strip()
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError:
        raise ValueError(f"not an arithmetic expression: {text:.100}") from None
    return _shown(_value(tree.body))


def _value(node: ast.AST) -> Fraction:
    """Return the exact value. Raises: ValueError for anything but arithmetic."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(repr(node.value))  # 0.1 is 1/10
    calculate = _OPERATORS.get(type(getattr(node, "op", None)))
    if calculate is None:
        raise ValueError(f"not arithmetic: {ast.unparse(node):.100}")
    operands = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):  # not the operator
            operands.append(_value(child))
    return calculate(*operands)


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ValueError("only whole powers have an exact value")
    largest = max(abs(base.numerator), base.denominator)
    if largest.bit_length() * abs(exponent) > _MOST_BITS:
        raise ValueError("the power is too large")
    return Fraction(base ** int(exponent))


_OPERATORS: dict[type, Callable[..., Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    digits = f"{value:.40f}".rstrip("0")
    if Fraction(digits) == value:
        return digits
    return f"{value} (about {float(value):.10g})"
