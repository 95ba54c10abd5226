"""Make TRL reward functions from a function that scores one completion (`@reward`) or one group.

All kinds of rewards share the class `BaseReward`, so other code never needs to test for attributes.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, signature
from itertools import groupby
from typing import Any, NamedTuple, Self

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.options import refuse_wrong_types

# TRL's GRPOTrainer passes these beside the dataset's columns. It passes the prompt as `prompts`.
NOT_COLUMNS = frozenset(
    {"prompt", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
)
OF_TRL = NOT_COLUMNS | {"prompts", "completions"}  # the parameters that TRL itself fills


class Score(NamedTuple):
    """The result of a scorer, which may also return a plain number.

    value: the reward, or None if the completion cannot be scored (TRL leaves it out of the sum).
    reason: one word ("correct", "wrong_value", ...), logged beside the completion.
    read: the part of the completion that was scored. `axolotl grpo score` shows it.
    """

    value: float | None
    reason: str
    read: str = ""


NOT_THIS_TASK = Score(None, "not_this_task")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The facts about a reward. `reward` documents most of them.

    unroutable: only for a reward that passes rows to others. It takes a row, and returns why no
        reward scores it and how to fix that, or "".
    row_columns: the columns that `row_problem` takes, if they are not those in `reads`.
    inner: the rewards that this one is made of.
    """

    range: tuple[float, float] | None = None
    reads: tuple[str, ...] = ()
    may_read: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    inline: bool = False
    first: Callable[..., Score | None] | None = None
    ready: Callable[..., None] | None = None
    group_by: str = ""
    row_problem: Callable[..., str] | None = None
    row_columns: tuple[str, ...] = ()
    unroutable: Callable[[Any], str] | None = None
    inner: "tuple[BaseReward, ...]" = ()


