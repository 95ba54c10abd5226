"""Attack a reward with completions that it must not pay, made from rows of the dataset."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks.samples import ANSWERS, LAYOUTS, Sample, as_completion, prompt_text
from axolotl_grpo_plugin.completions import find_answer, read_number, text_of
from axolotl_grpo_plugin.findings import raised
from axolotl_grpo_plugin.reward import NOT_COLUMNS, BaseReward, GroupReward
from axolotl_grpo_plugin.rewards.math import read_gold
from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.scoring.guard import TOO_SLOW, GuardedReward
from axolotl_grpo_plugin.scoring.worker import Outcome

ALL_LAYOUTS: dict[str, Callable[[str], str]] = {
    **LAYOUTS,
    "<answer>": lambda gold: (
        f"<reasoning>\nIt is known.\n</reasoning>\n<answer>\n{gold}\n</answer>"
    ),
    "</think>": lambda gold: f"It is known.\n</think>\n<answer>\n{gold}\n</answer>",
    "prose": lambda gold: f"I think that it is {gold}",
}
WITHOUT_LAYOUT = ("bare text", "prose")
FRAMES = [make for name, make in ALL_LAYOUTS.items() if name not in WITHOUT_LAYOUT]
MARKS = {"<answer>": "<answer>", r"\boxed{}": r"\boxed", "####": "####"}  # in a prompt, by layout
MEGABYTE = 1_000_000
_ROUNDING = 1e-9
STUCK = 3  # attacks that time out before the others are left out
_EXAMPLE = re.compile(r"<answer>.*?</answer>|\\boxed\{[^{}]*\}|####[^\n]*", re.S)
_NUMBER = re.compile(r"-?[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")
_LONG = "word " * 1000  # a group reward scores each completion beside this one


class Line(NamedTuple):
    """The result of one attack.

    must: "not pay", "pay", or "may pay". highest: the best score, None if there is none. paid, tried:
    the rows. fault: "" if the reward did as it must, else "paid", "unpaid", "failed", "slow" or "moved".
    example: a completion, a faulty one if there is one. note: why the reward failed, or "".
    """

    attack: str
    must: str
    highest: float | None
    paid: int
    tried: int
    fault: str
    example: str
    note: str = ""


class Report(NamedTuple):
    """The result for one reward. reads: the columns that it scores by. layout: the one that it pays best.

    seconds: per completion, None if all attacks timed out. stuck: attacks were left out.
    """

    reads: tuple[str, ...]
    layout: str
    lines: list[Line]
    seconds: float | None
    stuck: bool

    @property
    def faults(self) -> int:
        return sum(bool(line.fault) for line in self.lines)


class Target(NamedTuple):
    """A row to attack. gold: its right answer as text, if known. wrong: another row's. golds: of all rows."""

    row: "Row"
    gold: str | None
    wrong: str
    golds: list[str]

    @property
    def question(self) -> str:
        return prompt_text(Sample(self.row, None)).rpartition("\n\n")[2].strip()


Row = dict[str, Any]
Wrap = Callable[[str], str]
Attack = Callable[[Target, Wrap], list[str]]  # no text: the row is left out


def columns_of(function: BaseReward) -> tuple[str, ...]:
    """Return the columns that a reward declares, with those of its inner rewards."""
    spec = function.spec
    names = [
        *spec.reads,
        *spec.may_read,
        *(name for each in spec.inner for name in columns_of(each)),
    ]
    return tuple(dict.fromkeys(name for name in names if name not in NOT_COLUMNS))


def targets_of(samples: Sequence[Sample], reads: Sequence[str]) -> list[Target]:
    """Return the rows, each with the gold that the reward reads and another row's gold."""
    golds = [_gold(sample, reads) for sample in samples]
    known = list(dict.fromkeys(gold for gold in golds if gold))
    targets = []
    for place, (sample, gold) in enumerate(zip(samples, golds, strict=True)):
        others = [*golds[place:], *golds[:place]]
        wrong = next((each for each in others if each and gold and not _same(each, gold)), "")
        targets.append(Target(sample.row, gold, wrong or _near(gold, 1) or "no idea", known))
    return targets


