"""The tree of an expression, which the grammar makes and the comparison reads."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache

_UNKNOWN = frozenset({"call", "big", "word", "text"})
CONSTANTS = frozenset({"e", "i", r"\pi"})


class Tree:
    r"""An expression. Equal trees have the same form, not only the same value.

    Attributes:
        kind: "number", "mixed" (`1\frac{1}{2}`), "name" (a variable or a constant), "word"; an operation ("+",
            "*", "/", "-", "^", "!", "%"); the name of a function; "call" (of an unknown function), "big" (a sum
            or an integral); the brackets around parts ("()", "[)", "{}", "||"); "matrix" and its rows "row";
            "cases"; a set operation; a relation ("=", "<"); "time", "ratio", "based" (`1011_2`).
        parts: The operands, arguments or members.
        value: A number, or the name of a leaf or a call.
        key: A text that is equal for equal trees. Trees are sorted by it.
        is_constant: It has no variable.
    """

    __slots__ = ("is_constant", "key", "kind", "parts", "value")

    def __init__(
        self, kind: str, parts: tuple["Tree", ...] = (), value: Fraction | str = ""
    ) -> None:
        self.kind = kind
        self.parts = parts
        self.value = value
        inner = ",".join([part.key for part in parts])
        self.key: str = (
            f"{kind}:{value!s}({inner})"  # "!s", because a Fraction formats itself slowly
        )
        if kind == "name":
            self.is_constant: bool = value in CONSTANTS
        else:
            self.is_constant = kind not in _UNKNOWN and all([part.is_constant for part in parts])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __lt__(self, other: "Tree") -> bool:
        return self.key < other.key

    def __repr__(self) -> str:
        return f"Tree({self.key!r})"

    def with_parts(self, parts: Iterable["Tree"]) -> "Tree":
        """Return the same operation of other parts."""
        return Tree(self.kind, tuple(parts), self.value)


def number(value: Fraction | int) -> Tree:
    return Tree("number", (), value if isinstance(value, Fraction) else Fraction(value))


@lru_cache(maxsize=4096)
def name(text: str) -> Tree:
    return Tree("name", (), text)


ZERO, ONE, MINUS, TEN = map(number, (0, 1, -1, 10))
INFINITY = name(r"\infty")
REALS = name(r"\mathbb{R}")
EMPTY = name(r"\emptyset")

# Sets, tuples, matrices and relations. They have no value.
STRUCTURES = frozenset(
    [
        "{}",
        "()",
        "[]",
        "(]",
        "[)",
        "matrix",
        "row",
        "cases",
        "case",
        "ratio",
        "based",
        "time",
        "word",
        "text",
        r"\cup",
        r"\cap",
        r"\setminus",
        r"\in",
        r"\notin",
        "=",
        "<",
        r"\le",
        r"\ne",
        "chain",
        "builder",
        "det",
    ]
)
INTERVALS = frozenset({"()", "(]", "[)", "[]"})


def joined(kind: str, *parts: Tree) -> Tree:
    """Return one operation. Parts of the same operation are taken apart."""
    flat: list[Tree] = []
    for part in parts:
        flat += part.parts if part.kind == kind else [part]
    return Tree(kind, tuple(flat))


def negated(tree: Tree) -> Tree:
    """Return a tree with a minus sign. "-(-5)" keeps both signs."""
    if tree.kind == "number" and isinstance(tree.value, Fraction) and tree.value >= 0:
        return number(-tree.value)
    return Tree("-", (tree,))


def subtrees(tree: Tree) -> Iterator[Tree]:
    """Yield a tree and all trees within it."""
    yield tree
    for part in tree.parts:
        yield from subtrees(part)


def names(tree: Tree) -> frozenset[str]:
    """Return the names of the variables and constants in a tree."""
    return frozenset(str(part.value) for part in subtrees(tree) if part.kind == "name")


def replaced(tree: Tree, new: Mapping[str, Tree]) -> Tree:
    """Return a tree with other trees for some of its names."""
    if tree.kind == "name":
        return new.get(str(tree.value), tree)
    if tree.is_constant or not tree.parts:
        return tree
    return tree.with_parts(replaced(part, new) for part in tree.parts)
