"""Pass rates: how often a model is right on each row of a dataset."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from axolotl_grpo_plugin.data.rows import Row, Rows
from axolotl_grpo_plugin.runlog.attempts import RolloutFiles
from axolotl_grpo_plugin.runlog.reader import score_of
from axolotl_grpo_plugin.runlog.rewards import LoggedReward
from axolotl_grpo_plugin.runlog.schema import ERROR, REWARD, as_text

# Reasoning360's bands. Each but the first and the last ends below a pass rate.
BANDS = ("impossible", "very hard", "hard", "medium", "easy", "very easy", "perfect")
_ENDS = (0.2, 0.4, 0.6, 0.8, 1.0)


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


RatedRow = tuple[Row, Rate]  # a dataset's row before its transform, and its rate


def rates_of[Key](answers: Iterable[tuple[Key, Row]], reward: LoggedReward) -> dict[Key, Rate]:
    """Return the pass rate of each key. Answers without a score do not count.

    Args:
        answers: Each answer with the key of the row that it answers.
        reward: The reward function that says what is right.
    """
    counts: dict[Key, list[int]] = {}  # answers, right answers, tokens
    for key, answer in answers:
        right = reward.right(score_of(answer, reward.name))
        if right is not None:
            count = counts.setdefault(key, [0, 0, 0])
            count[0] += 1
            count[1] += right
            count[2] += answer["completion_tokens"]
    return {key: Rate(right / n, n, tokens / n) for key, (n, right, tokens) in counts.items()}


def logged_answers(files: RolloutFiles, reward: LoggedReward) -> Iterator[tuple[str | None, Row]]:
    """Yield the scored completions of a run's rollout log, each with its prompt as text."""
    columns = ["prompt", "completion_tokens", REWARD + reward.name, ERROR + reward.name]
    for rollout in files.rows(columns):
        yield rollout["prompt"], rollout


def rated_by_prompt(
    rows: Iterable[tuple[Row, Row]], rates: dict[str | None, Rate]
) -> list[RatedRow]:
    """Return the rows whose prompts have a rate. Of rows with one prompt, the last one.

    Args:
        rows: Each row before and after its transform.
        rates: By prompt.
    """
    rated: dict[str, RatedRow] = {}
    for raw, row in rows:
        prompt = as_text(row["prompt"])
        if prompt in rates:
            rated.pop(prompt, None)
            rated[prompt] = raw, rates[prompt]
    return list(rated.values())


def annotated(rated: Sequence[RatedRow]) -> Rows:
    """Return the datasets' own rows with the columns `pass_rate`, `n`, `mean_tokens`, `band`.

    All rows have the same columns.
    """
    names: Row = {}
    for raw, _ in rated:
        names |= dict.fromkeys(raw)
    return [names | raw | rate._asdict() | {"band": rate.band} for raw, rate in rated]