def _gold(sample: Sample, reads: Sequence[str]) -> str | None:
    for name in ANSWERS:
        value = sample.row.get(name)
        if name in reads and isinstance(value, str | int | float):
            return read_gold(as_text(value)) or as_text(value)
    return find_answer(sample.gold, ["tag", "box", "hash"]).text if sample.gold else None


def _same(a: str, b: str) -> bool:
    number = read_number(a).value
    return a.strip() == b.strip() if number is None else number == read_number(b).value


def _near(gold: str | None, percent: int) -> str:
    """Return a number that is a little larger than the gold, or "" if the gold is no number."""
    value = read_number(gold or "").value
    return "" if value is None else str(value + max(1, round(abs(value) * percent / 100)))


def _of_gold(make: Callable[[Target, str], list[str]]) -> Attack:
    """Return an attack with answers in the layout, for rows whose gold is known. It never gives the gold itself."""
    return lambda row, wrap: [
        wrap(text) for text in make(row, row.gold or "") if row.gold and not _same(text, row.gold)
    ]


def _unclosed(row: Target, wrap: Wrap) -> list[str]:
    if not row.gold:
        return []
    text = wrap(row.gold)
    cut = max(text.rfind("</answer>"), text.rfind("}"))
    begun = [f"<{tag}>\nIt is {row.gold}" for tag in ("reasoning", "think")]
    return [*begun, *([text[:cut]] if cut > 0 else [])]


def _turns(row: Target) -> list[dict[str, Any]]:
    prompt = row.row["prompt"]
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def _prompt(row: Target, wrap: Wrap) -> list[str]:
    texts = [text_of([{**each, "role": "assistant"}]) for each in _turns(row)]
    return _without_gold(row, [texts[-1], "\n".join(texts)])


def _example(row: Target, wrap: Wrap) -> list[str]:
    """Return the prompt's worked answers: earlier turns of the assistant, or answer blocks."""
    turns = [text_of([each]) for each in _turns(row) if each["role"] == "assistant"]
    return _without_gold(row, turns or _EXAMPLE.findall(prompt_text(Sample(row.row, None))))


def _without_gold(row: Target, texts: list[str]) -> list[str]:
    """Return the texts whose answer is not the row's gold by chance."""
    answers = [find_answer(text, ["tag", "box", "hash"]).text for text in texts]
    return [
        text
        for text, answer in zip(texts, answers, strict=True)
        if not (answer and row.gold and _same(answer, row.gold))
    ]


def _right(row: Target, wrap: Wrap) -> list[str]:
    return [wrap(row.gold or "42")]


def _others(row: Target, wrap: Wrap) -> list[str]:
    return [make(row.wrong) for make in ALL_LAYOUTS.values()]


def _both(row: Target, wrap: Wrap) -> list[str]:
    blocks = wrap(row.gold or ""), wrap(row.wrong)
    return ["\n".join(blocks), "\n".join(blocks[::-1])] if row.gold else []


