"""Reward functions as TRL calls them, made of a scorer of one completion (`@reward`) or of a group.

`Reward`, `GroupReward`, `AsyncReward` and `PlainReward` share one base, so code that runs, checks
or lists rewards asks the object and never probes for attributes.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from inspect import Parameter, signature
from itertools import groupby
from typing import Any, NamedTuple, Self

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.options import refuse_wrong_types

# TRL's GRPOTrainer passes these beside the dataset's columns; the prompt as `prompts`.
NOT_COLUMNS = frozenset(
    {"prompt", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
)


class Score(NamedTuple):
    """A scorer may return this in place of a bare number.

    value: the reward, or None for "cannot be scored" (TRL leaves it out of the sum).
    reason: one word why ("correct", "wrong_value", ...), logged beside the completion.
    read: the part of the completion that was judged, if it was a part: `axolotl grpo score` shows it.
    """

    value: float | None
    reason: str
    read: str = ""


NOT_THIS_TASK = Score(None, "not_this_task")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The facts about a reward. See `reward` for each.

    unroutable: for a reward that routes rows to others: takes a row, returns why no reward scores
    it and how to fix that, or "". row_columns: the columns that `row_problem` takes; `reads` if empty.
    inner: the rewards that this one is made of.
    """

    range: tuple[float, float] | None = None
    reads: tuple[str, ...] = ()
    may_read: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    inline: bool = False
    ready: Callable[..., None] | None = None
    group_by: str = ""
    row_problem: Callable[..., str] | None = None
    row_columns: tuple[str, ...] = ()
    unroutable: Callable[[Any], str] | None = None
    inner: "tuple[BaseReward, ...]" = ()


