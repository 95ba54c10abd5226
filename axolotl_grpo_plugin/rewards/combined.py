"""The base of rewards that are made of other rewards: `shaping` and `dispatch`."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from axolotl_grpo_plugin.completions import Completion, Names
from axolotl_grpo_plugin.reward import (
    NOT_THIS_TASK,
    OPENS,
    Options,
    Range,
    Reward,
    Row,
    Score,
    Scores,
    Spec,
)


class Combined(Reward):
    """A reward that combines the scores of other rewards, its parts.

    A subclass overrides `combine`, and `select` if not all parts score each row.

    Args:
        name: The name of the reward in logs and errors.
        spec: The facts about the reward. `spec.inner` are the parts.
    """

    def __init__(self, name: str, spec: Spec):
        super().__init__(self.combine, spec)
        self.__name__ = self.__qualname__ = name
        self.__module__ = type(self).__module__
        self.__doc__ = type(self).__doc__

    @property
    def options(self) -> Row:
        return {}  # the parts have the options

    def select(self, row: Options) -> Iterator[tuple[Reward, Row]]:
        """Yield each part that scores a row, with the columns that it reads."""
        for part in self.spec.inner:
            assert isinstance(part, Reward)
            yield part, {name: row.get(name) for name in part.spec.columns}

    @abstractmethod
    def combine(self, scores: Scores, row: Options) -> Score:
        """Return the score of a completion.

        Args:
            scores: The scores of the selected parts, in the order of `select`. All have a value.
            row: The columns of the completion.
        """

    def score(self, completion: Completion, **columns: object) -> Score:
        score = self._score_parts(completion, columns, quickly=False)
        assert score is not None
        return score

    def quick(self, completion: Completion, **columns: object) -> Score | None:
        return self._score_parts(completion, columns, quickly=True)

    def _score_parts(self, completion: Completion, columns: Row, quickly: bool) -> Score | None:
        """Return the combined score, or None if a part has no quick one."""
        if self.is_other_task(columns):
            return NOT_THIS_TASK
        # Each part reads it, as if the part were a reward of its own.
        opens = {OPENS: columns[OPENS]} if columns.get(OPENS) else {}
        scores = []
        for part, selected in self.select(columns):
            row = {**selected, **opens}
            score = part.quick(completion, **row) if quickly else part.score(completion, **row)
            if score is None or score.value is None:
                return score  # the reason of the part is the reason of the whole
            scores.append(score)
        return self.combine(scores, columns)


def joint_spec(
    parts: Sequence[Reward], range: Range, reads: Names = (), reasons: Names = ()
) -> Spec:
    """Return the facts about a reward for which each of the parts scores each row.

    Args:
        parts: The rewards that it is made of.
        range: Its lowest and its highest score.
        reads: Columns that it needs beside those of the parts.
        reasons: Its reasons beside those of the parts.
    """

    def ready() -> None:
        for part in parts:
            part.ready()

    def row_problem(**columns: Any) -> str:
        for part in parts:
            if problem := part.row_problem(columns):
                return problem
        return ""

    is_checked = any(part.spec.row_problem for part in parts)
    return Spec(
        range=range,
        reads=_different([*(part.spec.reads for part in parts), reads]),
        may_read=_different(part.spec.may_read for part in parts),
        reasons=_different([*(part.spec.reasons for part in parts), reasons]),
        inline=all(part.spec.inline for part in parts),
        ready=ready,
        row_problem=row_problem if is_checked else None,
        row_columns=_different(part.spec.row_columns or part.spec.reads for part in parts),
        inner=tuple(parts),
    )


def _different(lists: Iterable[Names]) -> Names:
    """Return the names of several lists, each once."""
    names: dict[str, None] = {}
    for listed in lists:
        names |= dict.fromkeys(listed)
    return tuple(names)
