"""One reward for a mix of datasets: the `data_source` of a row selects the rewards that score it.

`KNOWN` has routes for the sources in datasets of verl, Reasoning360 and TinyZero.
"""

from collections.abc import Mapping
from functools import partial
from inspect import signature
from itertools import chain
from math import isfinite
from typing import Any, NamedTuple

from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.load import load_scorer, not_ready
from axolotl_grpo_plugin.reward import (
    NOT_THIS_TASK,
    How,
    Options,
    Range,
    Reward,
    Score,
    check_options,
    made_of,
)
from axolotl_grpo_plugin.rewards.mathematics.values import read_object

_OURS = "axolotl_grpo_plugin.rewards"
_MATH = f"{_OURS}.math.accuracy_reward_func"
_EXACT = f"{_OURS}.puzzles.exact_reward_func"
_ORDER = {"reward": _EXACT, "args": {"ignore_case": True}}

# Our reward for the sources of those projects. "x*" is every source that begins with x.
_SOURCES = """
math.accuracy_reward_func lighteval/MATH DigitalLearningGmbH/MATH-lighteval HuggingFaceH4/MATH-500
math.accuracy_reward_func math* aime* numina* stem*
code.code_reward_func codegen* codecontests codeforces apps taco code
puzzles.grid_reward_func zebra_puzzle_dataset logic__zebra_puzzle*
puzzles.exact_reward_func graph_logical_dataset logic__graph_logical* logic__arcagi* logic__barc*
puzzles.exact_reward_func simulation__arcagi* simulation__barc* simulation__codeio*
gym.gym_reward_func reasoning_gym/*
"""
KNOWN: dict[str, Any] = {
    "openai/gsm8k": {"reward": _MATH, "columns": {"solution": "answer"}},
    **dict.fromkeys(["ordering_puzzle_dataset", "logic__ordering_puzzle*"], _ORDER),
    "table*": {"reward": _EXACT, "args": {"separator": "|"}},
    "countdown": {
        "reward": f"{_OURS}.countdown.equation_reward_func",
        "columns": {"nums": "numbers"},
    },
}
for _line in _SOURCES.strip().splitlines():
    _path, *_names = _line.split()
    KNOWN |= dict.fromkeys(_names, f"{_OURS}.{_path}")
# These columns are never read from the ground truth.
_ROWS_OWN = ("prompt", "completion_ids", "data_source", "extra_info", "ground_truth")


Row = Options


class Member(NamedTuple):
    """A reward of a route. columns: the reward's name of a column -> the dataset's name."""

    function: Reward
    weight: float
    columns: Mapping[str, str]

    @property
    def dataset_columns(self) -> set[str]:
        """The dataset's columns that the reward may read, beside data_source."""
        return {*self.function.spec.columns, *self.columns.values()} - {"data_source"}

    def read(self, row: Row) -> Row:
        """Return the reward's columns of a row. A column that is missing is None."""
        truth = row.get("ground_truth")
        record = read_object(truth)
        columns = {}
        for name in self.function.spec.columns:
            other = self.columns.get(name, name)
            value = record.get(other)
            if value is None and other != name:
                value = row.get(other)
            reads_only_this = self.function.spec.reads == (name,)
            if value is None and reads_only_this and name not in _ROWS_OWN:
                value = truth
            columns[name] = row.get(name) if value is None else value
        return columns

    def missing(self, row: Row) -> str:
        """Return which column a row lacks, and how to fix that, or ""."""
        for name in self.function.spec.reads:
            if self.read(row)[name] is None:
                return (
                    f"{self.function.__name__} reads {name!r}, but the row and its ground_truth have no "
                    f"such column. Name the dataset's column in the route: `columns: {{{name}: ...}}`"
                )
        return ""


Route = tuple[Member, ...]
Routes = dict[str, Route]


