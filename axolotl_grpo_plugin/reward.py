"""`@reward`: a scorer of ONE completion becomes a TRL reward function."""

from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any, NamedTuple, Protocol, cast

from axolotl_grpo_plugin.completions import text_of

# What TRL's GRPOTrainer passes beside the dataset's columns.
_NOT_COLUMNS = {"completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}


class Score(NamedTuple):
    """What a scorer may return in place of a bare number.

    value: the reward, or None for "cannot be scored" (TRL leaves it out of the sum).
    reason: one word why ("correct", "wrong_value", ...), logged beside the completion.
    """

    value: float | None
    reason: str


class RewardFunction(Protocol):
    """What `@reward` makes: callable as TRL calls it, and by `score` on one completion.

    reads: the dataset columns that it takes. range: its lowest and its highest score.
    """

    __name__: str
    reads: tuple[str, ...]
    range: tuple[float, float]
    score: Callable[..., Score]

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]: ...


def reward(
    *, range: tuple[float, float], reads: str | Sequence[str] = ()
) -> Callable[[Callable[..., Any]], RewardFunction]:
    """Make a TRL reward function of a function that scores one completion.

    The decorated function takes the completion as normalised text, then the columns of
    `reads` by name, and returns a float, a `Score`, or None. What comes out has TRL's
    signature: prompts and completions (strings or chat messages), every dataset column
    by keyword; one float or None a completion, in their order. A row that has None in one
    of the columns is another task's (merged datasets are filled so) and gets None.

        @reward(range=(0.0, 1.0), reads="answer")
        def ends_with_answer(completion: str, answer: str) -> float:
            return float(completion.endswith(answer))

    Args:
        range: the lowest and the highest score. The highest is what "right" means in reports.
        reads: the dataset column, or columns, that the scorer takes.

    Raises: TypeError for an async scorer.

    Raises (when called): ValueError where the dataset has no column of `reads`.
    """
    columns_read = (reads,) if isinstance(reads, str) else tuple(reads)

    def decorate(scorer: Callable[..., Any]) -> RewardFunction:
        if iscoroutinefunction(scorer):
            raise TypeError(
                f"{scorer.__name__} is async: give TRL an async reward function as it is"
            )

        def score(completion: Any, **columns: Any) -> Score:
            """Score one completion, a string or chat messages; the columns by name."""
            if any(columns[name] is None for name in columns_read):
                return Score(None, "not_this_task")
            result = scorer(text_of(completion), **columns)
            return result if isinstance(result, Score) else Score(result, "")

        def reward_function(
            prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
        ) -> list[float | None]:
            absent = [name for name in columns_read if name not in columns]
            if absent:
                present = ", ".join(sorted(columns.keys() - _NOT_COLUMNS)) or "none"
                raise ValueError(
                    f"{scorer.__module__}.{scorer.__name__} reads the column {absent[0]!r}, which the "
                    f"dataset lacks (it has: {present}): let its transform keep or make that column"
                )
            rows: Any = zip(*(columns[name] for name in columns_read), strict=True)
            if not columns_read:
                rows = ((),) * len(completions)
            scores = [
                score(completion, **dict(zip(columns_read, row, strict=True)))
                for completion, row in zip(completions, rows, strict=True)
            ]
            # TRL puts such a column into its completions table; Axolotl's reward workers pass none.
            if log_extra := columns.get("log_extra"):
                log_extra(f"{scorer.__name__}/reason", [each.reason for each in scores])
            return [each.value for each in scores]

        made: Any = reward_function
        # By hand, not functools.wraps: `__wrapped__` would show Axolotl the scorer's
        # signature, and it refuses one with fewer than two parameters.
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
            setattr(made, attribute, getattr(scorer, attribute))
        made.reads, made.range, made.score = columns_read, range, score
        return cast(RewardFunction, made)

    return decorate
