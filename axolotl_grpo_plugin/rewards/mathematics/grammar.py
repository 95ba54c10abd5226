r"""Read the tokens of an answer as a tree. Each production of the grammar is a function or a method with its name.

    answer      = item {separator item}
    item        = [name "="] quantity [modulus] [condition] | relation | set | words
    quantity    = [currency] expression [unit]
    relation    = expression {("=" | "<" | ...) expression}
    expression  = operands with operators between them, by their binding
    operand     = number | name | fraction | root | function | bracket | matrix | ...

Productions of whole items are functions and take lists of tokens. Productions of expressions are methods of
`_Expression`, which walks through the tokens of one side.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise, takewhile
from typing import NamedTuple

from axolotl_grpo_plugin.rewards.mathematics.brackets import (
    CLOSING,
    END,
    OPENING,
    Tokens,
    after_begin,
    closing,
    pieces,
    top_level,
    trimmed,
)
from axolotl_grpo_plugin.rewards.mathematics.expressions import (
    GREEK,
    Expression,
    UnreadableExpression,
    decimal,
)
from axolotl_grpo_plugin.rewards.mathematics.functions import FUNCTIONS
from axolotl_grpo_plugin.rewards.mathematics.tokens import LONGEST, Token, tokens
from axolotl_grpo_plugin.rewards.mathematics.trees import (
    EMPTY,
    INFINITY,
    REALS,
    Tree,
    joined,
    name,
    negated,
    number,
    subtrees,
)
from axolotl_grpo_plugin.rewards.mathematics.units import (
    UNITS,
    is_currency,
    unit_of,
    unit_start,
    unit_words,
)


class Item(NamedTuple):
    """One of the values that an answer states.

    Attributes:
        tree: The value. Its kind begins with "?" if the grammar does not read it.
        name: The name before it: "x" in "x = 5", "x > 5" and "x \\in S".
        unit: The words of a unit: ("km", "/", "h").
        product: The value if the letters of the unit are variables: 6 times m for "6 m".
        modulus: The modulus of a congruence.
        rounded: The rounded value after it, as in "\\pi \\approx 3.14".
        letter: The letter of a choice before it, as in "(C) 18".
        is_range: It was written as an inequality, or as a set without some members.
        work: The operations in it that leave work to the reader: "\\int", "gcd".
        is_chain: It has several equals signs: "z = 1+1 = 2". The tree is an equation of the numbers, or the last side.
    """

    tree: Tree
    name: str = ""
    unit: tuple[str, ...] = ()
    product: Tree | None = None
    modulus: Tree | None = None
    rounded: Tree | None = None
    letter: str = ""
    is_range: bool = False
    is_chain: bool = False
    work: frozenset[str] = frozenset()

    @property
    def is_unread(self) -> bool:
        return self.tree.kind.startswith("?")


class Reading(NamedTuple):
    """An answer as the grammar reads it.

    Attributes:
        items: The values.
        is_either: "or" is between values, or the sign of a union.
        in_braces: The values are the members of a set in braces.
        parameters: The names of free parameters: "k" in "k \\in \\mathbb{Z}".
        equations: The number of equals signs.
        work: The operations in it that leave work to the reader: "\\int", "gcd".
        signs: All tokens as one text, without layout.
    """

    items: tuple[Item, ...]
    is_either: bool
    in_braces: bool
    parameters: frozenset[str]
    equations: int
    work: frozenset[str]
    signs: str


# ---------------------------------------------------------------------------------------------------
# answer

_OR = {"or", "或", "または"}
_AND = {"and", "和", "与", "且", "及"}
_WORK = {r"\int", r"\iint", r"\sum", r"\prod", r"\lim", r"\det", r"\bmod"}
_WORK_NAMES = {"gcd", "lcm", "max", "min", "mod", "det", "lim"}
_ANY_WORK = _WORK | _WORK_NAMES | {f"\\{word}" for word in _WORK_NAMES}


@lru_cache(maxsize=65536)
def read(text: str, is_list: bool = False) -> Reading:
    """Return an answer as the grammar reads it. A comma never groups digits in a list.

    >>> [item.name for item in read("x=2, y=3").items]
    ['x', 'y']
    """
    written = _tokens(text, is_list)
    texts = [token.text for token in written]
    equations = texts.count("=") + texts.count(r"\equiv")
    items, is_either, in_braces, parameters = _answer(written)
    work = frozenset[str]().union(*(item.work for item in items))
    return Reading(
        tuple(items), is_either, in_braces, frozenset(parameters), equations, work, " ".join(texts)
    )


@lru_cache(maxsize=65536)
def signs_of(text: str) -> str:
    """Return `read(text).signs`, in less time."""
    return " ".join([token.text for token in _tokens(text, False)])


@lru_cache(maxsize=16)  # for a text that is read after a look at its signs
def _tokens(text: str, is_list: bool) -> Tokens:
    return tokens(text.strip().strip("*")[:LONGEST], is_list)


def _work(written: Tokens) -> Iterator[str]:
    """Yield the operations that leave work to the reader."""
    if _ANY_WORK.isdisjoint([token.text for token in written]):
        return
    is_congruence = any(token.text == r"\equiv" for token in written)
    for token, after in pairwise([*written, END]):
        word = token.text.removeprefix("\\")
        if token.text in _WORK or word in _WORK_NAMES:
            # "90 min" has a unit, and a congruence has a modulus.
            is_applied = token.kind == "sign" or after.text in ("(", r"\{", "_") or word == "mod"
            if is_applied and not (word in ("mod", "bmod") and is_congruence):
                yield word


def _answer(written: Tokens) -> tuple[list[Item], bool, bool, set[str]]:
    """answer = item {separator item}"""
    inner = _without_braces(trimmed(written))
    in_braces = inner is not written and len(inner) < len(trimmed(written))
    parts, is_either = _split(inner)
    parts, parameters = _without_conditions(parts)
    items: list[Item] = []
    for part in parts:
        items += _items(part)
    return items, is_either, in_braces, parameters


def _without_braces(written: Tokens) -> Tokens:
    r"""Return the members of a set, or the contents of braces around all tokens."""
    while len(written) > 1 and closing(written, 0) == len(written) - 1:
        opening = written[0].text
        if opening == "{":
            inner = trimmed(written[1:-1])
            bar = _bar(inner)
            if bar and inner[bar].text != ":":
                # "{x|x>2}" has lost its backslashes.
                return [Token("sign", r"\{"), *inner, Token("sign", r"\}")]
            written = inner
        elif opening == r"\{" and len(written) > 2 and not _bar(written[1:-1]):
            inner = trimmed(written[1:-1])
            if [token.text for token in inner] in ([r"\emptyset"], [r"\{", r"\}"]):
                return written
            return inner
        elif opening == r"\begin" and (
            written[2].text == "aligned" or not any(token.text == "&" for token in written)
        ):
            # Lines of equations.
            environment = written[2].text
            if environment not in ("cases", "array", "aligned", "gathered"):
                return written
            start = after_begin(written, 0)
            return trimmed([token for token in written[start:-4] if token.text != "&"])
        else:
            return written
    if len(written) > 5 and written[0].text == r"\{" and written[1].text == r"\begin":
        # "\left\{\begin{array}{l}...\end{array}\right."
        return _without_braces(written[1:])
    return written


def _split(written: Tokens) -> tuple[list[Tokens], bool]:
    """Return the parts of a list, and whether "or" or a union is between two of them."""
    depth = 0
    start = 0
    is_either = False
    parts: list[Tokens] = []
    for index, token in enumerate(written):
        if token.text in OPENING:
            depth += 1
        elif token.text in CLOSING:
            depth -= 1
        elif depth <= 0 and _separates(written, index):
            word = token.text.lower()
            is_either = is_either or word in _OR or token.text == r"\lor"
            parts.append(trimmed(written[start:index]))
            # Two numbers side by side have no token between them.
            start = index if token.kind == "number" else index + 1
    parts.append(trimmed(written[start:]))
    return [part for part in parts if part] or [written], is_either


def _separates(written: Tokens, index: int) -> bool:
    token = written[index]
    if token.kind == "sign":
        return token.text in (",", ";", r"\\", r"\lor", r"\land")
    if token.kind in ("word", "letters"):
        return token.text.lower() in _OR or token.text.lower() in _AND
    if token.kind == "number" and index and token.spaced:
        before = written[index - 1]
        is_mixed = index + 1 < len(written) and written[index + 1].text == "/"
        return (
            before.kind == "number"
            and not is_mixed
            and (index < 2 or written[index - 2].text not in ("_", "^", r"\frac", r"\binom"))
        )
    return False


# ---------------------------------------------------------------------------------------------------
# condition

_INTEGERS = {r"\mathbb{Z}", r"\mathbb{N}", r"\mathbb{R}", r"\mathbb{Q}", r"\mathbb{C}"}
_CONDITION_WORDS = {"for", "where", "with", "whenever", "when", "if", "as", "其中", "对于", "对"}
_PARAMETER_WORDS = {"integer", "integers", "constant", "constants", "arbitrary", "整数", "常数"}
_QUANTIFIERS = {
    "all",
    "any",
    "every",
    "each",
    "some",
    "real",
    "positive",
    "nonnegative",
    "natural",
    "the",
    "an",
}
_HEDGES = {"not", "or", "maybe", "perhaps", "wrong", "but", "no"}


def _without_conditions(parts: list[Tokens]) -> tuple[list[Tokens], set[str]]:
    r"""Return the parts without conditions such as "k\in\mathbb{Z}" and "for all n", and the parameters in them."""
    if len(parts) == 1 and not any(token.kind == "word" or token.text == ")" for token in parts[0]):
        return parts, set()
    kept: list[Tokens] = []
    conditions: list[Tokens] = []
    for part in parts:
        value, condition = _cut_condition(part)
        if condition:
            conditions.append(condition)
        if not value:
            continue
        letters = {
            token.text
            for other in parts
            if other is not part
            for token in other
            if token.kind == "letters"
        }
        is_about_others = _is_membership(value) and any(
            token.text[:1] in "".join(letters)
            for token in value
            if token.kind in ("letters", "word")
        )
        if is_about_others and len(parts) > 1:
            conditions.append(value)
        else:
            kept.append(value)
    if not kept:
        return parts, set()
    return kept, {letter for condition in conditions for letter in _parameters(condition)}


def _cut_condition(part: Tokens) -> tuple[Tokens, Tokens]:
    """Return a part of a list without the condition at its end, and the condition."""
    depth = 0
    for index, token in enumerate(part):
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth <= 0 and token.kind == "word" and token.text.lower() in _CONDITION_WORDS:
            condition = part[index:]
            words = {other.text.lower() for other in condition}
            is_plain = not words & _HEDGES and not any(
                other.kind == "number" for other in condition
            )
            is_range = any(
                other.text in (r"\ge", r"\le", "<", ">", r"\in", r"\ne", "=") for other in condition
            )
            if (is_plain or (is_range and not words & _HEDGES)) and len(condition) > 1:
                return part[:index], condition
    if part and part[-1].text == ")":
        for index, token in enumerate(part):
            if index and token.text == "(" and closing(part, index) == len(part) - 1:
                inner = part[index + 1 : -1]
                if _is_membership(inner) or (inner and inner[0].text.lower() in _CONDITION_WORDS):
                    return part[:index], inner
    return part, []


def _is_membership(part: Tokens) -> bool:
    r"""Return whether tokens say that names are numbers: "k\in\mathbb{Z}", "n is an integer"."""
    texts = [token.text for token in part]
    if r"\in" in texts:
        before, after = texts[: texts.index(r"\in")], part[texts.index(r"\in") + 1 :]
        is_set = bool(after) and after[0].text in _INTEGERS
        return is_set and all(
            token.isalpha() or token in (",", "_") or token.isdigit() for token in before
        )
    words = {token.text.lower() for token in part if token.kind == "word"}
    return bool(words & _PARAMETER_WORDS) and "is" in words | {"are", "be"} & words


def _parameters(condition: Tokens) -> Iterator[str]:
    """Yield the names of free parameters in a condition."""
    texts = [token.text for token in condition]
    is_free = bool(_PARAMETER_WORDS & {text.lower() for text in texts}) or bool(
        {r"\mathbb{Z}", r"\mathbb{N}"} & set(texts)
    )
    if not is_free:
        return
    for token in condition:
        if token.kind == "letters" or (
            token.kind == "word" and len(token.text) == 1 and token.text != "a"
        ):
            yield from token.text


# ---------------------------------------------------------------------------------------------------
# item

_NO_SOLUTION = re.compile(
    r"(?:(?:there (?:is|are|exists?) )?no(?: real| integer| such| possible)*(?: solutions?| roots?| values?)(?: exists?)?"
    r"|(?:the )?empty set|空集|(?:原?方程组?|不等式组?)?无(?:实数?)?(?:解|根))"
)
_ALL_REALS = re.compile(
    r"all real(?:s| numbers)|all of the real numbers|(?:全体|所有|任意|一切)?实数"
)
_PHRASES = {
    "infinity": INFINITY,
    "positive infinity": INFINITY,
    "negative infinity": negated(INFINITY),
    "dne": Tree("word", (), "does not exist"),
    "limit does not exist": Tree("word", (), "does not exist"),
    "the limit does not exist": Tree("word", (), "does not exist"),
}
_NAMED_CHOICE = re.compile(
    "(?:option|Option|choice|Choice|answer|Answer|[故应]?选|选项|答案[是为]?) ([A-Z])|([A-Z]) 选?项"
)
_ARTICLES = {"a", "an", "the"}
_DENIALS = {"not", "wrong", "never", "false", "no", "isn't"}
_NO_NAME = {
    "+",
    "-",
    "<",
    ">",
    r"\le",
    r"\ge",
    r"\ne",
    r"\pm",
    r"\mp",
    r"\cdot",
    r"\approx",
    r"\sim",
    r"\not",
    r"\neg",
    r"\in",
    r"\notin",
    r"\int",
    r"\sum",
    r"\prod",
    "^",
    "!",
    r"\$",
    "%",
}
_OPERATORS = {r"\Pr", r"\mathbb{P}", r"\mathbb{E}", r"\max", r"\min", r"\sup", r"\inf"}


def _items(part: Tokens) -> list[Item]:
    """item: one value, or two of them with a sign such as "±"."""
    item = _item(part)
    if not any(token.text in (r"\pm", r"\mp") for token in part):
        return [item]
    both = []
    for signs in ({r"\pm": "+", r"\mp": "-"}, {r"\pm": "-", r"\mp": "+"}):
        signed = [token._replace(text=signs.get(token.text, token.text)) for token in part]
        both.append(_item(signed))
    return both


def _item(part: Tokens) -> Item:
    """item = [name "="] quantity [modulus] | relation | set | words"""
    try:
        if not part:
            raise UnreadableExpression("unreadable")
        item = _words(part) or _choice(part) or _statement(part)
        value = part
        if item.name:
            # A name has done its work: "\\max f = 3".
            signs = top_level(part, {"=", r"\equiv", r"\in"})
            value = part[signs[0] + 1 :] if signs else part
        work = set(_work(value))
        if item.modulus is not None:
            work -= {"mod", "bmod"}
        return item._replace(work=frozenset(work)) if work else item
    except UnreadableExpression as error:
        text = " ".join(token.text for token in part)
        return Item(Tree(f"?{error}", (), text), work=frozenset(_work(part)))


def _words(part: Tokens) -> Item | None:
    """words: a text such as "no solution" or "isosceles", or None."""
    if not all(token.kind in ("word", "letters") or token.text in ("'", ".") for token in part):
        return None
    texts = [token.text for token in part if token.kind != "sign"]
    if not texts:
        # "()"
        return None
    text = " ".join(texts).lower()
    if _NO_SOLUTION.fullmatch(text):
        return Item(EMPTY)
    if _ALL_REALS.fullmatch(text):
        return Item(REALS)
    if text in _PHRASES:
        return Item(_PHRASES[text])
    if named := _NAMED_CHOICE.fullmatch(" ".join(texts)):
        return Item(name(named[1] or named[2]))
    if len(texts) == 1 and len(texts[0]) == 1 and texts[0].isascii():
        return Item(name(texts[0]))
    if any(token.text == "'" for token in part):
        return None
    kept = [word for word in text.split() if word not in _ARTICLES] or [text]
    product: tuple[Tree, ...] = ()
    if (len(part) == 1 and part[0].kind == "letters") or (
        all(token.kind == "letters" for token in part) and max(map(len, texts)) < 3
    ):
        # Letters may be a product, too.
        try:
            product = (_whole(part),)
        except UnreadableExpression:
            product = ()
    if product and product[0].kind == "name":
        return Item(product[0])
    return Item(Tree("word", product, " ".join(kept)))


def _choice(part: Tokens) -> Item | None:
    r"""choice = letter with a mark [value], as in "(C) 18" and "C. 18"; or None."""
    start = int(part[0].text in ("(", "["))
    if len(part) < start + 2 or not re.fullmatch("[A-Z]", part[start].text):
        return None
    if part[start + 1].text not in ((")", "]") if start else (")", ".", ":")):
        return None
    rest = part[start + 2 :]
    if not rest:
        return Item(name(part[start].text))
    if rest[0].spaced or part[start].kind == "word":
        return _item(trimmed(rest))._replace(letter=part[start].text)
    return None


_ENGLISH_IS = {"the", "final", "correct", "answer", "result", "value", "solution", "is", "so"}
# "共4个", "概率为\\frac{3}{4}", "答案是4", but not "不是4"
_CHINESE_IS = re.compile("[^不非或约]{0,8}(?:为|是|共|共有|等于|人民币)")
_MODULUS = {r"\pmod", r"\bmod", "mod"}
_SIGNS = {"=", r"\equiv", "<", ">", r"\le", r"\ge", r"\ne", r"\notin", r"\in", ":", "to", "比"}


def _statement(part: Tokens) -> Item:
    """statement = [name "="] quantity [modulus] | relation | set"""
    if part and part[0].kind == "word":
        part = _after_is(part)
    texts = {token.text for token in part}
    if "except" in texts:
        return _exception(part)
    modulus = rounded = None
    if texts & _MODULUS:
        part, modulus = _without_modulus(part)
    if r"\approx" in texts:
        part, rounded = _without_rounding(part)
    if not texts & _SIGNS and r"\approx" not in texts:
        item = _quantity(part)
        return item if modulus is None else item._replace(modulus=modulus)
    part = _after_quantifier(part)
    signs = top_level(part, {"=", r"\equiv"})
    if len(signs) == 1:
        left, right = trimmed(part[: signs[0]]), trimmed(part[signs[0] + 1 :])
        if not left or not right:
            raise UnreadableExpression("unreadable")
        written = _name(left)
        if (
            _name(right)
            and not written
            and not any(token.kind in ("letters", "word") for token in left)
        ):
            # "3 = s"
            left, right = right, left
            written = _name(left)
        if written and written != _name(right):
            item = _named(right, written)
            return item._replace(modulus=modulus, rounded=rounded or item.rounded)
    memberships = top_level(part, {r"\in"})
    if len(memberships) == 1:
        written = _name(part[: memberships[0]])
        if written:
            return Item(_whole(part[memberships[0] + 1 :]), written)
    has_relation = bool(top_level(part, _RELATIONS))
    item = _relation(part) if has_relation else _ratio(part) or _quantity(part)
    return item._replace(modulus=modulus, rounded=rounded or item.rounded)


def _after_is(part: Tokens) -> Tokens:
    """Return a value without words before it: "the answer is"."""
    words = [token.text.lower() for token in takewhile(lambda token: token.kind == "word", part)]
    if "is" in words and set(words[: words.index("is")]) <= _ENGLISH_IS:
        rest = part[words.index("is") + 1 :]
        return (rest[1:] if rest and rest[0].text == ":" else rest) or part
    if words and len(part) > 1 and _CHINESE_IS.fullmatch(words[0]):
        return part[1:]
    return part


def _exception(part: Tokens) -> Item:
    """exception = "all real numbers except" expression"""
    texts = [token.text.lower() for token in part]
    index = texts.index("except")
    if not _ALL_REALS.fullmatch(" ".join(texts[:index])):
        raise UnreadableExpression("unreadable")
    excluded = _statement(part[index + 1 :]).tree
    return Item(Tree(r"\setminus", (REALS, Tree("{}", (excluded,)))), is_range=True)


def _named(right: Tokens, written: str) -> Item:
    """Return the value after a name and an equals sign."""
    is_text = all(token.kind == "word" for token in right)
    item = (_words(right) if is_text else None) or _ratio(right) or _quantity(right)
    return item._replace(name=written)


def _name(part: Tokens) -> str:
    r"""name: a text such as "x", "x_1", "f(2)", "\angle ABC", "P(X=1)", "Area", "(x,y)"; or ""."""
    kept: list[str] = []
    has_letter = False
    index = 0
    while index < len(part):
        token = part[index]
        text = token.text
        before = part[index - 1] if index else END
        follows_name = (
            before.kind in ("letters", "word")
            or before.text in ("'", "}")
            or before.text.startswith("\\")
        )
        is_call = text in ("(", "[") and follows_name
        if is_call or text == "_":
            end = closing(part, index if is_call else index + 1)
            end = max(end, index + 1 if text == "_" else index)
            if is_call and end == index:
                return ""
            inner = part[index : end + 1]
            kept += [each.text for each in inner if each.text not in ("{", "}")]
            has_letter = has_letter or (is_call and _has_only_letters(inner))
            index = end + 1
            continue
        if text == "^" and [each.text for each in part[index : index + 5]] == [
            "^",
            "{",
            "-",
            "1",
            "}",
        ]:
            kept.append("^-1")
            index += 5
            continue
        if token.kind in ("number", "time") or text in _NO_NAME:
            return ""
        if text in _DENIALS or (token.kind == "word" and text.lower() in _DENIALS):
            return ""
        has_letter = (
            has_letter or token.kind in ("letters", "word") or text in GREEK or text in _OPERATORS
        )
        if text not in ("{", "}", r"\overline", "|"):
            kept.append(text.lower() if token.kind == "word" and len(text) > 1 else text)
        index += 1
    if not has_letter:
        return ""
    if kept[0].removeprefix("\\") in FUNCTIONS:
        # "\\tan(\\theta)" is "\\tan\\theta".
        kept = [text for text in kept if text not in ("(", ")")]
    if kept[0] == "m" and r"\angle" in kept[1:2]:
        kept = kept[1:]
    return " ".join(kept)


def _has_only_letters(part: Tokens) -> bool:
    """Return whether tokens have a letter and no number."""
    has_letter = any(token.kind == "letters" or token.text in GREEK for token in part)
    return has_letter and not any(token.kind == "number" for token in part)


def _without_modulus(part: Tokens) -> tuple[Tokens, Tree | None]:
    r"""modulus = "\pmod{7}" | "(mod 7)" at the end of a congruence"""
    texts = [token.text for token in part]
    if r"\pmod" in texts:
        index = texts.index(r"\pmod")
        return trimmed(part[:index]), _whole(part[index + 1 :])
    for word in (r"\bmod", "mod"):
        if word in texts[1:]:
            index = texts.index(word)
            if texts[index - 1] == "(" and texts[-1] == ")":
                return trimmed(part[: index - 1]), _whole(part[index + 1 : -1])
            if r"\equiv" in texts:
                return trimmed(part[:index]), _whole(part[index + 1 :])
    return part, None


def _without_rounding(part: Tokens) -> tuple[Tokens, Tree | None]:
    r"""rounding: "\approx 3.14" after a value. After a name or nothing, it is the value."""
    signs = top_level(part, {r"\approx"})
    if not signs:
        return part, None
    before, after = part[: signs[0]], part[signs[-1] + 1 :]
    if not before:
        return after, None
    if before[0].text not in (r"\pi", "e") and _name(before):
        return [*before, Token("sign", "="), *after], None
    try:
        return before, _whole(after)
    except UnreadableExpression:
        return before, None


def _after_quantifier(part: Tokens) -> Tokens:
    r"""Return a relation without words before it: "all integers n\ge3"."""
    if not top_level(part, _RELATIONS):
        return part
    index = 0
    words = _QUANTIFIERS | _PARAMETER_WORDS | {"numbers", "values", "of", "such", "that", "number"}
    while index < len(part) and part[index].kind == "word" and part[index].text.lower() in words:
        index += 1
    return part[index:]


def _ratio(part: Tokens) -> Item | None:
    """ratio = expression ":" expression {":" expression} | whole number "to" whole number"""
    sides = pieces(part, {":"})
    if (
        len(part) == 3
        and part[1].text.lower() in ("to", "比")
        and part[0].kind == part[2].kind == "number"
    ):
        sides = [part[:1], part[2:]]
    if len(sides) == 1:
        return None
    label = sides[0]
    if label and all(token.kind == "word" for token in label):
        # "Total: 42"
        return _quantity(part[len(label) + 1 :])._replace(name=_name(label))
    if any([token.text for token in side] == [r"\ldots"] for side in sides):
        raise UnreadableExpression("unreadable")
    return Item(Tree("ratio", tuple(map(_whole, sides))))


# ---------------------------------------------------------------------------------------------------
# quantity


def _quantity(part: Tokens) -> Item:
    """quantity = [currency] expression [unit] | time"""
    if not part:
        raise UnreadableExpression("unreadable")
    if item := _time(part):
        return item
    if item := _compound(part):
        return item
    before: tuple[str, ...] = ()
    sign: Tokens = []
    part = _with_multiple(part)
    if part[0].text in ("-", "+") and len(part) > 2 and is_currency(part[1]):
        sign, part = part[:1], part[1:]
    if is_currency(part[0]) and len(part) > 1:
        before = (part[0].text.removeprefix("\\"),)
        part = [token for index, token in enumerate(part[1:]) if index or token.text != "."]
    if (
        closing(part, 0) == len(part) - 1
        and part[0].text == "("
        and not top_level(part[1:-1], {",", ";"})
    ):
        # The value of "(17\\%)" has no brackets.
        inner = trimmed(part[1:-1])
        return _words(inner) or _quantity(inner)
    end = unit_start(part)
    if based := _with_base(part[:end]):
        return based
    value, unit = [*sign, *part[:end]], part[end:]
    written = tuple(unit_words(unit)) or before
    if (written and written[-1] in ("%", "percent")) or written == ("per", "cent"):
        return Item(Tree("%", (_whole(value),)))
    tree, degrees = _whole_with_degrees(value)
    if degrees and not written:
        written = ("°",)
    product = None
    symbols = [
        token for token in unit if token.text not in ("^", "{", "}") and token.kind != "number"
    ]
    symbols = [token for token in symbols if token.text not in ("/", r"\frac")]
    if symbols and all(len(token.text) == 1 and token.text.isalpha() for token in symbols):
        product = _product(tree, unit)
    return Item(tree, unit=written, product=product)


_BASED = re.compile(
    r"(-?)\(?([0-9A-Z]{1,60})\)?(?:_\{?\(?(?:base)?|\(?base)([0-9]{1,2}|[a-z]+)\)?\}?\)?"
)
_BASE_WORDS = dict(
    two=2,
    three=3,
    four=4,
    five=5,
    six=6,
    seven=7,
    eight=8,
    nine=9,
    ten=10,
    eleven=11,
    twelve=12,
    sixteen=16,
)


_MULTIPLES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12, "万": 4, "亿": 8}


def _with_multiple(part: Tokens) -> Tokens:
    """Return "9 million" as one number."""
    for index, (token, after) in enumerate(pairwise(part)):
        if token.kind != "number" or after.kind not in ("word", "letters"):
            continue
        power = _MULTIPLES.get(after.text.lower())
        if power:
            value = decimal(token.text) * 10**power
            if value.denominator == 1:
                return [*part[:index], token._replace(text=str(value)), *part[index + 2 :]]
    return part


def _with_base(part: Tokens) -> Item | None:
    r"""number with a base: "1011_2", "A5_{16}", "(1011)_2", "1011_{\text{two}}", "1011 (base 2)" """
    if not any(token.text in ("_", "base") for token in part):
        return None
    written = _BASED.fullmatch("".join(token.text for token in part))
    if not written:
        return None
    sign, digits, base_text = written.groups()
    base = _BASE_WORDS.get(base_text.lower()) or (int(base_text) if base_text.isdecimal() else 0)
    if not any(map(str.isdecimal, digits)) or max(int(digit, 36) for digit in digits) >= base:
        return None
    return Item(Tree("based", (number(base),), sign + (digits.lstrip("0") or "0")))


def _product(tree: Tree, unit: Tokens) -> Tree | None:
    try:
        return joined(
            "*",
            tree,
            _whole(
                [
                    token._replace(kind="letters") if token.kind == "word" else token
                    for token in unit
                ]
            ),
        )
    except UnreadableExpression:
        return None


def _time(part: Tokens) -> Item | None:
    """time = hours ":" minutes ["am" | "pm"] | hours ("am" | "pm")"""
    half = part[-1].text.lower() if part[-1].kind in ("word", "letters") else ""
    half = half if half in ("am", "pm") else ""
    if len(part) != 1 + bool(half):
        return None
    clock = part[0]
    if clock.kind == "time":
        return Item(Tree("time", (), f"{clock.text.lstrip('0') or '0'} {half}"))
    if half and clock.kind == "number" and len(clock.text) < 3:
        return Item(Tree("time", (), f"{clock.text.lstrip('0')}:00 {half}"))
    return None


def _compound(part: Tokens) -> Item | None:
    """compound = whole number unit number unit, of one dimension: "5 feet 6 inches" """
    if part[0].kind != "number" or len(part) < 4:
        return None
    numbers = [index for index, token in enumerate(part) if token.kind == "number"]
    if (
        len(numbers) != 2
        or numbers[0] != 0
        or numbers[1] < 2
        or part[numbers[1] - 1].kind == "sign"
    ):
        return None
    first, second = part[: numbers[1]], part[numbers[1] :]
    if any(token.kind != "word" and token.text not in UNITS for token in (*first[1:], *second[1:])):
        return None
    large, small = (unit_of(tuple(unit_words(side[1:]))) for side in (first, second))
    if large is None or small is None or large.base != small.base or large.factor <= small.factor:
        return None
    total = decimal(first[0].text) + decimal(second[0].text) * small.factor / large.factor
    return Item(number(total), unit=tuple(unit_words(first[1:])))


# ---------------------------------------------------------------------------------------------------
# relation

_RELATIONS = {"=", r"\equiv", "<", ">", r"\le", r"\ge", r"\ne", r"\notin"}
_FLIPPED = {">": "<", r"\ge": r"\le"}


def _relation(part: Tokens) -> Item:
    """relation = expression {sign expression}. An inequality that is solved for a name is the set of its values."""
    signs = [part[index].text for index in top_level(part, _RELATIONS)]
    operators = ["=" if sign == r"\equiv" else sign for sign in signs]
    if any(token.text.lower() in _DENIALS for token in part):
        raise UnreadableExpression("unreadable")
    written = pieces(part, _RELATIONS)
    if len(operators) > 1 and {*operators} == {"="}:
        label, last = _name(written[0]), _side(written[-1])
        if last.is_constant and (label or _side(written[0]).is_constant):
            # "z = 1+1 = 2"
            return Item(_chain(written[1:] if label else written) or last, label, is_chain=True)
    sides = [_side(side) for side in written]
    if {*operators} <= {*_FLIPPED}:
        # "3 > x \ge 1" is "1 \le x < 3".
        operators = [_FLIPPED[operator] for operator in reversed(operators)]
        sides.reverse()
    if item := _range(operators, sides):
        return item
    if len(operators) == 1 or {*operators} == {"="}:
        return Item(Tree(operators[0], tuple(sides)))
    return Item(Tree("chain", tuple(sides), " ".join(operators)))


def _chain(written: list[Tokens]) -> Tree | None:
    """Return an equation of numbers, or None if a side is no number."""
    try:
        tree = Tree("=", tuple(map(_side, written)))
    except UnreadableExpression:
        return None
    return tree if tree.is_constant else None


def _side(part: Tokens) -> Tree:
    """side = expression ["%"]"""
    if part and part[-1].text == "%":
        return Tree("%", (_whole(part[:-1]),))
    return _whole(part)


def _range(operators: list[str], sides: list[Tree]) -> Item | None:
    """Return the numbers that an inequality allows for a name, or None if it is not solved for one."""
    if operators == [r"\ne"]:
        variable, value = sides if _is_variable(sides[0]) else reversed(sides)
        if not (_is_variable(variable) and _is_free_of(variable, [value])):
            return None
        others = Tree(r"\setminus", (REALS, Tree("{}", (value,))))
        return Item(others, _label(variable), is_range=True)

    if not {*operators} <= {"<", r"\le"} or len(sides) > 3:
        return None
    if len(sides) == 2:
        sides, operators = _with_two_bounds(sides[0], sides[1], operators[0])
    low, middle, high = sides
    is_absolute = _is_absolute(middle)
    variable = middle.parts[0] if is_absolute else middle
    if not (_is_variable(variable) and _is_free_of(variable, [low, high])):
        return None
    is_low_open, is_high_open = (operator == "<" for operator in operators)
    numbers = _interval(low, is_low_open, high, is_high_open)
    if is_absolute:
        # "1<|x|<2" is also true for the opposite numbers.
        opposite = _interval(negated(high), is_high_open, negated(low), is_low_open)
        numbers = Tree(r"\cup", (opposite, numbers))
    return Item(numbers, _label(variable), is_range=True)


def _with_two_bounds(left: Tree, right: Tree, operator: str) -> tuple[list[Tree], list[str]]:
    """Return an inequality with two sides as one with three: "x<2" is "-\\infty<x<2", and "|x|<2" is "-2<x<2"."""
    if _is_absolute(left):
        return [negated(right), left.parts[0], right], [operator, operator]
    if not _is_absolute(right) and _is_variable(left):
        return [negated(INFINITY), left, right], ["<", operator]
    return [left, right, INFINITY], [operator, "<"]


def _interval(low: Tree, is_low_open: bool, high: Tree, is_high_open: bool) -> Tree:
    return Tree(("(" if is_low_open else "[") + (")" if is_high_open else "]"), (low, high))


def _is_absolute(tree: Tree) -> bool:
    return tree.kind == "||" and _is_variable(tree.parts[0])


def _is_variable(tree: Tree) -> bool:
    if tree.kind == "name":
        return tree.value not in (r"\infty", r"\pi", r"\mathbb{R}", r"\emptyset", "e", "i")
    return tree.kind == "call" and len(tree.parts) == 1


def _is_free_of(variable: Tree, others: list[Tree]) -> bool:
    return all(variable not in subtrees(other) for other in others)


def _label(variable: Tree) -> str:
    if variable.kind == "call":
        return f"{variable.value} ( {variable.parts[0].value} )"
    return str(variable.value)


# ---------------------------------------------------------------------------------------------------
# expression


class _Expression(Expression):
    """An expression with sets and cases, which hold whole items."""

    def set(self) -> Tree:
        r"""set = "\{" [expression {"," expression}] "\}" | "\{" name "\mid" conditions "\}" """
        end = closing(self.tokens, self.at - 1)
        if end < 0:
            raise UnreadableExpression("unreadable")
        inner = self.tokens[self.at : end]
        self.at = end + 1
        if not inner:
            return EMPTY
        if bar := _bar(inner):
            return _described(inner[:bar], inner[bar + 1 :])
        members: list[Tree] = []
        for part in _split(inner)[0]:
            members += [item.tree for item in map(_readable, _items(part))]
        return Tree("{}", tuple(members))

    def cases(self, rows: list[list[Tokens]]) -> Tree:
        """cases = case {case}"""
        return Tree("cases", tuple(sorted(_case(row) for row in rows)))


def _whole(part: Tokens) -> Tree:
    """Return the tree of tokens that are one expression. Raises: UnreadableExpression."""
    return _whole_with_degrees(part)[0]


def _whole_with_degrees(part: Tokens) -> tuple[Tree, bool]:
    if not part:
        raise UnreadableExpression("unreadable")
    expression = _Expression(part)
    return expression.whole(), expression.has_degrees


def find_expressions(written: Tokens) -> Iterator[Tree]:
    """Yield the longest expressions in tokens, from left to right, and all expressions within them."""
    start = 0
    while start < len(written):
        expression = _Expression(written[start:])
        try:
            yield from subtrees(expression.expression())
            start += max(1, expression.at - expression.added)
        except UnreadableExpression:
            start += 1


def _readable(item: Item) -> Item:
    if item.is_unread:
        raise UnreadableExpression(item.tree.kind[1:])
    return item


def _case(row: list[Tokens]) -> Tree:
    """case = value "&" condition"""
    if len(row) != 2:
        raise UnreadableExpression("unreadable")
    value = _whole(trimmed(row[0]))
    condition = row[1]
    while (
        condition
        and condition[0].kind in ("word", "letters")
        and condition[0].text.lower() in _CONDITION_WORDS
    ):
        condition = condition[1:]
    items = [_readable(item) for item in _answer(condition)[0]]
    return Tree("case", (value, *(item.tree for item in items)))


def _bar(inner: Tokens) -> int:
    r"""Return the index of the sign between a name and its conditions: "x \mid x>2". 0: there is none."""
    for index, token in enumerate(inner):
        if token.text in (r"\mid", "|", ":"):
            before = [each.text for each in inner[:index]]
            is_name = len(before) == 1 and before[0].isalpha()
            is_member = len(before) == 3 and before[1] == r"\in"
            return index if is_name or is_member else 0
    return 0


def _described(variable: Tokens, conditions: Tokens) -> Tree:
    """Return the set of the values that conditions allow. An equation stays, because it is not solved."""
    items, is_either, _, _ = _answer(conditions)
    trees = []
    if items and items[0].tree.kind == r"\setminus" and not any(item.name for item in items[1:]):
        # "x\ne0,1"
        excluded = [
            tree
            for item in items
            for tree in (item.tree.parts[1].parts if item.is_range else (item.tree,))
        ]
        return Tree(r"\setminus", (REALS, Tree("{}", tuple(excluded))))
    for item in items:
        _readable(item)
        if (
            item.name
            and not item.is_range
            and not any(token.text == r"\in" for token in conditions)
        ):
            return Tree("builder", (item.tree,), item.name)
        if not item.is_range and not item.name:
            return Tree("builder", (item.tree,), variable[0].text)
        trees.append(item.tree)
    if len(trees) == 1:
        return trees[0]
    return Tree(r"\cup" if is_either else r"\cap", tuple(trees))
