"""`@reward`: a scorer of ONE completion becomes a TRL reward function; `@group_reward`: one of a prompt group."""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import Parameter, iscoroutinefunction, signature
from itertools import groupby
from typing import Any, NamedTuple, Protocol, cast

from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.options import refuse_wrong_types

# TRL's GRPOTrainer passes these beside the dataset's columns; the prompt as `prompts`.
NOT_COLUMNS = frozenset(
    {"prompt", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
)


class Score(NamedTuple):
    """What a scorer may return in place of a bare number.

    value: the reward, or None for "cannot be scored" (TRL leaves it out of the sum).
    reason: one word why ("correct", "wrong_value", ...), logged beside the completion.
    read: the part of the completion that was judged, where it was a part: `axolotl grpo score` shows it.
    """

    value: float | None
    reason: str
    read: str = ""


NOT_THIS_TASK = Score(None, "not_this_task")


class Described(Protocol):
    """What is known of a reward that one of the decorators made.

    reads: the columns that it takes, "completion_ids" may be one; may_read: those that it takes where
    the dataset has them, else None. range: its lowest and its highest score. reasons: those that a
    score may have. parameters: the scorer's options with their values, which `bind` sets. inline: see
    `reward`.
    ready: raises RuntimeError where it cannot work on this machine; None where it always can.
    series: the column by whose values its scores are also logged apart, or "".
    row_problem: see `reward`.
    """

    __name__: str
    reads: tuple[str, ...]
    may_read: tuple[str, ...]
    range: tuple[float, float]
    reasons: tuple[str, ...]
    parameters: dict[str, Any]
    inline: bool
    ready: Callable[[], None] | None
    series: str
    row_problem: Callable[..., str] | None

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]: ...


class RewardFunction(Described, Protocol):
    """What `@reward` makes: callable as TRL calls it, and by `score` on one completion.

    quick: as `score`, but None where that needs more than linear time, or may fail.
    """

    score: Callable[..., Score]
    quick: Callable[..., Score | None]

    def bind(self, **arguments: Any) -> "RewardFunction": ...


class GroupRewardFunction(Described, Protocol):
    """What `@group_reward` makes: callable as TRL calls it, and by `scores` likewise, with reasons."""

    scores: Callable[..., list[Score]]

    def bind(self, **arguments: Any) -> "GroupRewardFunction": ...


class _Terms(NamedTuple):
    """What the decorators are told."""

    range: tuple[float, float]
    reads: tuple[str, ...]
    reasons: tuple[str, ...]
    inline: bool
    ready: Callable[[], None] | None
    may_read: tuple[str, ...] = ()
    series: str = ""
    row_problem: Callable[..., str] | None = None


def reward(
    *,
    range: tuple[float, float],
    reads: str | Sequence[str] = (),
    reasons: Sequence[str] = (),
    inline: bool = False,
    first: Callable[..., Score | None] | None = None,
    ready: Callable[[], None] | None = None,
    may_read: Sequence[str] = (),
    series: str = "",
    row_problem: Callable[..., str] | None = None,
) -> Callable[[Callable[..., Any]], RewardFunction]:
    """Make a TRL reward function of a function that scores one completion.

    The decorated function takes the completion as normalised text, then the columns of
    `reads` by name, then options with defaults (`grpo_reward_args` sets them), and returns a float,
    a `Score`, or None. What comes out has TRL's signature: prompts and completions (strings or
    chat messages), every dataset column by keyword; one float or None a completion, in their
    order. A row that has None in one of the columns is another task's (merged datasets are
    filled so) and gets None.

        @reward(range=(0.0, 1.0), reads="answer")
        def ends_with_answer(completion: str, answer: str) -> float:
            return float(completion.endswith(answer))

    Args:
        range: the lowest and the highest score. The highest is what "right" means in reports.
        reads: the dataset column, or columns, that the scorer takes; "completion_ids" are the
            completion's token ids, "prompt" is the prompt: a string or chat messages.
        reasons: the reasons that its scores have; each is a curve of the run, zeros too.
        inline: the scorer takes time linear in the text and raises on none, so a run calls it
            in its own process; others it calls in one that can be killed.
        first: a scorer that is so, and returns None where it cannot tell; only then is the
            decorated one called. Takes the same arguments.
        ready: is called before training; raises RuntimeError, one line with the mend, where the reward
            cannot work on this machine. Takes the options that are set.
        may_read: columns that the scorer takes too, as None where a dataset or a row lacks them.
        series: a column of `reads`: the mean score of each of its values is a curve of its own.
        row_problem: takes the columns of `reads` by name and returns why no completion of that row
            can be scored (an unreadable gold answer), or "". It is called before training.

    Raises: TypeError for an async scorer, and for a parameter that is neither a column nor has
        a default.

    Raises (when called): ValueError where the dataset has no column of `reads`.
    """
    columns, optional = _tuple(reads), tuple(may_read)
    terms = _Terms(range, columns, tuple(reasons), inline, ready, optional, series, row_problem)

    def decorate(scorer: Callable[..., Any]) -> RewardFunction:
        return _make(_sync(scorer), terms, first, {})

    return decorate


