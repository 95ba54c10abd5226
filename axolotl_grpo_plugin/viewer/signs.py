"""Find the rollouts that a person should read first: paid but odd, or unpaid but close to right."""

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from math import sqrt
from statistics import fmean, median
from typing import Any, NamedTuple

from axolotl_grpo_plugin.completions import find_answer, read_boxes, reasoning_of, text_of
from axolotl_grpo_plugin.evaluation.lenient import GOLD, forms

_READ = 20_000  # characters of a completion
_END = 300  # characters in which the gold answer is looked for
_WINDOW = 60  # characters of the prompt that are looked for in a completion
_TOKEN = re.compile(r"</?\w+>|\w+|[^\w\s]")

# Each sign with its weight.
SIGNS = {
    "paid, but wrong": 2.0,
    "paid, but several answers": 4.0,
    "paid, but repeats itself": 4.0,
    "paid, but repeats the prompt": 4.0,
    "paid, but very long": 2.0,
    "paid, but no reasoning": 3.0,
    "unpaid, but ends with the gold": 3.0,
    "has a phrase that pays": 3.0,
}


class Features(NamedTuple):
    """Facts about a text. ratio: of its size when compressed, less 20 bytes. words: of the reasoning. echo: share of
    the prompt that it repeats. several: it has different answers. gold: it ends with the gold answer.
    """

    ratio: float
    words: int
    echo: float
    several: bool
    gold: bool


class Sample(NamedTuple):
    """A completion in which phrases are looked for. wrong: it is scored, and not paid as right."""

    tokens: list[str]
    step: int
    advantage: float
    wrong: bool

    @classmethod
    def of(cls, completion: Any, *facts: Any) -> "Sample":
        return cls(_TOKEN.findall(text_of(completion or "")[:_READ]), *facts)


class Phrase(NamedTuple):
    """Words that occur more often in paid completions.

    start, end: shares of the completions with it in the first and the last third of the run.
    gain: mean advantage with it minus that without it.
    """

    words: str
    start: float
    end: float
    gain: float

    @property
    def pattern(self) -> str:
        """A regular expression for Python and for the page."""
        return r"\s*".join(re.sub(r"([^\w\s])", r"\\\1", word) for word in self.words.split(" "))


