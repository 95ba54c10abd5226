r"""Read the tokens of one expression as a tree. Each production is a method of `Expression`.

    expression  = operand {operator operand}
    operand     = number | name | fraction | root | function | bracket | matrix | ...

Sets and cases hold whole items, so grammar.py adds their productions.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from axolotl_grpo_plugin.rewards.mathematics.brackets import (
    END,
    Tokens,
    after_begin,
    closing,
    pieces,
    top_level,
)
from axolotl_grpo_plugin.rewards.mathematics.functions import FUNCTIONS
from axolotl_grpo_plugin.rewards.mathematics.tokens import Token
from axolotl_grpo_plugin.rewards.mathematics.trees import (
    INFINITY,
    ONE,
    TEN,
    Tree,
    joined,
    name,
    negated,
    number,
)

_DEEPEST = 60  # expressions in expressions
GREEK = frozenset(
    r"""
    \pi \theta \alpha \beta \gamma \delta \epsilon \eta \kappa \lambda \mu \nu \xi \rho \sigma \tau \phi \chi
    \psi \omega \zeta \iota \upsilon \Gamma \Delta \Theta \Lambda \Sigma \Phi \Psi \Omega \Xi \Pi \Upsilon
    \hbar \ell \nabla \partial \infty \emptyset \imath \jmath
    """.split()
)
# An operator binds its operands more tightly than those with a smaller number.
_BINDING = {
    r"\cup": 1,
    r"\cap": 2,
    r"\setminus": 2,
    "+": 3,
    "-": 3,
    r"\cdot": 4,
    "/": 4,
    r"\bmod": 4,
    "": 5,
    "^": 7,
    "!": 8,
}
_NO_OPERANDS = frozenset(
    [
        *_BINDING,
        ",",
        ";",
        ")",
        "]",
        "}",
        "|",
        r"\}",
        r"\rfloor",
        r"\rceil",
        r"\rangle",
        r"\|",
        r"\over",
        r"\choose",
        "_",
        "&",
        r"\\",
        r"\end",
        "°",
        "'",
        "''",
        ":",
        "=",
        "<",
        ">",
        r"\le",
        r"\ge",
        r"\ne",
        r"\mid",
        r"\in",
        ".",
        "%",
    ]
)
_BRACKETS = {
    "(": (")", "]"),
    "[": (")", "]"),
    "{": ("}",),
    "|": ("|",),
    r"\|": (r"\|",),
    r"\{": (r"\}",),
    r"\langle": (r"\rangle",),
    r"\lfloor": (r"\rfloor",),
    r"\lceil": (r"\rceil",),
}
_INFIX = {r"\over": "/", r"\choose": r"\binom"}
_BASES = {"ln": name("e"), "lg": TEN, "log": TEN}
_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_PREFIXES = ("arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sin", "cos", "tan")
_OF_TEXT = frozenset("abceijknpqrtxyz")  # letters that are variables in any font
_BIG = {r"\int", r"\iint", r"\iiint", r"\oint", r"\sum", r"\prod", r"\lim", r"\bigcup"}
_MATRICES = {"pmatrix", "bmatrix", "matrix", "smallmatrix", "Bmatrix", "array"}


class UnreadableExpression(ValueError):
    """The grammar does not read a text. The message is the reason of a score."""


class Expression:
    """Walks through the tokens of one expression."""

    def __init__(self, written: Sequence[Token]) -> None:
        self.tokens = [*written, END]
        self.at = 0
        self.added = 0  # tokens that were split off others
        self.depth = 0
        self.enclosing = 0  # absolute values around the expression
        self.without_brackets = False  # in the argument of "\sin 2x"
        self.in_angle = False  # in the argument of a function
        self.has_degrees = False

    def whole(self) -> Tree:
        """Return the tree of all tokens. Raises: UnreadableExpression."""
        tree = self.expression()
        if self.next() in _INFIX:
            operator = _INFIX[self.next()]
            self.at += 1
            tree = Tree(operator, (tree, self.expression()))
        self.expect("")
        return tree

    def read(self, written: Tokens) -> Tree:
        """Return the tree of other tokens."""
        return type(self)(written).whole()

    def next(self) -> str:
        return self.tokens[self.at].text

    def accept(self, *wanted: str) -> bool:
        if self.next() not in wanted:
            return False
        self.at += 1
        return True

    def expect(self, *wanted: str) -> None:
        if not self.accept(*wanted):
            raise UnreadableExpression("unreadable")

    def split_token(self, length: int) -> Token:
        """Split the token that was read last after some characters, and return its start."""
        token = self.tokens[self.at - 1]
        start = token._replace(text=token.text[:length])
        rest = token._replace(text=token.text[length:], spaced=False)
        self.tokens[self.at - 1 : self.at] = [start, rest]
        self.added += 1
        return start

    def expression(self, least: int = 0) -> Tree:
        """expression: operands with all operators between them that bind more tightly than `least`"""
        self.depth += 1
        if self.depth > _DEEPEST:
            raise UnreadableExpression("too_large")

        left = self.operand()
        while True:
            operator = self.next()
            if not operator:
                break
            if operator in ("°", "^") and self.is_degree():
                left = self.degrees(left)
                continue
            if self.begins_operand():
                operator = ""
            binding = _BINDING.get(operator, 0)
            if binding <= least:
                break
            if operator:
                self.at += 1
            if operator == "!":
                if self.next() == "!":
                    raise UnreadableExpression("unreadable")
                left = Tree(operator, (left,))
            elif operator == "^":
                is_ordinal = self.ordinal()
                if not is_ordinal:
                    # The power is one operand: "x^2y" is a product.
                    left = Tree(operator, (left, self.operand()))
            elif operator == "/" and self.is_fraction_before_letter(left):
                left = Tree("/", (left, self.operand()))
            else:
                left = _combined(operator, left, self.expression(binding))

        self.depth -= 1
        return left

    def is_fraction_before_letter(self, left: Tree) -> bool:
        """Return whether "-5/2 x" is -5/2 times x: two whole numbers, then a space."""
        after = self.tokens[self.at + 1] if self.at + 1 < len(self.tokens) else END
        is_number = left.kind == "number" and self.tokens[self.at].kind == "number"
        return is_number and after.spaced and (after.kind == "letters" or after.text in GREEK)

    def is_degree(self) -> bool:
        if self.next() == "°":
            return True
        if self.next() != "^":
            return False
        power = [token.text for token in self.tokens[self.at + 1 : self.at + 4]]
        return power[:1] == [r"\circ"] or power == ["{", r"\circ", "}"]

    def degrees(self, left: Tree) -> Tree:
        r"""degrees = operand "°" [minutes "'"]. In the argument of a function, they are a part of \pi."""
        self.at += (
            1 if self.next() == "°" else 2 if self.tokens[self.at + 1].text == r"\circ" else 4
        )
        self.has_degrees = True
        minutes = self.tokens[self.at]
        after = [token.text for token in self.tokens[self.at + 1 : self.at + 5]]
        prime = (
            1
            if after[:1] == ["'"]
            else 2
            if after[:2] == ["^", "'"]
            else 4
            if after == ["^", "{", "'", "}"]
            else 0
        )
        if minutes.kind == "number" and prime:
            self.at += 1 + prime
            part = Fraction(minutes.text) / 60
            if not isinstance(left.value, Fraction):
                raise UnreadableExpression("unreadable")
            left = number(left.value + part)
        if self.in_angle:
            return joined("*", left, Tree("/", (name(r"\pi"), number(180))))
        return left

    def ordinal(self) -> bool:
        """Skip "th" in "60^{th}"."""
        texts = [token.text for token in self.tokens[self.at : self.at + 3]]
        if (
            texts[:1] == ["{"]
            and texts[1:2]
            and texts[1] in ("th", "st", "nd", "rd")
            and texts[2:] == ["}"]
        ):
            self.at += 3
            return True
        if texts and texts[0] in ("th", "st", "nd", "rd") and self.tokens[self.at].kind == "word":
            self.at += 1
            return True
        return False

    def begins_operand(self) -> bool:
        """Return whether the next token multiplies without a sign. In "2 3", the second one does not."""
        token = self.tokens[self.at]
        if token.kind == "number":
            before = self.tokens[self.at - 1]
            if before.text in (")", "}", r"\}", "!"):
                return True
            # "x7", but not "0x7"
            is_code = (
                self.at > 1 and self.tokens[self.at - 2].kind == "number" and not before.spaced
            )
            return before.kind == "letters" and not token.spaced and not is_code
        if token.kind == "time":
            return False
        if token.kind == "word":
            is_letter = token.text in _OF_TEXT or (len(token.text) == 1 and token.text.isupper())
            return is_letter or bool(self.function_name(token.text))
        if self.without_brackets and (token.text == "(" or self.function_name(token.text)):
            return False
        if token.text == "|":
            return not self.enclosing
        return token.text not in _NO_OPERANDS

    def operand(self) -> Tree:
        """operand = number | name | fraction | root | function | bracket | matrix | ..."""
        token = self.tokens[self.at]
        self.at += 1
        text = token.text
        if token.kind == "number":
            return self.number(text)
        if token.kind == "letters" or token.kind == "word":
            return self.letters(token)
        if text in ("+", "-"):
            signed = self.expression(_BINDING[""])
            return negated(signed) if text == "-" else signed
        if text in ("_", "^"):
            return self.combination()
        if text == "{" and self.next() == "}":
            self.at += 1
            return self.operand()
        if text in _BRACKETS:
            return self.bracket(text)
        if text in (r"\frac", r"\binom"):
            over = self.argument()
            return Tree("/" if text == r"\frac" else text, (over, self.argument()))
        if text == r"\sqrt":
            return self.root()
        if text == r"\exp":
            return Tree("^", (name("e"), self.operand()))
        if self.function_name(text):
            return self.function(self.function_name(text))
        if text in _BIG:
            return self.big(text)
        if text == r"\begin":
            return self.environment()
        if text == r"\overline" or text == r"\dot" or text == r"\tilde":
            return self.accented(text)
        if text in (r"\angle", r"\triangle"):
            letters = self.tokens[self.at]
            self.at += 1
            if letters.kind not in ("letters", "word"):
                raise UnreadableExpression("unreadable")
            return name(f"{text} {letters.text}")
        if text == "°" or text == "":
            raise UnreadableExpression("unreadable")
        if text == r"\ldots":
            return self.ellipsis()
        if text in GREEK or text.startswith(r"\mathbb"):
            return self.named(text)
        raise UnreadableExpression("unreadable")

    def argument(self) -> Tree:
        r"""argument: one operand, as TeX reads it: a digit, a letter, or braces"""
        token = self.tokens[self.at]
        if token.kind in ("number", "letters") and len(token.text) > 1 and "." not in token.text:
            self.at += 1
            if token.kind == "letters" and token.text == "pi":
                return name(r"\pi")
            first = self.split_token(1)
            return _number(first.text) if first.kind == "number" else name(first.text)
        if token.kind == "letters":
            self.at += 1
            return name(token.text)
        return self.operand()

    def number(self, text: str) -> Tree:
        r"""number = decimal | repeating decimal | mixed number | number with a base"""
        if self.next() == "_":
            raise UnreadableExpression("unreadable")
        tree = _number(text)
        if "." not in text and len(text) < 31 and (mixed := self.mixed(tree)):
            return mixed
        return tree

    def mixed(self, whole: Tree) -> Tree | None:
        r"""mixed = whole number, then a proper fraction: "1\frac{1}{2}", "1 1/2" """
        if self.next() != r"\frac" and self.tokens[self.at].kind != "number":
            return None
        texts = [token.text for token in self.tokens[self.at : self.at + 8]]
        kinds = [token.kind for token in self.tokens[self.at : self.at + 3]]
        at = self.at
        if (
            kinds[:1] == ["number"]
            and self.tokens[at].spaced
            and texts[1:2] == ["/"]
            and kinds[2:] == ["number"]
        ):
            over, under = texts[0], texts[2]
            length = 3
        elif texts[:1] == [r"\frac"]:
            match = re.match(
                r"\\frac (?:\{ ([0-9]+) \}|([0-9])(?= \{)) \{ ([0-9]+) \}", " ".join(texts)
            )
            if match:
                over, under = match[1] or match[2], match[3]
                length = len(match[0].split())
            elif len(texts) > 1 and kinds[1] == "number" and re.fullmatch("[0-9]{2}", texts[1]):
                over, under = texts[1][0], texts[1][1]
                length = 2
            else:
                return None
        else:
            return None
        if not (over.isdigit() and under.isdigit()) or int(over) >= int(under):
            return None
        self.at = at + length
        after = self.tokens[self.at]
        if (after.text == "^" and not self.is_degree()) or after.text == "(":
            self.at = at
            return None
        return Tree("mixed", (whole, number(int(over)), number(int(under))))

    def letters(self, token: Token) -> Tree:
        """letters: a function, a constant or variables, which are split off one by one"""
        text = token.text
        function = self.function_name(text)
        if function:
            return self.function(function)
        if token.kind == "word":
            if self.next() == "(" and len(text) > 1:
                return Tree("call", self.bracket_parts(), text)
            if len(text) == 1 and (text in _OF_TEXT or text.isupper()):
                return self.named(text)
            raise UnreadableExpression("unreadable")
        for prefix in _PREFIXES:
            if text.startswith(prefix):
                self.split_token(len(prefix))
                return self.function(prefix)
        if text == "pi":
            return name(r"\pi")
        if text == "infinity":
            return INFINITY
        if text == "sqrt" and self.next() in ("(", "{"):
            return self.root()
        if len(text) > 1:
            text = self.split_token(1).text
        return self.named(text)

    def named(self, text: str) -> Tree:
        """name = letter {"'"} ["_" index] [arguments of a function]"""
        is_single = self.tokens[self.at].kind != "letters"
        while self.next() in ("'", "''") and len(text) < 20:
            text += self.next()
            self.at += 1
        if self.next() == "_":
            self.at += 1
            start = self.at
            text += "_" + self.index()
            if text[0] == "C" and self.next() == "^" and not re.fullmatch("C_[0-2]", text):
                # "C_n^2"
                inner = [
                    token for token in self.tokens[start : self.at] if token.text not in ("{", "}")
                ]
                upper = self.read(inner)
                self.at += 1
                return Tree(r"\binom", (upper, self.argument()))
        if self.next() == "(" and is_single:
            head = text.partition("_")[0].rstrip("'")
            if head in ("f", "g", "h", "F", "G"):
                return Tree("call", self.bracket_parts(), text)
            if head.isupper() and self.has_comma():
                return Tree("call", self.bracket_parts(), text)
        return name(text)

    def index(self) -> str:
        """index = digit | letter | braces"""
        token = self.tokens[self.at]
        self.at += 1
        if token.text != "{":
            if len(token.text) > 1 and token.kind in ("number", "letters"):
                return self.split_token(1).text
            if token is END:
                raise UnreadableExpression("unreadable")
            return token.text
        end = closing(self.tokens, self.at - 1)
        if end < 0:
            raise UnreadableExpression("unreadable")
        text = "".join(each.text for each in self.tokens[self.at : end])
        self.at = end + 1
        return text

    def has_comma(self) -> bool:
        end = closing(self.tokens, self.at)
        inner = self.tokens[self.at + 1 : end]
        return end > 0 and bool(top_level(inner, {","}))

    def bracket_parts(self) -> tuple[Tree, ...]:
        self.expect("(")
        tree = self.bracket("(", keep=True)
        return tree.parts

    def bracket(self, opening: str, keep: bool = False) -> Tree:
        """bracket = opening expression {"," expression} closing"""
        if opening == r"\{":
            return self.set()
        outer = self.without_brackets, self.enclosing
        self.without_brackets = False
        self.enclosing = self.enclosing + 1 if opening == "|" else 0
        if opening == "|" and self.next() == "|":
            # "||v||"
            self.at += 1
            tree = self.expression()
            self.expect("|")
            self.expect("|")
            self.without_brackets, self.enclosing = outer
            return Tree(r"\|\|", (tree,))
        parts = [self.expression()]
        while self.accept(",", ";"):
            parts.append(self.expression())
        if opening == "{" and self.next() in _INFIX:
            operator = _INFIX[self.next()]
            self.at += 1
            parts = [Tree(operator, (parts[0], self.expression()))]
        self.without_brackets, self.enclosing = outer

        closing = self.next()
        self.expect(*_BRACKETS[opening])
        brackets = opening + closing
        if brackets == r"\langle\rangle":
            brackets = "()"
        if keep:
            return Tree(brackets, tuple(parts))
        if len(parts) == 1 and brackets in ("()", "[]", "{}"):
            return parts[0]
        if brackets == "||" and parts[0].kind == "matrix":
            return Tree("det", tuple(parts))
        return Tree(brackets, tuple(parts))

    def combination(self) -> Tree:
        r"""combination = ("_" | "^") upper "C" "_" lower: "_nC_2", "^nC_2" """
        upper = self.argument()
        letter = self.tokens[self.at]
        self.at += 1
        if letter.text != "C":
            raise UnreadableExpression("unreadable")
        self.expect("_")
        return Tree(r"\binom", (upper, self.argument()))

    def root(self) -> Tree:
        r"""root = "\sqrt" ["[" index "]"] argument"""
        index = number(2)
        if self.next() == "[":
            index = self.operand()
        under = self.operand() if self.next() in ("(", "{", "[") else self.argument()
        return Tree("^", (under, Tree("/", (ONE, index))))

    def function_name(self, text: str) -> str:
        """Return the name of the function that a token has, or ""."""
        text = text.removeprefix("\\")
        return text if text in FUNCTIONS or text in _BASES else ""

    def function(self, function: str) -> Tree:
        r"""function = name ["_" base] ["^" power] argument: "\log_2 8", "\sin^2 x", "\sin 2x", "\gcd(m,n)" """
        base = _BASES.get(function)
        if self.accept("_"):
            base = self.argument()
        power = ONE
        if self.accept("^"):
            power = self.operand() if self.next() == "{" else self.argument()
        if power == number(-1) and function in _INVERSES:
            function, power = _INVERSES[function], ONE
        if (
            function in FUNCTIONS
            and not FUNCTIONS[function].open
            and self.next() not in ("(", r"\{", "{")
        ):
            raise UnreadableExpression("unreadable")

        outer = self.without_brackets, self.in_angle
        self.in_angle = True
        if self.next() == "(" and FUNCTIONS.get(function, FUNCTIONS["log"]).open is False:
            parts = self.bracket_parts()
        elif self.next() in ("(", "{", r"\{"):
            self.without_brackets = False
            inner = self.operand()
            parts = inner.parts if inner.kind == "{}" else (inner,)
        else:
            self.without_brackets = True
            parts = (self.expression(_BINDING["/"]),)
        self.without_brackets, self.in_angle = outer

        if base is not None and function in _BASES:
            tree = Tree("log", (*parts, base))
        else:
            tree = Tree(function, parts)
        return tree if power == ONE else Tree("^", (tree, power))

    def big(self, text: str) -> Tree:
        r"""big = ("\sum" | "\int" | ...) ["_" lower] ["^" upper] expression"""
        bounds = []
        while self.next() in ("_", "^"):
            sign = self.next()
            self.at += 1
            bounds.append(sign + self.index())
        return Tree("big", (self.expression(_BINDING["+"]),), text + "".join(bounds))

    def accented(self, text: str) -> Tree:
        r"""accented = "\overline" argument. Over several letters, it is a segment: "\overline{AB}"."""
        tree = self.operand()
        if tree.kind == "name":
            return name(f"{text} {tree.value}")
        return tree

    def ellipsis(self) -> Tree:
        r"""ellipsis: "\ldots" between commas"""
        before = self.tokens[self.at - 2].text if self.at > 1 else ","
        if before in (",", "(", r"\{", "{") and self.next() in (",", ")", r"\}", "", "}"):
            return name(r"\ldots")
        raise UnreadableExpression("unreadable")

    def set(self) -> Tree:
        """set: grammar.py reads its members."""
        raise NotImplementedError

    def environment(self) -> Tree:
        r"""environment = "\begin{pmatrix}" cell {"&" cell} {"\\" ...} "\end{pmatrix}" """
        start = self.at - 1
        end = closing(self.tokens, start)
        if end < 0:
            raise UnreadableExpression("unreadable")
        environment = self.tokens[start + 2].text
        inner = self.tokens[after_begin(self.tokens, start) : end - 3]
        self.at = end + 1
        rows = [pieces(row, {"&"}) for row in pieces(inner, {r"\\"}) if row]
        if environment in ("cases", "dcases", "rcases"):
            return self.cases(rows)
        if environment == "vmatrix" or environment == "Vmatrix":
            return Tree("det", (self.matrix(rows),))
        if environment not in _MATRICES:
            raise UnreadableExpression("unreadable")
        return self.matrix(rows)

    def matrix(self, rows: list[list[Tokens]]) -> Tree:
        """matrix = row {row}, row = expression {expression}"""
        trees = [Tree("row", tuple(map(self.read, row))) for row in rows]
        return Tree("matrix", tuple(trees))

    def cases(self, rows: list[list[Tokens]]) -> Tree:
        """cases: grammar.py reads their conditions."""
        raise NotImplementedError


def _combined(operator: str, left: Tree, right: Tree) -> Tree:
    if operator == "-" and right.kind == "{}":
        return Tree(r"\setminus", (left, right))
    if operator in ("+", "-"):
        return joined("+", left, right if operator == "+" else negated(right))
    if operator in ("/", r"\setminus", r"\bmod"):
        return Tree(operator, (left, right))
    if operator in (r"\cup", r"\cap"):
        return joined(operator, left, right)
    return joined("*", left, right)


@lru_cache(maxsize=4096)
def _number(text: str) -> Tree:
    return number(decimal(text))


def decimal(text: str) -> Fraction:
    """Return the value of a decimal, which may repeat: "0.1(6)"."""
    once, bracket, repeated = text.rstrip(")").partition("(")
    if not bracket:
        return Fraction(int(once)) if once.isdecimal() else Fraction(once)
    decimals = len(once.partition(".")[2])
    nines = 10 ** len(repeated) - 1
    whole = int(once.replace(".", "") or 0)
    return Fraction(whole * nines + int(repeated), nines * 10**decimals)
