"""One reward for a mix of datasets: the `data_source` of a row selects the rewards that score it.

`KNOWN` has routes for the sources in datasets of verl, Reasoning360 and TinyZero.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from math import isfinite
from typing import Any, NamedTuple

from axolotl_grpo_plugin.load import load_scorer, not_ready
from axolotl_grpo_plugin.reward import NOT_THIS_TASK, Reward, Score, made_of
from axolotl_grpo_plugin.values import read_object

_OURS = "axolotl_grpo_plugin.rewards"
_MATH = f"{_OURS}.math.accuracy_reward_func"
_CODE = f"{_OURS}.code.code_reward_func"
_EXACT = f"{_OURS}.puzzles.exact_reward_func"
_ORDER = {"reward": _EXACT, "args": {"ignore_case": True}}
_GRID = f"{_OURS}.puzzles.grid_reward_func"

# Our reward for each source of those projects. "x*" is every source that begins with x.
KNOWN: dict[str, Any] = {
    "openai/gsm8k": {"reward": _MATH, "columns": {"solution": "answer"}},
    "lighteval/MATH": _MATH,
    "DigitalLearningGmbH/MATH-lighteval": _MATH,
    "HuggingFaceH4/MATH-500": _MATH,
    "math*": _MATH,
    "aime*": _MATH,
    "numina*": _MATH,
    "codegen*": _CODE,
    "codecontests": _CODE,
    "codeforces": _CODE,
    "apps": _CODE,
    "taco": _CODE,
    "code": _CODE,
    "zebra_puzzle_dataset": _GRID,
    "logic__zebra_puzzle*": _GRID,
    "ordering_puzzle_dataset": _ORDER,
    "logic__ordering_puzzle*": _ORDER,
    "graph_logical_dataset": _EXACT,
    "logic__graph_logical*": _EXACT,
    "logic__arcagi*": _EXACT,
    "logic__barc*": _EXACT,
    "simulation__arcagi*": _EXACT,
    "simulation__barc*": _EXACT,
    "simulation__codeio*": _EXACT,
    "table*": {"reward": _EXACT, "args": {"separator": "|"}},
    "stem*": _MATH,
    "countdown": {
        "reward": f"{_OURS}.countdown.equation_reward_func",
        "columns": {"nums": "numbers"},
    },
    "reasoning_gym/*": f"{_OURS}.gym.gym_reward_func",
}


class Member(NamedTuple):
    """A reward of a route. columns: the reward's name of a column -> the dataset's name."""

    function: Reward
    weight: float
    columns: Mapping[str, str]


Route = tuple[Member, ...]


def dispatch(routes: Mapping[str, Any] | None = None) -> Reward:
    """Return the score of the reward that a row's `data_source` selects, or the weighted sum of several.

    Args:
        routes: maps a source, or a prefix of sources ("math*"), to the dotted path of a reward of one
            completion. In place of a path: {reward: path, weight: 1.0, args: {...}, columns: {the
            reward's name: the dataset's name}}, a list of these, or null if another reward of the run
            scores these rows. An exact source goes before a prefix, and both go before `KNOWN`.

    A column of a reward is read from the row's `ground_truth` first: from its field of that name, or all of
    it if the reward reads one column. Otherwise it is a column of the dataset. The curve
    `rewards/dispatch/<data_source>` has the mean score of a source, and
    `reward_reasons/dispatch/<data_source>/` its reasons. Range: the lowest to the highest score of any route.

    Source: the routing by `data_source` of https://github.com/volcengine/verl (Apache-2.0).

    Raises: TypeError if a route cannot be built, or if two prefixes match the same source.

    >>> routed = dispatch({"sums": "axolotl_grpo_plugin.rewards.gsm8k.int_reward_func"})
    >>> routed([""], ["<answer>18</answer>"], data_source=["sums"])
    [0.5]
    """
    own = {str(rule): _route(str(rule), entry) for rule, entry in (routes or {}).items()}
    known = {rule: _route(rule, entry) for rule, entry in KNOWN.items()}
    _refuse_overlaps(own)
    members = [member for route in (*own.values(), *known.values()) for member in route]

    @lru_cache(maxsize=4096)
    def route_of(source: str) -> Route | None:
        route = _match(source, own)
        return _match(source, known) if route is None else route

    def score(how: Callable[..., Score | None], completion: str, row: Any) -> Score | None:
        return _weighed(route_of(str(row["data_source"])), how, completion, row)

    def row_problem(**row: Any) -> str:
        """Return why the reward of the row's source can score no completion of it, or ""."""
        for member in route_of(str(row["data_source"])) or ():
            columns = _columns(member, row)
            own = {name: columns[name] for name in member.function.spec.reads}
            check = member.function.spec.row_problem
            if check and None not in own.values() and (problem := check(**own)):
                return problem
        return ""

    def unroutable(row: Mapping[str, Any]) -> str:
        """Return why no route scores a row, and how to fix that, or ""."""
        source = str(row["data_source"])
        route = route_of(source)
        reasons = [_lacks(member, row) or not_ready(member.function) for member in route or ()]
        if route is None:
            reasons = [f"no route takes it. Add `{source}: path.of.a.reward` to the routes"]
        return next((f"data_source {source!r}: {reason}" for reason in reasons if reason), "")

    checked = [each for each in members if each.function.spec.row_problem]
    columns = dict.fromkeys(name for each in checked for name in _names(each))
    may_read = {"ground_truth", *(name for each in members for name in _names(each))}
    reasons = (why for each in members for why in (*each.function.spec.reasons, "no_route"))
    return made_of(
        [each.function for each in members],
        "dispatch",
        score,
        range=_range([*own.values(), *known.values()]),
        reads=("data_source",),
        may_read=tuple(sorted(may_read)),
        reasons=tuple(dict.fromkeys(reasons)),
        group_by="data_source",
        row_problem=row_problem if checked else None,
        unroutable=unroutable,
        row_columns=("data_source", *sorted(columns.keys() - {"prompt"}), "ground_truth"),
    )