def features(prompt: Any, completion: Any, columns: dict[str, Any]) -> Features:
    """Return the facts about a completion. columns: the dataset's, as text."""
    text = text_of(completion or "")[:_READ]
    data = text.encode(errors="replace")
    asked = _asked(prompt)
    starts = range(0, len(asked) - _WINDOW, _WINDOW // 2)
    echoed = sum(asked[start : start + _WINDOW] in text for start in starts)
    gold = next((columns[name] for name in columns if name in GOLD and columns[name]), None)
    ends = [_plain(each) for each in forms(text[-_END:])[-1:]]  # the last box or number
    body = reasoning_of(text) or text
    found = find_answer(text, ("tag", "box"), _plain, every_tag=True).problem
    return Features(
        ratio=(len(zlib.compress(data, 1)) - 20) / len(data) if len(data) > 60 else 1.0,
        words=len(body.split()),
        echo=echoed / len(starts) if len(starts) else 0.0,
        several=found == "several_answers",
        gold=bool(gold) and _plain(_short(str(gold))) in ends,
    )


def _asked(prompt: Any) -> str:
    """Return the text of a prompt, a string or a chat."""
    if isinstance(prompt, str):
        return prompt
    return text_of([{**message, "role": "assistant"} for message in prompt or []])


def _short(gold: str) -> str:
    """Return the final answer of a worked solution."""
    return (read_boxes(gold) or [gold.rpartition("####")[2]])[-1]


def _plain(answer: str) -> str:
    return answer.strip(" \n$.").replace(",", "").lower()


class Judge:
    """Names the signs of rollouts. tokens, words: medians of the completions that are paid."""

    def __init__(self, rollouts: Sequence[Any], phrases: list[Phrase]):
        paid = [each for each in rollouts if self.paid(each)]
        self.tokens = median([each.tokens or each.size for each in paid] or [0])
        self.words = median([each.features.words for each in paid] or [0])
        self.phrases = [re.compile(phrase.pattern) for phrase in phrases if phrase.gain > 0.5]

    def paid(self, rollout: Any) -> bool:
        return (rollout.advantage or 0.0) > 0 or bool(rollout.right)

    def signs(self, rollout: Any, text: str) -> list[str]:
        """Return the names of a rollout's signs. text: "" if it is not known."""
        facts, wrong = rollout.features, rollout.right is False
        if not self.paid(rollout):
            near = wrong and facts.gold
            return ["unpaid, but ends with the gold"] if near else []
        length = rollout.tokens or rollout.size
        found = {
            "paid, but wrong": wrong and rollout.scores[0] <= 0,
            "paid, but several answers": facts.several,
            "paid, but repeats itself": facts.ratio < 0.2,
            "paid, but repeats the prompt": facts.echo >= 0.5,
            "paid, but very long": length > 3 * self.tokens,
            "paid, but no reasoning": self.words >= 10 and facts.words < self.words / 5,
            "has a phrase that pays": wrong and any(each.search(text) for each in self.phrases),
        }
        return [name for name, applies in found.items() if applies]

    def odd(self, rollouts: Sequence[Any]) -> float:
        """Return the weight of all signs of a prompt group, except phrases."""
        return sum(SIGNS[sign] for each in rollouts for sign in self.signs(each, ""))


def phrases(samples: Sequence[Sample], prompts: Sequence[Any], count: int = 5) -> list[Phrase]:
    """Return the phrases of up to 6 words that best tell paid from unpaid completions.

    Only wrong completions are compared if there are enough, because a right answer is paid rightly.
    prompts: some. A phrase that is in most of them, such as a tag, is asked for.
    """
    wrong = [each for each in samples if each.wrong and each.advantage]
    compared = wrong if len(wrong) >= max(50, len(samples) // 20) else list(samples)
    if len(compared) < 20:
        return []
    ranked: dict[str, tuple[float, float]] = {}
    often: set[str] = set()
    for length in range(1, 7):
        counts: Counter[str] = Counter()
        sums: Counter[str] = Counter()
        for each in compared:
            grams = set(_grams(each.tokens, length, often))
            counts.update(grams)
            for gram in grams:
                sums[gram] += each.advantage  # type: ignore[assignment]
        total, everything = sum(each.advantage for each in compared), len(compared)
        often = {gram for gram, number in counts.items() if number >= 0.03 * everything}
        for gram in often:
            number, rest = counts[gram], everything - counts[gram]
            if rest >= 0.03 * everything:
                gain = sums[gram] / number - (total - sums[gram]) / rest
                ranked[gram] = (gain / sqrt(1 / number + 1 / rest), gain)
        if not often:
            break
    steps = sorted(each.step for each in samples)
    early, late = steps[len(steps) // 3], steps[2 * len(steps) // 3]
    asked = [f" {' '.join(_TOKEN.findall(_asked(prompt)))} " for prompt in prompts]
    found: list[Phrase] = []
    # Of phrases that contain each other, the longest of the best.
    for gram, (z, gain) in sorted(ranked.items(), key=lambda item: (-item[1][0], -len(item[0]))):
        if gain <= 0 or z < 4 or len(found) == count:
            break
        if sum(f" {gram} " in each for each in asked) > len(asked) / 2:
            continue
        if not any(f" {gram} " in f" {each.words} " or each.words in gram for each in found):
            before = [_has(each, gram) for each in samples if each.step <= early]
            after = [_has(each, gram) for each in samples if each.step >= late]
            found.append(Phrase(gram, fmean(before), fmean(after), gain))
    return found


def _grams(tokens: list[str], length: int, often: set[str]) -> list[str]:
    """Return the phrases of a length. often: the phrases that are one shorter and occur often."""
    grams = [" ".join(tokens[i : i + length]) for i in range(len(tokens) - length + 1)]
    if length == 1:
        return grams
    return [
        gram
        for gram in grams
        if gram.rpartition(" ")[0] in often and gram.partition(" ")[2] in often
    ]


def _has(sample: Sample, gram: str) -> bool:
    return f" {gram} " in f" {' '.join(sample.tokens)} "
