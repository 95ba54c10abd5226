"""Exact arithmetic."""

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

_MOST_BITS = 10_000  # of a result
_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "^": "**"})
_OPERATORS: dict[type[ast.AST], Callable[..., Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: Fraction(a // b),
    ast.Mod: operator.mod,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def calculator(expression: str) -> str:
    """
    Compute the exact value of an arithmetic expression.

    Args:
        expression: Numbers, the signs + - * / // % **, and brackets. For example "(2 + 3) * 4 / 7".

    Returns:
        The value.
    """
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", str(expression)).translate(_SIGNS)
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"not an arithmetic expression: {text:.100}") from None
    return _shown(_value(tree))


def _value(node: ast.AST) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Fraction(repr(node.value))  # 0.1 is 1/10
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Pow):
            return _power(left, right)
        if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](left, right)
    raise ValueError(f"not arithmetic: {ast.unparse(node):.100}")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise ValueError("only whole powers have an exact value")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(exponent)
    if bits > _MOST_BITS:
        raise ValueError("the power is too large")
    return Fraction(base ** int(exponent))


def _shown(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    digits = f"{value:.40f}".rstrip("0")
    if Fraction(digits) == value:
        return digits
    return f"{value} (about {float(value):.10g})"