def dispatch(routes: Options | None = None) -> Reward:
    """Return the score of the reward that a row's `data_source` selects, or the weighted sum of several.

    Args:
        routes: maps a source, or a prefix of sources ("math*"), to the dotted path of a reward of one
            completion. In place of a path: {reward: path, weight: 1.0, args: {...}, columns: {the
            reward's name: the dataset's name}}, a list of these, or null if another reward of the run
            scores these rows. An exact source goes before a prefix, the first prefix that matches before
            others, and all go before `KNOWN`.

    A column of a reward is read from the row's `ground_truth` first: from its field of that name, or all of
    it if the reward reads one column. Otherwise it is a column of the dataset. The curve
    `rewards/dispatch/<data_source>` has the mean score of a source, and
    `reward_reasons/dispatch/<data_source>/` its reasons. Range: the lowest to the highest score of any route.

    Source: the routing by `data_source` of https://github.com/volcengine/verl (Apache-2.0).

    Raises: TypeError if a route cannot be built.

    >>> routed = dispatch({"sums": "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"})
    >>> routed([""], ["<answer>18</answer>"], data_source=["sums"])
    [0.5]
    """
    own = _build(routes or {})
    known = _build(KNOWN)

    def route_of(row: Row) -> Route | None:
        source = str(row["data_source"])
        for routes in (own, known):
            for rule in (source, *routes):  # an exact rule goes before a prefix
                if rule in routes and is_of(source, rule):
                    return routes[rule]
        return None

    def score(how: How, completion: str, row: Any) -> Score | None:
        """Return the weighted sum with the first reward's reason, or None if one has no quick score."""
        route = route_of(row)
        if route is None:
            return Score(None, "no_route")
        total = 0.0
        result = NOT_THIS_TASK
        for member in reversed(route):
            scored = how(member.function, completion, **member.read(row))
            if scored is None or scored.value is None:
                return scored
            total += scored.value * member.weight
            result = scored._replace(value=total)
        return result

    def row_problem(**row: Any) -> str:
        """Return why a reward of the row's source can score no completion of it, or ""."""
        for member in route_of(row) or ():
            if problem := member.function.row_problem(member.read(row)):
                return problem
        return ""

    def unroutable(row: Row) -> str:
        """Return why no route scores a row, and how to fix that, or ""."""
        source, route = str(row["data_source"]), route_of(row)
        if route is None:
            return (
                f"data_source {source!r}: no route takes it. "
                f"Add `{source}: path.of.a.reward` to the routes"
            )
        for member in route:
            reason = member.missing(row) or not_ready(member.function)
            if reason:
                return f"data_source {source!r}: {reason}"
        return ""

    every_route = [*own.values(), *known.values()]
    members = [*chain.from_iterable(every_route)]
    may_read = {"ground_truth"}
    row_columns = set[str]()
    reasons = ["no_route"]
    for member in members:
        may_read |= member.dataset_columns
        reasons += member.function.spec.reasons
        if member.function.spec.row_problem:
            row_columns |= member.dataset_columns - {"prompt"}
    lows, highs = zip(*map(_range, every_route), strict=True)
    return made_of(
        [member.function for member in members],
        "dispatch",
        score,
        range=(min(lows), max(highs)),
        reads=("data_source",),
        may_read=sorted(may_read),
        reasons=dict.fromkeys(reasons),
        group_by="data_source",
        row_problem=row_problem,
        unroutable=unroutable,
        row_columns=("data_source", *sorted(row_columns), "ground_truth"),
    )


def _build(routes: Options) -> Routes:
    built: Routes = {}
    for rule, entry in routes.items():
        entries = entry if isinstance(entry, list) else [entry]
        if entry is None:  # another reward of the run scores these rows
            entries = []
        built[str(rule)] = tuple(_member(f"routes, {rule}", member) for member in entries)
    return built


def _member(where: str, entry: object) -> Member:
    """Build a member from its path, or from a mapping with the options of `_member_of`."""
    if isinstance(entry, str):
        entry = {"reward": entry}
    if not isinstance(entry, Mapping) or "reward" not in entry:
        fix = "Write the dotted path of one"
        stop("wrong-option", where, f"{entry!r} has no reward", fix)
    make = partial(_member_of, where)
    check_options(where, signature(make).parameters, entry)
    return make(**entry)


def _member_of(
    where: str,
    reward: str,
    weight: float = 1.0,
    args: Options | None = None,
    columns: Mapping[str, str] | None = None,
) -> Member:
    if not isfinite(weight):
        raise TypeError(f"{where}: weight: {weight!r} is not a number")
    function = load_scorer(where, reward, args)
    known = function.spec.columns
    for column, other in (columns or {}).items():
        if column not in known or not isinstance(other, str):
            what = f"{other!r} is wrong"
            fix = f"Write the reward's column ({', '.join(known)}), then the name of the dataset's column"
            stop("wrong-option", f"{where}: columns: {column}", what, fix)
    return Member(function, weight, columns or {})


def is_of(source: str, rule: str) -> bool:
    """Return whether a data_source matches a rule, which is a source or a prefix that ends in "*"."""
    if rule.endswith("*"):
        return source.startswith(rule[:-1])
    return source == rule


def _range(route: Route) -> Range:
    """Return the lowest and the highest weighted sum of a route."""
    lowest = highest = 0.0
    for member in route:
        ends = [end * member.weight for end in member.function.range]
        lowest += min(ends)
        highest += max(ends)
    return lowest, highest
