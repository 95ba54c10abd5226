r"""Read an answer in normal form (latex.py) into a tree.

One grammar reads numbers, expressions, functions, tuples, sets and matrices. Other texts, such as relations,
are left to math-verify.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

_DEEPEST = 60  # expressions in expressions

# An index is part of a name: "x_1", "a_{n+1}".
_INDEX = r"(?:_(?:[0-9a-zA-Z]|\{[^{}]*\}))?"
_TOKEN = re.compile(
    # a number
    r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?![0-9._])"
    # a number with a base
    r"|[0-9A-Z]+_(?:[0-9]|\{[0-9]+\})(?![0-9])"
    # brackets and operators, but no double factorial
    r"|\\[{}]|!(?!!)|[-+/^|()\[\]{},;]"
    r"|\\mathbb\{[A-Z]\}"
    # functions, also without a backslash
    r"|\\?(?:arc)?(?:sin|cos|tan)(?!h) ?"
    # other functions, commands and variables
    r"|(?:\\?(?:log|ln)(?![a-zA-Z])|\\[a-zA-Z]+ ?|[a-zA-Z]'*)" + _INDEX + " ?"
)
_SYMBOL = re.compile(
    r"[.0-9a-zA-Z]|\\(?:pi|theta|alpha|beta|gamma|delta|lambda|mu|phi|varphi|omega|rho|sigma|infty"
    r"|emptyset|mathbb)(?![a-zA-Z])"
)
FUNCTIONS = frozenset(
    {
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "sinh",
        "cosh",
        "tanh",
        "log",
        "ln",
        "lg",
    }
)
# A matrix is a list of rows. The name keeps it apart from an interval.
_MATRIX = ((r"\begin{pmatrix}", "[[M,"), (r"\end{pmatrix}", "]]"), (r"\\", "],["), ("&", ","))
_CLOSING = {
    "(": (")", "]"),
    "[": (")", "]"),
    "{": ("}",),
    "|": ("|",),
    r"\{": (r"\}",),
    r"\lfloor": (r"\rfloor",),
    r"\lceil": (r"\rceil",),
}
_OF_TWO = {r"\frac": "/", r"\binom": r"\binom"}
# An operator binds its operands more tightly than those with a smaller number.
_BINDING = {"+": 3, "-": 3, r"\cdot": 4, "/": 4, "": 5, "^": 7, "!": 8}
_NO_OPERANDS = frozenset([*_BINDING, ",", ";", ")", "]", "}", "|", r"\}", r"\rfloor", r"\rceil"])
_DIGITS = ".0123456789"


class Tree(NamedTuple):
    r"""An expression.

    kind: "number"; an operation ("+", "*", "/", "-", "^", "!"); a function or a symbol by its
        name; the brackets around parts ("()", "[)", "||").
    """

    kind: str
    parts: tuple["Tree", ...] = ()
    number: Fraction = Fraction(0)


class UnreadableExpression(ValueError):
    """The grammar does not read a text. The message is the reason of a score."""


def number(value: Fraction | int) -> Tree:
    return Tree("number", (), Fraction(value))


ONE = number(1)
_BASES = {"ln": Tree("e"), "lg": number(10), "log": number(10)}


def parse(text: str) -> Tree:
    """Return the tree of one answer in normal form. Raises: UnreadableExpression."""
    for latex, brackets in _MATRIX:
        text = text.replace(latex, brackets)
    tokens = _TOKEN.findall(text)
    if sum(map(len, tokens)) < len(text):
        raise UnreadableExpression("unreadable")
    parser = _Parser(tokens)
    tree = parser.expression()
    parser.expect("")
    return tree


def find_expressions(text: str) -> Iterator[Tree]:
    """Yield the longest expressions in a text, from left to right, and all expressions within them."""
    tokens = _TOKEN.findall(text)
    while tokens:
        parser = _Parser(tokens)
        try:
            yield from _subtrees(parser.expression())
        except UnreadableExpression:
            parser.at = 1
        tokens = tokens[parser.at :]


def _subtrees(tree: Tree) -> Iterator[Tree]:
    yield tree
    for part in tree.parts:
        yield from _subtrees(part)


def joined(kind: str, *parts: Tree) -> Tree:
    """Return one operation. Parts of the same operation are taken apart."""
    flat: list[Tree] = []
    for part in parts:
        flat += part.parts if part.kind == kind else [part]
    return Tree(kind, tuple(flat))


class _Parser:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = [token.strip() for token in [*tokens, ""]]  # "" is the end
        self.at = 0
        self.depth = 0
        self.without_brackets = False  # in the argument of "\sin 2x"

    def next(self) -> str:
        return self.tokens[self.at]

    def accept(self, *wanted: str) -> bool:
        if self.next() not in wanted:
            return False
        self.at += 1
        return True

    def expect(self, *wanted: str) -> None:
        if not self.accept(*wanted):
            raise UnreadableExpression("unreadable")

    def expression(self, least: int = 0) -> Tree:
        """Read operands with all operators between them that bind more tightly than `least`."""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UnreadableExpression("too_large")

        left = self.operand()
        while self.next():
            operator = self.next()
            if self.begins_operand():
                operator = ""
            binding = _BINDING.get(operator, 0)
            if binding <= least:
                break
            if operator:
                self.at += 1
            if operator == "!":
                left = Tree(operator, (left,))
            elif operator == "^":
                # The power is one operand: "x^2y" is a product.
                left = Tree(operator, (left, self.operand()))
            else:
                left = _combined(operator, left, self.expression(binding))

        self.depth -= 1
        return left

    def begins_operand(self) -> bool:
        """Return whether the next token multiplies without a sign. In "2 3", the second one does not."""
        token = self.next()
        if token[0] in _DIGITS:
            return self.tokens[self.at - 1] in (")", "}")
        if self.without_brackets and (token == "(" or _function(token)):
            return False
        return token not in _NO_OPERANDS

    def operand(self) -> Tree:
        token = self.next()
        self.at += 1
        if token in ("+", "-"):
            return _signed(token, self.expression(_BINDING[""]))
        if token in _CLOSING:
            return self.bracket(token)
        if token in _OF_TWO:
            over = self.operand()
            return Tree(_OF_TWO[token], (over, self.operand()))
        if token == r"\sqrt":
            index = number(2)
            if self.next() == "[":
                index = self.operand()
            return Tree("^", (self.operand(), Tree("/", (ONE, index))))
        if _function(token):
            return self.function(token)
        if token in tuple("fgFG") and self.next() == "(":
            return Tree(token, (self.operand(),))
        if not _SYMBOL.match(token):
            raise UnreadableExpression("unreadable")
        if token[0] in _DIGITS and "_" not in token:
            return number(Fraction(token))
        return Tree(token)

    def bracket(self, opening: str) -> Tree:
        outer = self.without_brackets
        self.without_brackets = False
        parts = [self.expression()]
        while self.accept(",", ";"):
            parts.append(self.expression())
        self.without_brackets = outer

        brackets = opening + self.next()
        self.expect(*_CLOSING[opening])
        if len(parts) == 1 and brackets in ("()", "[]", "{}"):
            return parts[0]
        return Tree(brackets, tuple(parts))

    def function(self, token: str) -> Tree:
        name = _function(token)
        base = token.partition("_")[2].strip("{}")
        power = ONE
        if self.accept("^"):
            power = self.operand()

        if self.next() in ("(", "{"):
            inner = self.operand()
        else:
            outer = self.without_brackets
            self.without_brackets = True
            inner = self.expression(_BINDING["/"])
            self.without_brackets = outer

        if name not in _BASES:
            tree = Tree(name, (inner,))
        elif base:
            tree = Tree("log", (inner, parse(base)))
        else:
            tree = Tree("log", (inner, _BASES[name]))
        return Tree("^", (tree, power))


def _function(token: str) -> str:
    name = token.strip("\\").partition("_")[0]
    if name in FUNCTIONS:
        return name
    return ""


def _signed(sign: str, tree: Tree) -> Tree:
    if sign == "+":
        return tree
    # "-(-5)" keeps both signs.
    if tree.kind == "number" and tree.number >= 0:
        return number(-tree.number)
    return Tree("-", (tree,))


def _combined(operator: str, left: Tree, right: Tree) -> Tree:
    if operator in ("+", "-"):
        return joined("+", left, _signed(operator, right))
    if operator == "/":
        return Tree(operator, (left, right))
    return joined("*", left, right)
