"""One scored answer of a model to a row."""

from typing import Literal, NamedTuple


class ScoredAnswer(NamedTuple):
    """One answer of a model to a row, with its scores.

    model: a label such as "base" or "checkpoint-40". step: training step of a checkpoint, 0 for the base
    model, None for another model. row: the row's number in its dataset. sample: the answer's number in
    its row. scores, reasons: by the reward function's name in logs; None is a failed score. read: the
    text that the first reward function judged, "" if it found no answer. lenient: whether the last
    number or box of the answer is right, wherever it is; None if unknown. key: of the stored answer.
    """

    model: str
    step: int | None
    mode: Literal["greedy", "sampled"]
    dataset: str
    row: int
    sample: int
    tokens: int
    truncated: bool
    scores: dict[str, float | None]
    reasons: dict[str, str]
    read: str
    lenient: bool | None = None
    key: str = ""
