"""One reward for a mix of datasets: the `data_source` of a row selects the rewards that score it.

`KNOWN_SOURCES` has routes for the sources in datasets of verl, Reasoning360, ToolRL and TinyZero.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from inspect import signature
from math import isfinite
from typing import Any, NamedTuple

from axolotl_grpo_plugin.findings import stop
from axolotl_grpo_plugin.load import load_scorer, not_ready
from axolotl_grpo_plugin.reward import (
    MESSAGES,
    NOT_THIS_TASK,
    Options,
    Range,
    Reward,
    Row,
    Score,
    Scores,
    Spec,
    check_options,
)
from axolotl_grpo_plugin.rewards.combined import Combined
from axolotl_grpo_plugin.rewards.mathematics.values import read_object

_OURS = "axolotl_grpo_plugin.rewards"
_MATH = f"{_OURS}.math.accuracy_reward_func"
_CODE = f"{_OURS}.code.code_reward_func"
_CHOICE = f"{_OURS}.choice.choice_reward_func"
_INSTRUCTIONS = f"{_OURS}.instructions.instructions_reward_func"
_GRID = f"{_OURS}.puzzles.grid_reward_func"
_EXACT = f"{_OURS}.puzzles.exact_reward_func"
_ORDER = {"reward": _EXACT, "args": {"ignore_case": True}}

# Our rewards for the sources of those projects. "x*" is every source that begins with x. A longer prefix stands first.
KNOWN_SOURCES: dict[str, Any] = {
    "openai/gsm8k": {"reward": _MATH, "columns": {"solution": "answer"}},
    "ordering_puzzle_dataset": _ORDER,
    "logic__ordering_puzzle*": _ORDER,
    "table*": {"reward": _EXACT, "args": {"separator": "|"}},
    "countdown": {
        "reward": f"{_OURS}.countdown.equation_reward_func",
        "columns": {"nums": "numbers"},
    },
    "lighteval/MATH": _MATH,
    "DigitalLearningGmbH/MATH-lighteval": _MATH,
    "HuggingFaceH4/MATH-500": _MATH,
    "math*": _MATH,
    "aime*": _MATH,
    "numina*": _MATH,
    "gpqa*": _CHOICE,
    "stem__gpqa*": _CHOICE,
    "supergpqa*": _CHOICE,
    "stem__supergpqa*": _CHOICE,
    "stem*": _MATH,
    "codegen*": _CODE,
    "codecontests": _CODE,
    "codeforces": _CODE,
    "apps": _CODE,
    "taco": _CODE,
    "code": _CODE,
    "choice": _CHOICE,
    "ifeval*": _INSTRUCTIONS,
    "ood__ifeval*": _INSTRUCTIONS,
    "rlla*": f"{_OURS}.tool_call.tool_call_reward_func",
    "zebra_puzzle_dataset": _GRID,
    "logic__zebra_puzzle*": _GRID,
    "graph_logical_dataset": _EXACT,
    "logic__graph_logical*": _EXACT,
    "logic__arcagi*": _EXACT,
    "logic__barc*": _EXACT,
    "simulation__arcagi*": _EXACT,
    "simulation__barc*": _EXACT,
    "simulation__codeio*": _EXACT,
    "reasoning_gym/*": f"{_OURS}.gym.gym_reward_func",
}
# These columns are never read from the ground truth.
_NOT_IN_TRUTH = ("prompt", "completion_ids", "data_source", "extra_info", "ground_truth")


class Member(NamedTuple):
    """A reward of a route.

    Attributes:
        function: The reward.
        weight: Its weight in the sum of the route.
        columns: The dataset's name of a column, by the reward's name.
    """

    function: Reward
    weight: float
    columns: Mapping[str, str]

    @property
    def dataset_columns(self) -> set[str]:
        """The dataset's columns that the reward may read, beside data_source."""
        return {*self.function.spec.columns, *self.columns.values()} - {"data_source", MESSAGES}

    def read(self, row: Options) -> Row:
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
            if value is None and reads_only_this and name not in _NOT_IN_TRUTH:
                value = truth
            columns[name] = row.get(name) if value is None else value
        return columns

    def missing(self, row: Options) -> str:
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
        routes: Maps a source, or a prefix of sources ("math*"), to the dotted path of a reward of one
            completion. In place of a path: {reward: path, weight: 1.0, args: {...}, columns: {the
            reward's name: the dataset's name}}, a list of these, or null if another reward of the run
            scores these rows. An exact source goes before a prefix, the first prefix that matches before
            others, and all go before `KNOWN_SOURCES`.

    A column of a reward is read from the row's `ground_truth` first: from its field of that name, or all of
    it if the reward reads one column. Otherwise it is a column of the dataset. The curve
    `rewards/dispatch/<data_source>` has the mean score of a source, and
    `reward_reasons/dispatch/<data_source>/` its reasons. Range: the lowest to the highest score of any route.

    Source: the routing by `data_source` of https://github.com/volcengine/verl (Apache-2.0).

    Raises:
        FindingError: A route is wrong.
        TypeError: An option of a route is unknown, or its value has a wrong type.

    >>> routed = dispatch({"sums": "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"})
    >>> routed([""], ["<answer>18</answer>"], data_source=["sums"])
    [0.5]
    """
    return _Dispatch(_build(routes or {}), _build(KNOWN_SOURCES))


class _Dispatch(Combined):
    """Scores a row by the first of `tables` that has a route for its `data_source`."""

    def __init__(self, *tables: Routes):
        self.tables = tables
        self._route_of = lru_cache(maxsize=4096)(self._find_route)  # a dataset has few sources
        routes = [route for table in tables for route in table.values()]
        members = [member for route in routes for member in route]
        lows, highs = zip(*map(_range, routes), strict=True)
        may_read = {"ground_truth"}
        checked = set[str]()  # the columns that checks of gold answers read
        reasons = ["no_route"]
        for member in members:
            may_read |= member.dataset_columns
            reasons += member.function.spec.reasons
            if member.function.spec.row_problem:
                checked |= member.dataset_columns - {"prompt"}
        spec = Spec(
            range=(min(lows), max(highs)),
            reads=["data_source"],
            may_read=sorted(may_read),
            reasons=[*dict.fromkeys(reasons)],
            group_by="data_source",
            row_problem=self.gold_problem,
            unroutable=self.unroutable,
            row_columns=["data_source", *sorted(checked), "ground_truth"],
            inner=[member.function for member in members],
        )
        super().__init__("dispatch", spec)

    def route(self, row: Options) -> Route | None:
        """Return the rewards of a row, or None if no route takes its source."""
        return self._route_of(str(row["data_source"]))

    def _find_route(self, source: str) -> Route | None:
        for table in self.tables:
            for rule in (source, *table):  # an exact rule goes before a prefix
                if rule in table and is_of(source, rule):
                    return table[rule]
        return None

    def select(self, row: Options) -> Iterator[tuple[Reward, Row]]:
        for member in self.route(row) or ():
            yield member.function, member.read(row)

    def combine(self, scores: Scores, row: Options) -> Score:
        """Return the weighted sum, with the reason of the route's first reward."""
        route = self.route(row)
        if route is None:
            return Score(None, "no_route")
        if not route:
            return NOT_THIS_TASK
        total = 0.0
        for member, score in zip(route, scores, strict=True):
            assert score.value is not None
            total += score.value * member.weight
        return scores[0]._replace(value=total)

    def gold_problem(self, **row: Any) -> str:
        """Return why a reward of the row's source can score no completion of it, or ""."""
        for member in self.route(row) or ():
            if problem := member.function.row_problem(member.read(row)):
                return problem
        return ""

    def unroutable(self, row: Options) -> str:
        """Return why no route scores a row, and how to fix that, or ""."""
        source = str(row["data_source"])
        route = self.route(row)
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
