"""`@reward`: a scorer of ONE completion becomes a TRL reward function."""

from collections.abc import Callable, Sequence
from functools import partial
from inspect import Parameter, iscoroutinefunction, signature
from typing import Any, NamedTuple, Protocol, cast

from axolotl_grpo_plugin.completions import text_of

# What TRL's GRPOTrainer passes beside the dataset's columns.
NOT_COLUMNS = frozenset(
    {"completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
)


class Score(NamedTuple):
    """What a scorer may return in place of a bare number.

    value: the reward, or None for "cannot be scored" (TRL leaves it out of the sum).
    reason: one word why ("correct", "wrong_value", ...), logged beside the completion.
    """

    value: float | None
    reason: str


NOT_THIS_TASK = Score(None, "not_this_task")


class RewardFunction(Protocol):
    """What `@reward` makes: callable as TRL calls it, and by `score` on one completion.

    reads: the dataset columns that it takes. range: its lowest and its highest score.
    reasons: those that a score may have. parameters: the scorer's options, which `bind` sets.
    quick: as `score`, but None where that needs more than linear time, or may fail. inline: whether
    it never does.
    """

    __name__: str
    reads: tuple[str, ...]
    range: tuple[float, float]
    reasons: tuple[str, ...]
    parameters: tuple[str, ...]
    inline: bool
    score: Callable[..., Score]
    quick: Callable[..., Score | None]

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]: ...

    def bind(self, **arguments: Any) -> "RewardFunction": ...


def reward(
    *,
    range: tuple[float, float],
    reads: str | Sequence[str] = (),
    reasons: Sequence[str] = (),
    inline: bool = False,
    first: Callable[..., Score | None] | None = None,
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
        reads: the dataset column, or columns, that the scorer takes.
        reasons: the reasons that its scores have; each is a curve of the run, zeros too.
        inline: the scorer takes time linear in the text and raises on none, so a run calls it
            in its own process; others it calls in one that can be killed.
        first: a scorer that is so, and returns None where it cannot tell; only then is the
            decorated one called. Takes the same arguments.

    Raises: TypeError for an async scorer, and for a parameter that is neither a column nor has
        a default.

    Raises (when called): ValueError where the dataset has no column of `reads`.
    """
    columns_read = (reads,) if isinstance(reads, str) else tuple(reads)

    def decorate(scorer: Callable[..., Any]) -> RewardFunction:
        if iscoroutinefunction(scorer):
            raise TypeError(
                f"{scorer.__name__} is async: give TRL an async reward function as it is"
            )
        return _make(scorer, range, columns_read, tuple(reasons), inline, first, {})

    return decorate


def _make(
    scorer: Any,
    range: tuple[float, float],
    reads: tuple[str, ...],
    reasons: tuple[str, ...],
    inline: bool,
    first: Callable[..., Score | None] | None,
    bound: dict[str, Any],
) -> RewardFunction:
    options = _options(scorer, reads)
    call = partial(scorer, **bound)
    call_first = partial(first, **bound) if first else None

    def score(completion: Any, **columns: Any) -> Score:
        """Score one completion, a string or chat messages; the columns by name."""
        if any(columns[name] is None for name in reads):
            return NOT_THIS_TASK
        text = text_of(completion)
        result = call_first(text, **columns) if call_first else None
        if result is None:
            result = call(text, **columns)
        return result if isinstance(result, Score) else Score(result, "")

    def quick(completion: Any, **columns: Any) -> Score | None:
        """The score where it is had in linear time and for sure, else None."""
        if inline or any(columns[name] is None for name in reads):
            return score(completion, **columns)
        return call_first(text_of(completion), **columns) if call_first else None

    def reward_function(
        prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        scores = [
            score(completion, **row)
            for completion, row in zip(
                completions, rows_of(made, completions, columns), strict=True
            )
        ]
        # TRL puts such a column into its completions table; Axolotl's reward workers pass none.
        if log_extra := columns.get("log_extra"):
            log_extra(f"{scorer.__name__}/reason", [each.reason for each in scores])
        return [each.value for each in scores]

    def bind(**arguments: Any) -> RewardFunction:
        """The reward with those options set. TypeError for one that it does not have."""
        for name in arguments:
            if name not in options:
                known = ", ".join(options) or "none"
                raise TypeError(f"{scorer.__name__} has no parameter {name!r} (it has: {known})")
        return _make(scorer, range, reads, reasons, inline, first, {**bound, **arguments})

    made: Any = reward_function
    # By hand, not functools.wraps: `__wrapped__` would show Axolotl the scorer's
    # signature, and it refuses one with fewer than two parameters.
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(made, attribute, getattr(scorer, attribute))
    made.reads, made.range, made.reasons, made.parameters = reads, range, reasons, options
    made.score, made.quick, made.bind, made.inline = score, quick, bind, inline
    return cast(RewardFunction, made)


def rows_of(
    function: RewardFunction, completions: Sequence[Any], columns: dict[str, Any]
) -> list[dict[str, Any]]:
    """For each completion, the columns that the reward reads. ValueError where one is not there."""
    for name in function.reads:
        if name not in columns:
            present = ", ".join(sorted(columns.keys() - NOT_COLUMNS)) or "none"
            raise ValueError(
                f"{function.__module__}.{function.__name__} reads the column {name!r}, which the "
                f"dataset lacks (it has: {present}): let its transform keep or make that column"
            )
    if not function.reads:
        return [{} for _ in completions]
    values = zip(*(columns[name] for name in function.reads), strict=True)
    return [dict(zip(function.reads, row, strict=True)) for row in values]


def _options(scorer: Callable[..., Any], reads: tuple[str, ...]) -> tuple[str, ...]:
    _, *others = signature(scorer).parameters.values()
    options = [each for each in others if each.name not in reads]
    for each in options:
        if each.default is Parameter.empty:
            raise TypeError(
                f"{scorer.__name__}: the parameter {each.name!r} is neither a column of `reads` "
                "nor has it a default"
            )
    return tuple(each.name for each in options)