def _route(rule: str, entry: Any) -> Route:
    if entry is None:
        return ()
    return tuple(_member(rule, each) for each in (entry if isinstance(entry, list) else [entry]))


def _member(rule: str, entry: Any) -> Member:
    if isinstance(entry, str):
        entry = {"reward": entry}
    if not isinstance(entry, Mapping) or not isinstance(entry.get("reward"), str):
        raise TypeError(f"routes, {rule}: {entry!r} has no reward. Write the dotted path of one")
    if unknown := entry.keys() - {"reward", "weight", "args", "columns"}:
        raise TypeError(
            f"routes, {rule}: {sorted(unknown)[0]!r} is not a key of a route. Use reward, weight, args, columns"
        )
    path, weight = entry["reward"], entry.get("weight", 1.0)
    args, columns = entry.get("args") or {}, entry.get("columns") or {}
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not isfinite(weight):
        raise TypeError(f"routes, {rule}: weight: {weight!r} is not a number")
    for key, value in (("args", args), ("columns", columns)):
        if not isinstance(value, Mapping):
            raise TypeError(f"routes, {rule}: {key}: {value!r} is not a mapping")
    function = load_scorer(f"routes, {rule}", path, args)
    taken = (*function.spec.reads, *function.spec.may_read)
    for column, other in columns.items():
        if column not in taken or not isinstance(other, str):
            raise TypeError(
                f"routes, {rule}: columns: {column}: {other!r} is wrong. Write the reward's column "
                f"({', '.join(taken)}), then the name of the dataset's column"
            )
    return Member(function, float(weight), columns)


def _refuse_overlaps(routes: Mapping[str, Route]) -> None:
    prefixes = sorted(rule[:-1] for rule in routes if rule.endswith("*"))
    for short, longer in pairwise(prefixes):  # sorted, so overlapping prefixes are neighbours
        if longer.startswith(short):
            raise TypeError(
                f"routes: {short}* and {longer}* both match {longer!r}. Make them disjoint"
            )


def _match(source: str, routes: Mapping[str, Route]) -> Route | None:
    if source in routes:
        return routes[source]
    return next((route for rule, route in routes.items() if is_of(source, rule)), None)


def is_of(source: str, rule: str) -> bool:
    """Return whether a data_source matches a rule, which is a source or a prefix that ends in "*"."""
    return source.startswith(rule[:-1]) if rule.endswith("*") else source == rule


def _weighed(
    route: Route | None,
    how: Callable[..., Score | None],
    completion: str,
    row: Mapping[str, Any],
) -> Score | None:
    """Return the weighted sum with the first reward's reason, or None if one has no quick score."""
    if not route:
        return Score(None, "no_route") if route is None else NOT_THIS_TASK
    total, first = 0.0, NOT_THIS_TASK
    for member in reversed(route):
        score = how(member.function, completion, **_columns(member, row))
        if score is None or score.value is None:
            return score
        total, first = total + score.value * member.weight, score
    return first._replace(value=total)


def _columns(member: Member, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the reward's columns: by the name in the route, from the ground truth, or by its own name."""
    spec, truth = member.function.spec, row.get("ground_truth")
    record = read_object(truth)
    columns = {}
    for name in (*spec.reads, *spec.may_read):
        other = member.columns.get(name, name)
        value = record.get(other, row.get(other) if other != name else None)
        if value is None and truth is not None and spec.reads == (name,):
            value = None if name in _ROWS_OWN else truth
        columns[name] = row.get(name) if value is None else value
    return columns


# These columns are never read from the ground truth.
_ROWS_OWN = ("prompt", "completion_ids", "data_source", "extra_info", "ground_truth")


def _names(member: Member) -> tuple[str, ...]:
    """Return the dataset's columns that a reward may read."""
    spec = member.function.spec
    names = (*spec.reads, *spec.may_read, *member.columns.values())
    return tuple(name for name in names if name != "data_source")


def _range(routes: list[Route]) -> tuple[float, float]:
    ends = [
        [sorted(end * member.weight for end in member.function.range) for member in route]
        for route in routes
    ]
    return (
        min(sum(low for low, _ in route) for route in ends),
        max(sum(high for _, high in route) for route in ends),
    )


def _lacks(member: Member, row: Mapping[str, Any]) -> str:
    columns = _columns(member, row)
    name = next((each for each in member.function.spec.reads if columns[each] is None), "")
    if not name:
        return ""
    return (
        f"{member.function.__name__} reads {name!r}, but the row and its ground_truth have no such column. "
        f"Name the dataset's column in the route: `columns: {{{name}: ...}}`"
    )
