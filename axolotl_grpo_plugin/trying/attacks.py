"""Attack a reward with completions that it must not pay, made from rows of the dataset."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from axolotl_grpo_plugin.completions import Texts
from axolotl_grpo_plugin.reward import NOT_COLUMNS, GroupReward, Rows
from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.scoring.guard import GuardedReward, failure_of, is_failed
from axolotl_grpo_plugin.scoring.worker import Outcome
from axolotl_grpo_plugin.trying import targets
from axolotl_grpo_plugin.trying.samples import ANSWERS, LAYOUTS, Samples, merged
from axolotl_grpo_plugin.trying.targets import (
    LEFT_OUT,
    LONG,
    NO_GOLD,
    NO_NUMBER,
    NUMBERS,
    WITHOUT_LAYOUT,
    Target,
    TextsOf,
)

ANY = "any completion"
NO_SCORE = "No score, because the reward gives None"
UNPAID = "no right answer is paid"
STUCK = 3  # attacks that time out before the others are left out
MARKS = {"<answer>": "<answer>", r"\boxed{}": r"\boxed", "####": "####"}  # in a prompt, by layout
# Golds that are no answer, or none that a completion of the attack states.
NO_GOLDS = {"None": None, "empty text": "", "a list": ["no gold"], "an empty list": []}
_ROUNDING = 1e-9

# The scores that a reward may give to the completions of an attack.
NOT_PAY = "at most"
MAY_PAY = "any score"
PAY = "more than"

Tried = list[tuple[int, str, Outcome]]  # the number of a row, a completion of it, and its outcome
Best = dict[int, tuple[float, str]]  # by the number of a row: a score and its completion


class Line(NamedTuple):
    """The result of one attack.

    must: the allowed scores: "at most 0", "more than 0.5", "any score" or "the same".
    score: of the example, None if there is none.
    paid: the number of rows whose score exceeds the limit in `must`.
    tried: the number of rows with a score.
    fault: "" if the scores are allowed, else "paid", "unpaid", "failed", "slow" or "moved".
    example: the best completion of the row that comes closest to a fault.
    note: a clause that says why there is no score, else "".
    """

    attack: str
    must: str
    score: float | None = None
    paid: int = 0
    tried: int = 0
    fault: str = ""
    example: str = ""
    note: str = ""


class Report(NamedTuple):
    """The result for one reward.

    reads: the columns that it scores by.
    layout: the one that it pays best, "" if it pays none.
    no_gold: why no right answer is known, or "".
    left_out: why there are no more attacks, or "".
    """

    reads: Texts
    layout: str
    lines: list[Line]
    no_gold: str
    left_out: str

    @property
    def faults(self) -> Texts:
        """The attacks that found a fault."""
        return [line.attack for line in self.lines if line.fault]


def attack(guard: GuardedReward, samples: Samples) -> Report:
    """Score the attacks. The last ones are left out if STUCK of them time out, or if no score works."""
    attacks = _Attacks(guard, samples)
    lines = []
    left_out = ""
    late = 0
    for line in attacks.lines():
        lines.append(line)
        late += line.fault == "slow"
        if line.attack == ANY or late == STUCK:
            left_out = f"{STUCK} timed out" if late else "no completion could be scored"
            break
    # The best score of a penalty is 0, so its right answers earn that.
    is_below = lines[0].score not in (None, guard.function.highest)
    if is_below and not attacks.layout and attacks.should_pay(lines):
        lines[0] = lines[0]._replace(
            attack="right, in all layouts", must=f"{PAY} 0", fault="unpaid"
        )
    return Report(attacks.reads, attacks.layout, lines, attacks.no_gold, left_out)


class _Attacks:
    """The attacks on one reward.

    layout: the one in which it pays right answers best, "" if it pays none.
    top: the score of each row's right answer in this layout.
    base: the best score of a wrong answer in any layout.
    """

    def __init__(self, guard: GuardedReward, samples: Samples):
        self.guard = guard
        self.reads = [name for name in guard.function.spec.columns if name not in NOT_COLUMNS]
        # A function of TRL's kind may read any column from **kwargs.
        self.is_plain = not self.reads and guard.function.highest is None
        self.targets = targets.targets_of(merged(samples), ANSWERS if self.is_plain else self.reads)
        self.no_gold = "" if any(target.gold for target in self.targets) else NO_GOLD
        self.rows = [target.row for target in self.targets]
        self.layout = ""
        self.zero = [0.0] * len(self.rows)
        self.top = self.zero
        self.base = self.zero
        # Without a column, the reward cannot know which answer is right.
        self.wrong = NOT_PAY if self.reads else MAY_PAY

    def lines(self) -> Iterator[Line]:
        """Yield the line of each attack."""
        yield from self._golds()
        yield self._others()
        pays_gold = self.is_plain and sum(self.base) < sum(self.top) / 2
        if pays_gold and all(target.others for target in self.targets):
            self.reads = [name for name in ANSWERS if name in self.rows[0]]
            self.wrong = NOT_PAY
        yield from self._lines(targets.empty_texts, NOT_PAY, self.zero)
        yield from self._lines(targets.wrong_texts, self.wrong, self.base)
        yield from self._lines(targets.equal_texts, PAY, [top / 2 for top in self.top])
        if self.reads:
            yield from self._without_gold()
        # Those of one row only, because they take time.
        yield from self._lines(targets.huge_texts, self.wrong, self.base, 1)
        yield self._order()

    def should_pay(self, lines: list[Line]) -> bool:
        """Return whether the reward should pay the rows' answers: it reads them, or scores 0 in all lines."""
        columns = self.reads
        # One that declares its range may be for a layout that is not tried.
        if not any(line.score for line in lines) and self.guard.function.highest is None:
            columns = [*self.rows[0]]
        return not {*ANSWERS}.isdisjoint(columns)

    def _golds(self) -> Iterator[Line]:
        """Yield a line per layout of the right answer that is paid, and set each target's `wrap`."""
        tried = self._try_layouts()
        lists = [target for target in self.targets if target.gold != target.bare_gold]
        if lists and not self.layout:
            for target in lists:
                target.gold = target.bare_gold
            tried = self._try_layouts()

        # A reward that fails for every completion, for example for its column.
        every = [*chain.from_iterable(tried.values())]
        if all(outcome.error and not outcome.timed_out for _, _, outcome in every):
            _, text, outcome = every[0]
            yield Line(
                ANY,
                MAY_PAY,
                fault="failed",
                example=text,
                note=f"No score, because {failure_of(self.guard, outcome).what}",
            )

        prompt = "\n".join(self.targets[0].turns)
        shown = [name for name, mark in MARKS.items() if mark in prompt]
        for target in self.targets:
            target.wrap = LAYOUTS[self.layout or [*shown, "<answer>"][0]]

        needed = shown and self.reads and self.layout not in ("", *WITHOUT_LAYOUT)
        for name, own in tried.items():
            must = NOT_PAY if needed and name in WITHOUT_LAYOUT else MAY_PAY
            line = self._line(f"right, as {name}", must, own, self.zero)
            if line.paid or line.fault or name == "<answer>":
                yield line

    def _try_layouts(self) -> dict[str, Tried]:
        """Try right answers in each layout, and set `layout` and `top`."""
        tried = {}
        for name, layout in LAYOUTS.items():
            tried[name] = self._try([[layout(target.known)] for target in self.targets])
            scores = self._scores(tried[name])
            if sum(scores) > sum(self.top):
                self.layout = name
                self.top = scores
        return tried

    def _others(self) -> Line:
        """Try another row's gold in all layouts, and set `base`."""
        texts = []
        for target in self.targets:
            texts.append([layout(target.wrong) for layout in LAYOUTS.values()])
        tried = self._try(texts)
        limits = [(top or self.guard.function.highest or 0) / 2 for top in self.top]
        line = self._line("another row's gold", self.wrong, tried, limits)
        if not line.fault:  # a part of the score is for the layout
            self.base = [max(0.0, score) for score in self._scores(tried)]
        return line

    def _without_gold(self) -> Iterator[Line]:
        """Put values that are no answer in the place of the gold. Such a row must not pay."""
        columns = [name for name in self.reads if name in ANSWERS] or self.reads
        for name, value in NO_GOLDS.items():
            texts = []
            for target in self.targets:
                written = {target.wrong, "None", "[]"} - {as_text(value)}
                texts.append([*map(target.wrap, sorted(written))])
            rows = [row | dict.fromkeys(columns, value) for row in self.rows]
            line = self._line(f"gold is {name}", NOT_PAY, self._try(texts, rows), self.base)
            # The types of a dataset are checked elsewhere, so a reward may refuse them.
            yield line._replace(fault="") if line.fault == "failed" else line

    def _order(self) -> Line:
        """Reverse a batch: the scores must be reversed, too."""
        texts = []
        for target in self.targets:
            texts.append([target.right, "", target.wrap(target.wrong)])
        tried = self._try(texts)
        back = self._try([own[::-1] for own in texts[::-1]], self.rows[::-1])
        fault = example = ""
        for (_, text, outcome), (_, _, again) in zip(tried, back[::-1], strict=True):
            if outcome.value != again.value:
                fault, example = "moved", text
        return Line(
            "batch in reverse order", "the same", tried=len(tried), fault=fault, example=example
        )

    def _lines(
        self,
        make: Callable[[Target], TextsOf],
        must: str,
        limits: Sequence[float],
        count: int | None = None,
    ) -> Iterator[Line]:
        """Yield the lines of several attacks. count: of the rows to attack, None for all."""
        texts = [make(target) for target in self.targets[:count]]
        for name in dict.fromkeys(chain.from_iterable(texts)):
            chosen = [own[name] for own in texts]
            reason = self.no_gold or LEFT_OUT.get(name, NO_GOLD)
            if name == NUMBERS:
                reason = NO_NUMBER
            elif must == PAY:
                reason = UNPAID
                for place, limit in enumerate(limits):
                    if limit <= 0:  # no layout pays this row
                        chosen[place] = []
            tried = self._try(chosen)
            line = self._line(name, must, tried, limits)
            if not tried:
                line = line._replace(note=f"Not tried, because {reason}")
            yield line

    def _line(self, name: str, must: str, tried: Tried, limits: Sequence[float]) -> Line:
        """Return the line of an attack. limits: for each row, the score above which it is paid."""
        rows = []
        for place, (earned, text) in _best(tried).items():
            limit = limits[place]
            rows.append((earned - limit, earned, limit, text))

        score: float | None = None
        limit, text = max(limits), ""
        if rows:
            _, score, limit, text = min(rows) if must == PAY else max(rows)
        line = Line(
            name,
            must if must == MAY_PAY else f"{must} {limit:g}",
            score,
            sum(above > _ROUNDING for above, *_ in rows),
            len(rows),
            example=text,
            note="" if rows else NO_SCORE,
        )

        if must == NOT_PAY and line.paid:
            return line._replace(fault="paid")
        if must == PAY and line.paid < line.tried:
            return line._replace(fault="unpaid")
        for _, text, outcome in tried:
            if is_failed(outcome):
                finding = failure_of(self.guard, outcome)
                return line._replace(
                    fault="slow" if finding.code == "too-slow" else "failed",
                    score=None,
                    example=text,
                    note=f"No score, because {finding.what}",
                )
        return line

    def _scores(self, tried: Tried) -> list[float]:
        """Return the best score of each row, 0 without one."""
        scores = [*self.zero]
        for place, (score, _) in _best(tried).items():
            scores[place] = score
        return scores

    def _try(self, texts: Sequence[Sequence[str]], rows: Rows | None = None) -> Tried:
        """Score completions as TRL does. texts: those of each row. rows: in place of the dataset's."""
        rows = rows or self.rows
        # The completions of a group reward are in a group with a long one.
        beside = [LONG] if isinstance(self.guard.function, GroupReward) else []
        places: list[int] = []
        flat: Texts = []
        for place, own in enumerate(texts):
            for text in dict.fromkeys(own):
                group = [text, *beside]
                flat += group
                places += [place] * len(group)
        outcomes = self.guard.score_list([rows[place] for place in places], flat)
        tried = [*zip(places, flat, outcomes, strict=True)]
        return tried[:: 1 + len(beside)]


def _best(tried: Tried) -> Best:
    """Return the best score of each row that has one, and its completion."""
    best: Best = {}
    for place, text, outcome in tried:
        value = outcome.value
        if value is not None and (place not in best or value > best[place][0]):
            best[place] = value, text
    return best