def group_reward(
    *,
    range: tuple[float, float],
    reads: str | Sequence[str] = (),
    reasons: Sequence[str] = (),
    inline: bool = False,
    ready: Callable[[], None] | None = None,
    may_read: Sequence[str] = (),
) -> Callable[[Callable[..., Any]], GroupRewardFunction]:
    """Make a TRL reward function of a function that scores the completions of one prompt together.

    As `reward`, but the decorated function takes lists, one entry a completion of the group, and
    returns one. A group is a run of equal prompts, as TRL orders a batch; where a rank's batch
    does not hold whole groups, the run is refused before the model loads.

        @group_reward(range=(0.0, 1.0))
        def shortest(completions: list[str]) -> list[float]:
            return [float(len(each) == min(map(len, completions))) for each in completions]
    """
    terms = _Terms(range, _tuple(reads), tuple(reasons), inline, ready, tuple(may_read))

    def decorate(scorer: Callable[..., Any]) -> GroupRewardFunction:
        return _make_group(_sync(scorer), terms, {})

    return decorate


def _make(
    scorer: Any,
    terms: _Terms,
    first: Callable[..., Score | None] | None,
    bound: dict[str, Any],
) -> RewardFunction:
    reads = terms.reads
    call = partial(scorer, **bound)
    call_first = partial(first, **bound) if first else None

    def score(completion: Any, **columns: Any) -> Score:
        """Score one completion, a string or chat messages; the columns by name."""
        if any(columns[name] is None for name in reads):
            return NOT_THIS_TASK
        text = text_of(completion)
        result = call_first(text, **columns) if call_first else None
        return as_score(call(text, **columns) if result is None else result)

    def quick(completion: Any, **columns: Any) -> Score | None:
        """The score where it is had in linear time and for sure, else None."""
        if terms.inline or any(columns[name] is None for name in reads):
            return score(completion, **columns)
        return call_first(text_of(completion), **columns) if call_first else None

    def reward_function(
        prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        scores = [
            score(completion, **row)
            for completion, row in zip(
                completions, rows_of(made, completions, columns, prompts), strict=True
            )
        ]
        return _values(scorer, scores, columns)

    made = _described(reward_function, scorer, terms, bound)
    made.score, made.quick = score, quick
    made.bind = lambda **arguments: _make(
        scorer, terms, first, _checked(scorer, terms, {**bound, **arguments})
    )
    return cast(RewardFunction, made)


def _make_group(scorer: Any, terms: _Terms, bound: dict[str, Any]) -> GroupRewardFunction:
    call = partial(scorer, **bound)

    def scores(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[Score]:
        """The scores of a batch, in its order."""
        rows = rows_of(made, completions, columns, prompts)
        found: list[Score] = []
        for _, places in groupby(range(len(completions)), key=lambda place: prompts[place]):
            found += _group(list(places), completions, rows)
        return found

    def _group(places: list[int], completions: Sequence[Any], rows: list[Any]) -> list[Score]:
        own = [
            place for place in places if all(rows[place][name] is not None for name in terms.reads)
        ]
        texts = [text_of(completions[place]) for place in own]
        names = (*terms.reads, *terms.may_read)
        columns = {name: [rows[place][name] for place in own] for name in names}
        results = list(call(texts, **columns)) if own else []
        if len(results) != len(own):
            raise ValueError(f"returned {len(results)} scores for a group of {len(own)}")
        scored = dict(zip(own, map(as_score, results), strict=True))
        return [scored.get(place, NOT_THIS_TASK) for place in places]

    def reward_function(
        prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        return _values(scorer, scores(prompts, completions, **columns), columns)

    made = _described(reward_function, scorer, terms, bound)
    made.scores = scores
    made.bind = lambda **arguments: _make_group(
        scorer, terms, _checked(scorer, terms, {**bound, **arguments})
    )
    return cast(GroupRewardFunction, made)


def _described(function: Any, scorer: Any, terms: _Terms, bound: dict[str, Any]) -> Any:
    # By hand, not functools.wraps: `__wrapped__` would show Axolotl the scorer's
    # signature, and it refuses one with fewer than two parameters.
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(function, attribute, getattr(scorer, attribute))
    function.parameters = {**_options(scorer, terms), **bound}
    for name, value in terms._asdict().items():
        setattr(function, name, value)
    if terms.ready:
        taken = signature(terms.ready).parameters
        options = {name: value for name, value in bound.items() if name in taken}
        function.ready = partial(terms.ready, **options)
    return function


def _values(scorer: Any, scores: list[Score], columns: dict[str, Any]) -> list[float | None]:
    # TRL puts such a column into its completions table; Axolotl's reward workers pass none.
    if log_extra := columns.get("log_extra"):
        log_extra(f"{scorer.__name__}/reason", [each.reason for each in scores])
    return [each.value for each in scores]


def as_score(result: Any) -> Score:
    """What a scorer returned, as a Score."""
    return result if isinstance(result, Score) else Score(result, "")


def rows_of(
    function: Described,
    completions: Sequence[Any],
    columns: dict[str, Any],
    prompts: Sequence[Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the columns that the reward reads, for each completion.

    Raises: ValueError if a column is not there.
    """
    nothing = [None] * len(completions)
    columns = {**columns, "prompt": prompts or nothing}
    for name in function.reads:
        if name not in columns:
            present = ", ".join(sorted(columns.keys() - NOT_COLUMNS)) or "none"
            raise ValueError(
                f"{function.__module__}.{function.__name__} reads the column {name!r}, which the "
                f"dataset lacks (it has: {present}): let its transform keep or make that column"
            )
    names = [*function.reads, *(each for each in function.may_read if each not in function.reads)]
    if not names:
        return [{} for _ in completions]
    values = zip(*(columns.get(name, nothing) for name in names), strict=True)
    return [dict(zip(names, row, strict=True)) for row in values]


def _tuple(names: str | Sequence[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _sync(scorer: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(scorer):
        raise TypeError(f"{scorer.__name__} is async: give TRL an async reward function as it is")
    return scorer


def _checked(scorer: Any, terms: _Terms, arguments: dict[str, Any]) -> dict[str, Any]:
    """The options to set. TypeError for one that it does not have, or of another type."""
    options = _options(scorer, terms)
    for name in arguments:
        if name not in options:
            known = ", ".join(options) or "none"
            raise TypeError(f"{scorer.__name__} has no parameter {name!r} (it has: {known})")
    refuse_wrong_types(scorer.__name__, signature(scorer).parameters, arguments)
    return arguments


def _options(scorer: Callable[..., Any], terms: _Terms) -> dict[str, Any]:
    _, *others = signature(scorer).parameters.values()
    columns = {*terms.reads, *terms.may_read}
    options = [
        each
        for each in others
        if each.name not in columns and each.kind is not Parameter.VAR_KEYWORD
    ]
    for each in options:
        if each.default is Parameter.empty:
            raise TypeError(
                f"{scorer.__name__}: the parameter {each.name!r} is neither a column of `reads` "
                "nor has it a default"
            )
    return {each.name: each.default for each in options}
