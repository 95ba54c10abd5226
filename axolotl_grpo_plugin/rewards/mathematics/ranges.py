r"""Sets of real numbers as lists of intervals: "(0,1)\cup(1,\infty)", "\mathbb{R}\setminus\{1\}", "x\ne1"."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from axolotl_grpo_plugin.rewards.mathematics.exact import is_small, value_at
from axolotl_grpo_plugin.rewards.mathematics.functions import MATH, Value
from axolotl_grpo_plugin.rewards.mathematics.trees import (
    EMPTY,
    INFINITY,
    INTERVALS,
    REALS,
    STRUCTURES,
    Tree,
    negated,
)


class Bound(NamedTuple):
    """A border between numbers: just before a number, or just after it.

    Attributes:
        at: The number, or an infinity.
        is_after: The number itself is on the lower side.
    """

    at: Value
    is_after: bool


Ranges = list[tuple[Bound, Bound]]  # disjoint, in ascending order

_ALL: Ranges = [(Bound(-MATH.inf, False), Bound(MATH.inf, True))]


def as_ranges(tree: Tree) -> Ranges | None:
    """Return the intervals of a set of real numbers, or None for another tree."""
    kind = tree.kind
    if tree == REALS or tree == Tree("()", (negated(INFINITY), INFINITY)):
        return _ALL
    if tree == EMPTY:
        return []
    if kind in INTERVALS and len(tree.parts) == 2:
        low, high = (_real(part) for part in tree.parts)
        if low is None or high is None or low >= high:
            return None
        opens = kind[0] == "(" and low != -MATH.inf
        closes = kind[1] == "]" or high == MATH.inf
        return [(Bound(low, opens), Bound(high, closes))]
    if kind not in STRUCTURES:
        value = _real(tree)
        return None if value is None else [(Bound(value, False), Bound(value, True))]

    parts = [as_ranges(part) for part in tree.parts]
    sets = [part for part in parts if part is not None]
    if len(sets) < len(parts):
        return None
    if kind in ("{}", r"\cup"):
        return _union([interval for part in sets for interval in part])
    if kind == r"\cap":
        result = sets[0]
        for part in sets[1:]:
            result = _without(result, _without(_ALL, part))
        return result
    if kind == r"\setminus":
        return _without(*sets)
    return None


def _real(tree: Tree) -> Value | None:
    if tree == INFINITY:
        return MATH.inf
    if tree == negated(INFINITY):
        return -MATH.inf
    value = value_at(tree, 0) if tree.is_constant else None
    if value is None:
        return None
    value = (
        MATH.mpf(value.numerator) / value.denominator
        if isinstance(value, Fraction)
        else MATH.convert(value)
    )
    return value.real if is_small(value.imag, value) else None


def _union(intervals: Sequence[tuple[Bound, Bound]]) -> Ranges:
    merged: Ranges = []
    for start, end in sorted(intervals):
        if merged and not _is_before(merged[-1][1], start):
            last, other = merged[-1]
            merged[-1] = (last, max(other, end))
        else:
            merged.append((start, end))
    return merged


def _without(ranges: Ranges, excluded: Ranges) -> Ranges:
    kept = ranges
    for start, end in excluded:
        pieces: Ranges = []
        for low, high in kept:
            if _is_before(low, start):
                pieces.append((low, min(high, start)))
            if _is_before(end, high):
                pieces.append((max(low, end), high))
        kept = [piece for piece in pieces if _is_before(*piece)]
    return _union(kept)


def _is_before(bound: Bound, other: Bound) -> bool:
    if _is_at(bound, other):
        return other.is_after and not bound.is_after
    return bool(bound.at < other.at)


def _is_at(bound: Bound, other: Bound) -> bool:
    """Return whether two bounds are at the same number."""
    if MATH.isinf(bound.at) or MATH.isinf(other.at):
        return bool(bound.at == other.at)
    return is_small(bound.at - other.at, max(abs(bound.at), 1))


def are_same(ranges: Ranges, others: Ranges) -> bool:
    """Return whether two sets of numbers have the same members."""
    bounds = [bound for pair in ranges for bound in pair]
    other_bounds = [bound for pair in others for bound in pair]
    return len(bounds) == len(other_bounds) and all(
        bound.is_after == other.is_after and _is_at(bound, other)
        for bound, other in zip(bounds, other_bounds, strict=True)
    )
