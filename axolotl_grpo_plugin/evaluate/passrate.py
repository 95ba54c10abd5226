"""Pass rates: how often a model is right on each row of a dataset."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from axolotl_grpo_plugin.data.rows import Row, Rows
from axolotl_grpo_plugin.evaluate.rows import Question
from axolotl_grpo_plugin.runlog.reader import raw_rows, score_of
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import as_text

# Reasoning360's bands. Each but the first and the last ends below a pass rate.
BANDS = ("impossible", "very hard", "hard", "medium", "easy", "very easy", "perfect")
_ENDS = (0.2, 0.4, 0.6, 0.8, 1.0)

Place = tuple[str, int]  # a row's dataset and number
Rates = dict[Place, "Rate"]


class Rate(NamedTuple):
    """A row's pass rate, from 0 to 1. n: scored answers. mean_tokens: tokens per answer."""

    pass_rate: float
    n: int
    mean_tokens: float

    @property
    def band(self) -> str:
        """The band of the pass rate.

        >>> [Rate(rate, 8, 0.0).band for rate in (0, 0.1, 0.2, 0.5, 0.8, 1)]
        ['impossible', 'very hard', 'hard', 'medium', 'very easy', 'perfect']
        """
        if self.pass_rate == 0:
            return BANDS[0]
        return BANDS[1 + bisect_right(_ENDS, self.pass_rate)]


def rates_of(answers: Iterable[Row], reward: LoggedReward) -> Rates:
    """Return the pass rate of each row. Answers without a score do not count."""
    rights = defaultdict[Place, list[bool]](list)
    lengths = defaultdict[Place, list[int]](list)
    for answer in answers:
        place = answer["dataset"], answer["row"]
        right = reward.right(score_of(answer, reward.name))
        if right is not None:
            rights[place].append(right)
            lengths[place].append(answer["completion_tokens"])
    rates = {}
    for place, verdicts in rights.items():
        rates[place] = Rate(fmean(verdicts), len(verdicts), fmean(lengths[place]))
    return rates


def logged_answers(files: Sequence[Path], rows: Sequence[Question]) -> Iterator[Row]:
    """Yield the completions of a run's rollout log that answer rows, which are found by their prompt."""
    questions = {as_text(row.prompt): row for row in rows}
    for file in files:
        for rollout in raw_rows(file):
            question = questions.get(rollout["prompt"])
            if question:
                yield {**rollout, "dataset": question.dataset, "row": question.row}


def annotated(rows: Iterable[Question], rates: Rates) -> Rows:
    """Return the datasets' own rows that have a rate, with the columns `pass_rate`, `n`, `mean_tokens`, `band`.

    All rows have the same columns.
    """
    kept = [row for row in rows if row.place in rates]
    names: Row = {}
    for row in kept:
        names |= dict.fromkeys(row.raw)
    found = []
    for row in kept:
        rate = rates[row.place]
        found.append(names | row.raw | rate._asdict() | {"band": rate.band})
    return found
