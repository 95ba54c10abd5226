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

DatasetRow = tuple[str, int]  # a dataset, and the index of a row in it
Rates = dict[DatasetRow, "Rate"]


class Rate(NamedTuple):
    """The pass rate of a row.

    Attributes:
        pass_rate: The share of right answers, from 0 to 1.
        n: The number of scored answers.
        mean_tokens: Tokens per answer.
    """

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
    rights = defaultdict[DatasetRow, list[bool]](list)
    lengths = defaultdict[DatasetRow, list[int]](list)
    for answer in answers:
        dataset_row = answer["dataset"], answer["row"]
        right = reward.right(score_of(answer, reward.name))
        if right is not None:
            rights[dataset_row].append(right)
            lengths[dataset_row].append(answer["completion_tokens"])
    rates = {}
    for dataset_row, verdicts in rights.items():
        mean_tokens = fmean(lengths[dataset_row])
        rates[dataset_row] = Rate(fmean(verdicts), len(verdicts), mean_tokens)
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
    kept = [row for row in rows if row.dataset_row in rates]
    names: Row = {}
    for row in kept:
        names |= dict.fromkeys(row.raw)
    rated = []
    for row in kept:
        rate = rates[row.dataset_row]
        rated.append(names | row.raw | rate._asdict() | {"band": rate.band})
    return rated
