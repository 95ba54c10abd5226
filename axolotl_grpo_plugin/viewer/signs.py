"""Find the rollouts that a person should read first: paid but odd, or unpaid but close to right."""

import zlib
from collections import Counter
from itertools import chain
from typing import Any

from axolotl_grpo_plugin.completions import read_boxes
from axolotl_grpo_plugin.report.lenient import ANSWER_COLUMNS, forms

_READ = 20_000  # characters of a completion that are compressed
_END = 300  # characters in which the gold answer is looked for

# Each sign with its weight.
SIGNS = {
    "paid, but wrong": 2.0,
    "paid, but no answer was read": 4.0,
    "paid, but repeats itself": 4.0,
    "paid, but very long": 2.0,
    "paid, but very short": 3.0,
    "unpaid, but ends with the gold": 3.0,
}


def repeats_itself(text: str) -> bool:
    """Return whether a text compresses to less than a fifth of its size."""
    data = text[:_READ].encode(errors="replace")
    # zlib's own header and tables take about 20 bytes.
    return len(data) > 60 and len(zlib.compress(data, 1)) - 20 < len(data) / 5


def ends_with_gold(text: str, columns: dict[str, Any]) -> bool:
    """Return whether the last box or number is the gold answer. columns: the dataset's, as text."""
    last = forms(text[-_END:])[-1:]
    for name, gold in columns.items():
        if name in ANSWER_COLUMNS and gold:
            # Of a worked solution, the final answer.
            boxes = read_boxes(gold) or [gold.rpartition("####")[2]]
            return bool(last) and _plain(last[0]) == _plain(boxes[-1])
    return False


def _plain(answer: str) -> str:
    return answer.strip(" \n$.").replace(",", "").lower()


def median(counts: Counter[int]) -> float:
    """Return the median of numbers, 0 without any. counts: how often each number occurs."""
    total = counts.total()
    middle: list[int] = []
    seen = 0
    for number in sorted(counts):
        # The numbers with the indices `seen` to `seen + counts[number]` are equal.
        seen += counts[number]
        while len(middle) < 2 and seen > (total - 1 + len(middle)) // 2:
            middle.append(number)
    return sum(middle) / 2


class Judge:
    """Names the signs of a run's rollouts.

    length: the median of the rollouts that are paid. reads: whether the first reward function logs
    the text that it read.
    """

    def __init__(self, length: float, reads: bool):
        self.length = length
        self.reads = reads

    def signs(self, rollout: Any) -> list[str]:
        """Return the names of a rollout's signs."""
        wrong = rollout.right is False
        if not rollout.paid:
            return ["unpaid, but ends with the gold"] if wrong and rollout.gold else []
        found = {
            "paid, but wrong": wrong and rollout.scores[0] <= 0,
            "paid, but no answer was read": self.reads and not rollout.read,
            "paid, but repeats itself": rollout.repeats,
            "paid, but very long": rollout.length > 3 * self.length,
            "paid, but very short": rollout.length < self.length / 5,
        }
        return [name for name, applies in found.items() if applies]

    def odd(self, group: Any) -> float:
        """Return the weight of all signs of a prompt group."""
        signs = chain.from_iterable(map(self.signs, group.rollouts))
        return sum(map(SIGNS.__getitem__, signs))