class BaseReward:
    """A reward function as TRL calls it, with its facts in `spec`.

    function: the Python function behind it, whose name and docstring it has. options: its options
    with their defaults. bound: the options that were set.
    """

    is_async = False

    def __init__(self, function: Any, spec: Spec, bound: dict[str, Any] | None = None):
        self.function, self.spec, self.bound = function, spec, bound or {}
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self.__qualname__: str = getattr(function, "__qualname__", self.__name__)
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__

    @property
    def options(self) -> dict[str, Any]:
        """The options of the function, with the values that are set."""
        return dict(self.bound)

    @property
    def path(self) -> str:
        """The dotted path by which a YAML names it."""
        return f"{self.__module__}.{self.__name__}"

    @property
    def highest(self) -> float | None:
        """The best score, or None if it is not known."""
        return self.spec.range[1] if self.spec.range else None

    def ready(self) -> None:
        """Raise RuntimeError, with the fix, if the reward cannot work on this machine."""
        if self.spec.ready:
            taken = signature(self.spec.ready).parameters
            self.spec.ready(**{key: value for key, value in self.bound.items() if key in taken})

    def scores(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Any:
        """Return a score for each completion of a batch, in its order."""
        raise TypeError(f"{self.path} is no reward by itself")

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        scores = self.scores(prompts, completions, **columns)
        return _values(self.__name__, scores, columns)

    def rows(
        self, prompts: Sequence[Any] | None, completions: Sequence[Any], columns: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the columns that the reward reads, for each completion.

        Raises: ValueError if a column is not there.
        """
        nothing = [None] * len(completions)
        columns = {**columns, "prompt": prompts or nothing}
        for name in self.spec.reads:
            if name not in columns:
                present = ", ".join(sorted(columns.keys() - NOT_COLUMNS)) or "none"
                raise ValueError(
                    f"{self.path} reads the column {name!r}, which the dataset lacks (it has: "
                    f"{present}): let its transform keep or make that column"
                )
        names = list(dict.fromkeys((*self.spec.reads, *self.spec.may_read)))
        if not names:
            return [{} for _ in completions]
        values = zip(*(columns.get(name, nothing) for name in names), strict=True)
        return [dict(zip(names, row, strict=True)) for row in values]

    def __reduce__(self) -> str:
        return self.__qualname__  # by its path, as a function


class _Decorated(BaseReward):
    """A reward that a decorator made: its options are the scorer's parameters beside the columns."""

    @property
    def options(self) -> dict[str, Any]:
        return {**_options(self.function, self.spec), **self.bound}

    def bind(self, **options: Any) -> Self:
        """Return this reward with options set.

        Raises: TypeError for an option that it does not have, or of another type.
        """
        known = self.options
        for name in options:
            if name not in known:
                listed = ", ".join(known) or "none"
                raise TypeError(f"{self.__name__} has no parameter {name!r} (it has: {listed})")
        refuse_wrong_types(self.__name__, signature(self.function).parameters, options)
        return self._with({**self.bound, **options})

    def _with(self, bound: dict[str, Any]) -> Self:
        return type(self)(self.function, self.spec, bound)


class Reward(_Decorated):
    """A reward of one completion. `reward` makes it."""

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        assert self.spec.range is not None
        return self.spec.range

    def __init__(
        self,
        function: Any,
        spec: Spec,
        bound: dict[str, Any] | None = None,
        first: Callable[..., Score | None] | None = None,
    ):
        super().__init__(function, spec, bound)
        self.first = first
        self._call = partial(function, **self.bound)
        self._first = partial(first, **self.bound) if first else None

    def _with(self, bound: dict[str, Any]) -> Self:
        return type(self)(self.function, self.spec, bound, self.first)

    def score(self, completion: Any, **columns: Any) -> Score:
        """Score one completion, a string or chat messages; the columns by name."""
        if any(columns[name] is None for name in self.spec.reads):
            return NOT_THIS_TASK
        text = text_of(completion)
        result = self._first(text, **columns) if self._first else None
        return as_score(self._call(text, **columns) if result is None else result)

    def quick(self, completion: Any, **columns: Any) -> Score | None:
        """Return the score if it takes linear time and cannot fail, else None."""
        if self.spec.inline or any(columns[name] is None for name in self.spec.reads):
            return self.score(completion, **columns)
        return self._first(text_of(completion), **columns) if self._first else None

    def scores(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[Score]:
        rows = self.rows(prompts, completions, columns)
        return [self.score(each, **row) for each, row in zip(completions, rows, strict=True)]


class GroupReward(_Decorated):
    """A reward that scores the completions of a prompt together. `group_reward` makes it."""

    def scores(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[Score]:
        rows = self.rows(prompts, completions, columns)
        found: list[Score] = []
        for _, places in groupby(range(len(completions)), key=lambda place: prompts[place]):
            found += self._group(list(places), completions, rows)
        return found

    def _group(self, places: list[int], completions: Sequence[Any], rows: list[Any]) -> list[Score]:
        reads = self.spec.reads
        own = [place for place in places if all(rows[place][name] is not None for name in reads)]
        texts = [text_of(completions[place]) for place in own]
        columns = {
            name: [rows[place][name] for place in own] for name in (*reads, *self.spec.may_read)
        }
        results = list(self.function(texts, **columns, **self.bound)) if own else []
        if len(results) != len(own):
            raise ValueError(f"returned {len(results)} scores for a group of {len(own)}")
        scored = dict(zip(own, map(as_score, results), strict=True))
        return [scored.get(place, NOT_THIS_TASK) for place in places]


class AsyncReward(BaseReward):
    """A reward of a batch that is awaited: `function(prompts, completions, rows)` gives Scores."""

    is_async = True

    def __init__(self, function: Any, spec: Spec, bound: dict[str, Any] | None = None):
        super().__init__(function, spec, bound)
        inspect.markcoroutinefunction(self)  # for TRL

    async def scores(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[Score]:
        rows = self.rows(prompts, completions, columns)
        scores: list[Score] = await self.function(prompts, completions, rows)
        return scores

    async def __call__(  # type: ignore[override]
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        scores = await self.scores(prompts, completions, **columns)
        return _values(self.__name__, scores, columns)


class PlainReward(BaseReward):
    """A reward function that no decorator of this package made: TRL's own, or a user's."""

    def __init__(self, function: Any):
        super().__init__(function, Spec())
        self.is_async = _is_awaited(function)

    def scores(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Any:
        return self.function(prompts=prompts, completions=completions, **columns)

    def __call__(self, *batch: Any, **columns: Any) -> Any:
        return self.function(*batch, **columns)


def reward(
    *,
    range: tuple[float, float],
    reads: str | Sequence[str] = (),
    reasons: Sequence[str] = (),
    inline: bool = False,
    first: Callable[..., Score | None] | None = None,
    ready: Callable[..., None] | None = None,
    may_read: Sequence[str] = (),
    group_by: str = "",
    row_problem: Callable[..., str] | None = None,
) -> Callable[[Callable[..., Any]], Reward]:
    """Make a TRL reward function of a function that scores one completion.

    The decorated function takes the completion as normalised text, then the columns of
    `reads` by name, then options with defaults (`grpo_reward_args` sets them). It returns a float,
    a `Score`, or None. The result has TRL's signature: prompts and completions (strings or
    chat messages), and every dataset column by keyword. It returns one float or None for each
    completion. A row that has None in one of the columns belongs to another task (merged datasets
    are filled so) and gets None.

        @reward(range=(0.0, 1.0), reads="answer")
        def ends_with_answer(completion: str, answer: str) -> float:
            return float(completion.endswith(answer))

    Args:
        range: the lowest and the highest score. The highest means "right" in reports.
        reads: the dataset column, or columns, that the scorer takes; "completion_ids" are the
            completion's token ids, "prompt" is the prompt: a string or chat messages.
        reasons: the reasons that its scores have. Each is a curve of the run, zeros too.
        inline: run it in the trainer's process. Set it only for a scorer that takes linear time
            and never raises; others run in a process that can be killed.
        first: a quick check of that kind, which takes the same arguments. The decorated function
            is called only if it returns None.
        ready: called before training. It raises RuntimeError, one line with the fix, if the reward
            cannot work on this machine. It takes the options that are set.
        may_read: columns that the scorer takes too, as None if a dataset or a row lacks them.
        group_by: a column of `reads`: the mean score of each of its values is a curve of its own.
        row_problem: takes the columns of `reads` by name and returns why no completion of that row
            can be scored (an unreadable gold answer), or "". It is called before training.

    Raises: TypeError for an async scorer, and for a parameter that is neither a column nor has
        a default.

    Raises (when called): ValueError if the dataset lacks a column of `reads`.
    """
    spec = Spec(
        range=range,
        reads=_tuple(reads),
        may_read=tuple(may_read),
        reasons=tuple(reasons),
        inline=inline,
        ready=ready,
        group_by=group_by,
        row_problem=row_problem,
    )
    return lambda scorer: Reward(_checked(scorer, spec), spec, first=first)


def group_reward(
    *,
    range: tuple[float, float],
    reads: str | Sequence[str] = (),
    reasons: Sequence[str] = (),
    inline: bool = False,
    ready: Callable[..., None] | None = None,
    may_read: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], GroupReward]:
    """Make a TRL reward function of a function that scores the completions of one prompt together.

    As `reward`, but the decorated function takes lists, one entry for each completion of the group,
    and returns one. A group is a run of equal prompts, as TRL orders a batch. If a rank's batch
    does not hold whole groups, the run is refused before the model loads.

        @group_reward(range=(0.0, 1.0))
        def shortest(completions: list[str]) -> list[float]:
            return [float(len(each) == min(map(len, completions))) for each in completions]
    """
    spec = Spec(
        range=range,
        reads=_tuple(reads),
        may_read=tuple(may_read),
        reasons=tuple(reasons),
        inline=inline,
        ready=ready,
    )
    return lambda scorer: GroupReward(_checked(scorer, spec), spec)


def described(function: Any) -> BaseReward:
    """Return a reward as it is, and any other function or callable object as a PlainReward."""
    return function if isinstance(function, BaseReward) else PlainReward(function)


def made_of(made: Reward, inner: Sequence[BaseReward], **facts: Any) -> Reward:
    """Return a reward that is made of others, with more facts in its spec."""
    return Reward(made.function, replace(made.spec, inner=tuple(inner), **facts), first=made.first)


def as_score(result: Any) -> Score:
    """Return a scorer's result as a Score."""
    return result if isinstance(result, Score) else Score(result, "")


def _values(name: str, scores: list[Score], columns: dict[str, Any]) -> list[float | None]:
    # TRL puts such a column into its completions table; Axolotl's reward workers pass none.
    if log_extra := columns.get("log_extra"):
        log_extra(f"{name}/reason", [each.reason for each in scores])
    return [each.value for each in scores]


def _tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _is_awaited(function: Any) -> bool:
    while isinstance(function, partial):
        function = function.func
    call = type(function).__call__ if not inspect.isroutine(function) else function
    return inspect.iscoroutinefunction(call)


def _checked(scorer: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    """Return the scorer. Raise TypeError if it is async, or if a parameter of it is never filled."""
    if inspect.iscoroutinefunction(scorer):
        raise TypeError(f"{scorer.__name__} is async: give TRL an async reward function as it is")
    for name, default in _options(scorer, spec).items():
        if default is Parameter.empty:
            raise TypeError(
                f"{scorer.__name__}: the parameter {name!r} is neither a column of `reads` "
                "nor has it a default"
            )
    return scorer


def _options(scorer: Callable[..., Any], spec: Spec) -> dict[str, Any]:
    _, *others = signature(scorer).parameters.values()
    columns = {*spec.reads, *spec.may_read}
    return {
        each.name: each.default
        for each in others
        if each.name not in columns and each.kind is not Parameter.VAR_KEYWORD
    }