class BaseReward(ABC):
    """A reward function as TRL calls it, with its facts in `spec`.

    function: the Python function that scores. The reward has its name and docstring.
    bound: the options that were set.
    """

    is_async = False

    def __init__(self, function: Any, spec: Spec, bound: dict[str, Any] | None = None):
        self.function, self.spec, self.bound = function, spec, bound or {}
        self.__name__: str = getattr(function, "__name__", type(function).__name__)
        self.__qualname__: str = getattr(function, "__qualname__", self.__name__)
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__
        if self.is_async:
            inspect.markcoroutinefunction(self)  # for TRL

    @property
    def options(self) -> dict[str, Any]:
        """The options, each with the value that was set or else its default."""
        return dict(self.bound)

    @property
    def path(self) -> str:
        """The dotted path of the reward in a config."""
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

    @abstractmethod
    def scores(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> Any:
        """Return a score for each completion of a batch, in the same order."""

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        scores = self.scores(prompts, completions, **columns)
        return _values(self.__name__, scores, columns)

    def rows(
        self, prompts: Sequence[Any] | None, completions: Sequence[Any], columns: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the columns that the reward reads, for each completion.

        Raises: ValueError if the dataset lacks a column; TypeError if a caller passes an option as a column.
        """
        for name in self.options.keys() & columns.keys():
            if isinstance(columns[name], (str, float, int)):
                raise TypeError(
                    f"{self.path}: {name!r} is an option, but it was passed like a column. "
                    f"Use `{self.__name__}.bind({name}={columns[name]!r})`."
                )
        nothing = [None] * len(completions)
        columns = {**columns, "prompt": prompts or nothing}
        for name in self.spec.reads:
            if name not in columns:
                present = ", ".join(sorted(columns.keys() - NOT_COLUMNS)) or "none"
                raise ValueError(
                    f"{self.path} reads the column {name!r}, which the dataset lacks (it has: "
                    f"{present}). Change the transform so that it keeps or makes that column"
                )
        names = (*self.spec.reads, *self.spec.may_read)
        rows = zip(completions, *(columns.get(name, nothing) for name in names), strict=True)
        return [dict(zip(names, row, strict=True)) for _, *row in rows]

    def __reduce__(self) -> str:
        return self.__qualname__  # pickled by path, as a function is


class _Decorated(BaseReward):
    """A reward that a decorator made. Its options are the scorer's parameters that are not columns."""

    @property
    def options(self) -> dict[str, Any]:
        return {**_options(self.function, self.spec), **self.bound}

    def bind(self, **options: Any) -> Self:
        """Return this reward with options set.

        Raises: TypeError if an option is unknown or its value has a wrong type.
        """
        parameters = signature(self.function).parameters
        known = {name: parameters[name] for name in _options(self.function, self.spec)}
        refuse_wrong_types(self.__name__, known, options)
        return type(self)(self.function, self.spec, {**self.bound, **options})


class Reward(_Decorated):
    """A reward of one completion. `reward` makes it."""

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        assert self.spec.range is not None
        return self.spec.range

    def score(self, completion: Any, **columns: Any) -> Score:
        """Score one completion, a string or chat messages. Pass its columns by name."""
        if any(columns[name] is None for name in self.spec.reads):
            return NOT_THIS_TASK
        text, first = text_of(completion), self.spec.first
        result = first(text, **columns, **self.bound) if first else None
        return as_score(self.function(text, **columns, **self.bound) if result is None else result)

    def quick(self, completion: Any, **columns: Any) -> Score | None:
        """Return the score if that takes linear time and cannot fail, else None."""
        if self.spec.inline or any(columns[name] is None for name in self.spec.reads):
            return self.score(completion, **columns)
        first = self.spec.first
        return first(text_of(completion), **columns, **self.bound) if first else None

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
        scores: list[Score] = []
        for _, places in groupby(range(len(completions)), key=lambda place: prompts[place]):
            scores += self._group(list(places), completions, rows)
        return scores

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
    """A reward with an async scorer: `await function(prompts, completions, rows)` returns Scores."""

    is_async = True

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
    """A reward function without a decorator of this package: from TRL, or a user's."""

    def __init__(self, function: Any):
        super().__init__(function, Spec(reads=required(function, *OF_TRL)))
        called = function.func if isinstance(function, partial) else function
        self.is_async = any(map(inspect.iscoroutinefunction, (called, type(called).__call__)))

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

    The decorated function takes the completion as text, then the columns of `reads` by name, then
    options with defaults (`grpo_reward_args` sets them). It returns a float, a `Score`, or None.
    The text has "\\n" as line end and no outer whitespace.

    The result takes TRL's arguments: prompts and completions (strings or chat messages), and each
    dataset column by keyword. It returns one float or None per completion. In merged datasets, a
    row of another task has None in a column that it lacks. Such a row gets None.

        @reward(range=(0.0, 1.0), reads="answer")
        def ends_with_answer(completion: str, answer: str) -> float:
            return float(completion.endswith(answer))

    Args:
        range: the lowest and the highest score. The highest means "right" in reports.
        reads: the dataset columns that the scorer needs. "completion_ids" are the completion's
            token ids. "prompt" is the prompt: a string or chat messages.
        reasons: the possible reasons of a score. Each that occurs is a curve of the run.
        inline: run in the trainer's process. Set it only if the scorer takes linear time and never
            raises. Other scorers run in a process that can be killed.
        first: a quick check with the same arguments that may run in the trainer's process. The
            decorated function is called only if this check returns None.
        ready: called before training, with the options that are set. It raises RuntimeError, one
            line with the fix, if the reward cannot work on this machine.
        may_read: optional columns. A column is None if the dataset or the row lacks it.
        group_by: a column of `reads`. The run gets one curve of mean scores per value of it.
        row_problem: takes the columns of `reads` by name and returns why no completion of that row
            can be scored (an unreadable gold answer), or "". It is called before training.

    Raises: TypeError if the scorer is async, or if a parameter is not a column and has no default.
        When called, ValueError if the dataset lacks a column of `reads`.
    """
    spec = Spec(
        range=range,
        reads=_tuple(reads),
        may_read=tuple(may_read),
        reasons=tuple(reasons),
        inline=inline,
        first=first,
        ready=ready,
        group_by=group_by,
        row_problem=row_problem,
    )
    return lambda scorer: Reward(_checked(scorer, spec), spec)


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

    The arguments are those of `reward`, but the decorated function takes and returns lists with one
    entry per completion of the group. A group is a series of equal prompts in a batch. If a rank's
    batch has incomplete groups, the run is refused before the model loads.

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


def made_of(
    inner: Sequence[BaseReward], name: str, score: Callable[..., Score | None], **facts: Any
) -> Reward:
    """Return a reward that is made of others.

    score: takes `Reward.score` or `Reward.quick`, a completion and its columns. facts: of the `Spec`.
    """

    def scorer(how: Callable[..., Score | None]) -> Callable[..., Any]:
        def made(completion: str, **columns: Any) -> Score | None:
            return score(how, completion, columns)

        made.__name__ = made.__qualname__ = name
        made.__module__ = score.__module__
        return made

    spec = Spec(inner=tuple(inner), first=scorer(Reward.quick), **facts)
    return Reward(scorer(Reward.score), spec)


def as_score(result: Any) -> Score:
    """Return a scorer's result as a Score."""
    if not isinstance(result, Score):
        return Score(result, "")
    reason, read = ("" if each is None else str(each) for each in result[1:])
    return Score(result.value, reason, read)


def _values(name: str, scores: list[Score], columns: dict[str, Any]) -> list[float | None]:
    # TRL adds this column to its table of completions. Axolotl's reward workers do not pass it.
    if log_extra := columns.get("log_extra"):
        log_extra(f"{name}/reason", [each.reason for each in scores])
    return [each.value for each in scores]


def _tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def required(function: Any, *others: str) -> tuple[str, ...]:
    """Return the parameters by name that have no default, without those in `others`."""
    keyword = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return tuple(
        each.name
        for each in signature(function).parameters.values()
        if each.kind in keyword and each.default is Parameter.empty and each.name not in others
    )


def _checked(scorer: Callable[..., Any], spec: Spec) -> Callable[..., Any]:
    """Return the scorer. Raises: TypeError if it is async, or if a parameter never gets a value."""
    if inspect.iscoroutinefunction(scorer):
        raise TypeError(
            f"{scorer.__name__} is async. Name it in trl.reward_funcs without a decorator"
        )
    for name, default in _options(scorer, spec).items():
        if default is Parameter.empty:
            raise TypeError(
                f"{scorer.__name__}: the parameter {name!r} is not a column of `reads` and has no "
                "default. Add it to `reads`, or give it a default"
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