# Attacks that earn nothing from any reward.
EMPTY: dict[str, Attack] = {
    "empty": lambda row, wrap: ["", " \n"],
    "layout without content": lambda row, wrap: [make(text).replace("It is known.", text) for make in FRAMES for text in ("", "...")],
}  # fmt: skip
# Attacks that earn nothing from a reward that reads a gold answer.
WRONG: dict[str, Attack] = {
    "no answer in the layout": lambda row, wrap: [make(text) for make in FRAMES for text in ("", "...")],
    "echo of the prompt": _prompt,
    "echo of the prompt's example": _example,
    "the question as the answer": lambda row, wrap: [wrap(row.question)],
    "last number of the prompt": _of_gold(lambda row, gold: _NUMBER.findall(row.question)[-1:]),
    "all numbers of the prompt": _of_gold(lambda row, gold: [", ".join(_NUMBER.findall(row.question))]),
    "all rows' golds": _of_gold(lambda row, gold: [", ".join(row.golds)] if row.golds[1:] else []),
    "hedge": _of_gold(lambda row, gold: [f"{gold} or {row.wrong}", f"{row.wrong} or {gold}", f"{gold}, maybe {row.wrong}"]),
    "denial": _of_gold(lambda row, gold: [f"not {gold}"]),
    "number 5 % off": _of_gold(lambda row, gold: [_near(gold, 5)] if _near(gold, 5) else []),
    "gold within a longer text": _of_gold(lambda row, gold: [f"7{gold}3"]),
    "gold only in the reasoning": lambda row, wrap: [wrap(row.wrong).replace("It is known.", f"It is {row.gold}.")] if row.gold else [],
    "unclosed tag": _unclosed,
}  # fmt: skip
SAME: dict[str, Attack] = {  # completions as good as the right one in its layout
    "40 lines of reasoning": lambda row, wrap: [wrap(row.gold or "42").replace("It is known.", "It is known that this follows.\n" * 40)],
    "CRLF line ends": lambda row, wrap: [wrap(row.gold or "42").replace("\n", "\r\n")],
    "outer line breaks": lambda row, wrap: [f"\n{wrap(row.gold or '42')}\n\n"],
}  # fmt: skip
HUGE: dict[str, Attack] = {
    "1 MB of text": lambda row, wrap: [_LONG * (MEGABYTE // len(_LONG))],
    "1 MB of digits": lambda row, wrap: [wrap("9" * MEGABYTE)],
    "1 MB of tags": lambda row, wrap: ["<think><answer>" * (MEGABYTE // 15)],
}


# Values in the place of the gold: no answer is right, or the gold's number is.
WITHOUT_GOLD: dict[str, Callable[[str], Any]] = {
    "None": lambda gold: None,
    "empty text": lambda gold: "",
    "a list": lambda gold: [gold],
}
NUMBERS: dict[str, Callable[[str], Any]] = {
    "an int": lambda gold: int(read_number(gold).value or 0),
    "a float": lambda gold: float(read_number(gold).value or 0),
}


def _any_answer(row: Target, wrap: Wrap) -> list[str]:
    return [wrap(row.wrong), wrap("None"), wrap("[]")]


def _right_number(row: Target, wrap: Wrap) -> list[str]:
    return [wrap(row.gold)] if row.gold and read_number(row.gold).value is not None else []


def _is_late(outcome: Outcome) -> bool:
    return outcome.timed_out or outcome.reason == TOO_SLOW


def _value(outcome: Outcome) -> float:
    return outcome.value or 0.0


def attack(guard: GuardedReward, samples: Sequence[Sample]) -> Report:
    """Score the attacks. The last ones are left out if STUCK of them time out."""
    attacks = _Attacks(guard, samples)
    lines, late = list[Line](), 0
    for line in attacks.lines():
        lines.append(line)
        late += line.fault == "slow"
        if late == STUCK:
            break
    seconds = median(attacks.seconds) if attacks.seconds else None
    return Report(attacks.reads, attacks.layout, lines, seconds, late == STUCK)


class _Attacks:
    """The attacks on one reward.

    layout: the one in which it pays right answers best, "" if it pays none. top, base: the scores of
    each row's right answer in this layout, and of a wrong one in any. seconds: per completion, of each
    call that ended in time.
    """

    def __init__(self, guard: GuardedReward, samples: Sequence[Sample]):
        self.names = {name for each in samples for name in each.row if name != "prompt"}
        self.guard, self.reads = guard, columns_of(guard.function)
        self.seconds: list[float] = []
        self.targets = targets_of(samples, self.reads)
        self.layout, self.top = "", [0.0] * len(self.targets)
        self.base = self.top
        self.wrong = "not pay" if self.reads else "may pay"

    def lines(self) -> Iterator[Line]:
        zero = [0.0] * len(self.targets)
        prompt = "\n".join(
            text_of([{**each, "role": "assistant"}]) for each in _turns(self.targets[0])
        )
        shown = [name for name, mark in MARKS.items() if mark in prompt]
        yield from self._golds(shown)
        wrap = ALL_LAYOUTS[self.layout or next(iter(shown), "<answer>")]
        half = [top / 2 for top in self.top]
        most = [each or (self.guard.function.highest or 0) / 2 for each in half]
        line, outcomes = self._try("another row's gold", self.wrong, most, _others, wrap)
        yield line
        if not line.fault:  # a part of the score is for the layout
            self.base = [max(0.0, *map(_value, each)) for each in outcomes]
        for name, make in EMPTY.items():
            yield self._try(name, "not pay", zero, make, wrap)[0]
        for name, make in WRONG.items():
            yield self._try(name, self.wrong, self.base, make, wrap)[0]
        yield self._try("texts in the reward's code", self.wrong, self.base, self._phrases, wrap)[0]
        yield self._try("two answers, in both orders", self.wrong, self.base, _both, wrap, min)[0]
        if self.layout:
            for name, make in SAME.items():
                yield self._try(f"right, {name}", "pay", half, make, wrap)[0]
        if self.reads:
            yield from self._dtypes(wrap)
        for name, make in HUGE.items():  # of one row, because it takes time
            first = self.targets[:1]
            yield self._try(name, self.wrong, self.base[:1], make, wrap, rows=first)[0]
        yield self._order(wrap)

    def _golds(self, shown: Sequence[str]) -> Iterator[Line]:
        """Yield a line per layout of the right answer, and set `layout` and `top`."""
        best, zero = 0.0, [0.0] * len(self.targets)
        tried = {}
        for name, make in ALL_LAYOUTS.items():
            tried[name], outcomes = self._try(f"right, as {name}", "may pay", zero, _right, make)
            scores = [_value(each) for (each,) in outcomes]
            if sum(scores) > best:
                best, self.layout, self.top = sum(scores), name, scores
        paid = [line.example for line in tried.values() if line.paid]
        reads_shown = any(MARKS[name] in example for name in shown for example in paid)
        for name, line in tried.items():
            needed = bool(shown and self.reads and self.layout)
            if needed and name in WITHOUT_LAYOUT and self.layout not in WITHOUT_LAYOUT:
                line = line._replace(must="not pay", fault=line.fault or "paid" * bool(line.paid))
            elif needed and name in shown and not reads_shown:
                line = line._replace(must="pay", fault="unpaid")
            if line.paid or line.fault or name == "<answer>":
                yield line

    def _phrases(self, row: Target, wrap: Wrap) -> list[str]:
        """Return completions with the texts in the reward's code, because it may pay for one of them."""
        function = self.guard.function
        code = getattr(function.function, "__code__", None)
        found = [each for each in (code.co_consts if code else ()) if isinstance(each, str)]
        found = [each for each in found if each != function.__doc__]
        return [text for each in found for text in (each, wrap(each), f"{each}\n{wrap(row.wrong)}")]

    def _dtypes(self, wrap: Wrap) -> Iterator[Line]:
        """Change the gold's type. A row without a gold must not pay; a number may pay, or fail."""
        golds = [name for name in self.reads if name in ANSWERS] or [*self.reads]
        for shown, change in {**WITHOUT_GOLD, **NUMBERS}.items():
            rows = [
                each._replace(row={**each.row, **dict.fromkeys(golds, change(each.gold or ""))})
                for each in self.targets
            ]
            is_gold = shown in NUMBERS
            answers = {True: _right_number, False: _any_answer}[is_gold]
            must = "may pay" if is_gold else "not pay"
            line, _ = self._try(f"gold is {shown}", must, self.base, answers, wrap, rows=rows)
            yield line._replace(fault=line.fault.replace("failed", ""))

    def _order(self, wrap: Wrap) -> Line:
        """Reverse a batch: the scores must be reversed, too."""
        texts = ["right", "", "wrong"] * len(self.targets)
        pairs = [
            (row.row, {"right": wrap(row.gold or "42"), "wrong": wrap(row.wrong)}.get(text, text))
            for row, text in zip([*self.targets, *self.targets], texts, strict=False)
        ]
        scores = [each.value for each in self._score(pairs)]
        again = [each.value for each in self._score(pairs[::-1])][::-1]
        moved = [place for place, score in enumerate(scores) if score != again[place]]
        highest = max((score for score in scores if score is not None), default=None)
        example = pairs[moved[0] if moved else 0][1]
        return Line("batch in reverse order", "the same", highest, len(moved), len(pairs), "moved" * bool(moved), example)  # fmt: skip

    def _score(self, pairs: Sequence[tuple[Row, str]]) -> list[Outcome]:
        """Score completions as TRL does, and measure the time."""
        step = 1
        if isinstance(self.guard.function, GroupReward):
            pairs, step = [each for row, text in pairs for each in ((row, text), (row, _LONG))], 2
        start = time.perf_counter()
        outcomes = self.guard.outcomes_of(
            [row["prompt"] for row, _ in pairs],
            [as_completion(row, text) for row, text in pairs],
            [list(range(len(text.split()))) for _, text in pairs],
            {name: [row.get(name) for row, _ in pairs] for name in self.names},
            state=SimpleNamespace(global_step=0, max_steps=1, epoch=0.0),
        )[::step]
        if not any(map(_is_late, outcomes)):
            self.seconds.append((time.perf_counter() - start) / len(pairs))
        return outcomes

    def _try(
        self,
        name: str,
        must: str,
        limits: Sequence[float],
        make: Attack,
        wrap: Wrap,
        best: Callable[[list[tuple[float, str]]], tuple[float, str]] = max,
        rows: Sequence[Target] | None = None,
    ) -> tuple[Line, list[list[Outcome]]]:
        """Return the line of an attack, and the outcomes of each row's texts.

        limits: for each row, the score above which it is paid. best: which of a row's texts counts.
        rows: the targets, unless other ones are given.
        """
        targets = self.targets if rows is None else rows
        texts = [list(dict.fromkeys(make(row, wrap))) for row in targets]
        pairs = [(row.row, text) for row, each in zip(targets, texts, strict=True) for text in each]
        scored = self._score(pairs) if pairs else []
        rest = iter(scored)
        outcomes = [list(islice(rest, len(each))) for each in texts]
        found: dict[bool, list[str]] = {True: [], False: []}  # by whether it was paid
        highest: float | None = None
        for own, each, limit in zip(texts, outcomes, limits, strict=True):
            known = [
                (out.value, text)
                for out, text in zip(each, own, strict=True)
                if out.value is not None
            ]
            if known and (must != "pay" or limit > 0):  # else no layout pays this row
                value, text = best(known)
                highest = value if highest is None else max(highest, value)
                found[value > limit + _ROUNDING].append(text)
        must_pay = must == "pay"
        shown = found[not must_pay] or found[must_pay]
        fault = {"not pay": "paid" * bool(found[True]), "pay": "unpaid" * bool(found[False])}.get(
            must, ""
        )
        failed = [
            (text, out)
            for (_, text), out in zip(pairs, scored, strict=True)
            if out.error or _is_late(out)
        ]
        example, note = shown[0] if shown else "", ""
        if failed and not fault:
            example, out = failed[0]
            fault, note = ("slow", "timed out") if _is_late(out) else ("failed", raised(out.error))
        tried = len(found[True]) + len(found[False])
        return Line(name, must, highest, len(found[True]), tried, fault, example, note), outcomes
