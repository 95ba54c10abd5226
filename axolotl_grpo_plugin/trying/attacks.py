"""Attack a reward with completions that it must not pay, made from rows of the dataset."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from axolotl_grpo_plugin.completions import Texts
from axolotl_grpo_plugin.reward import NOT_COLUMNS, GroupReward, PlainReward, Rows
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
    targets_of,
)

ANY = "any completion"
NO_SCORE = "No score, because the reward gives None"
UNPAID = "no right answer is paid"
STUCK = 3  # attacks that time out before the others are left out
MARKS = {
    "<answer>": "<answer>",
    r"\boxed{}": r"\boxed",
    "####": "####",
    "Answer:": "Answer: ",
}  # in a prompt, by layout
# Golds that are no answer, or none that a completion of the attack states.
NO_GOLDS = {"None": None, "empty text": "", "a list": ["no gold"], "an empty list": []}
_ROUNDING = 1e-9

# The scores that a reward may give to the completions of an attack.
NOT_PAY = "at most"
MAY_PAY = "any score"
PAY = "more than"

Tried = list[tuple[int, str, Outcome]]  # the index of a row, a completion of it, and its outcome
Best = dict[int, tuple[float, str]]  # by the index of a row: a score and its completion


class AttackLine(NamedTuple):
    """The result of one attack.

    Attributes:
        attack: The name of the attack.
        must: The allowed scores: "at most 0", "more than 0.5", "any score" or "the same".
        score: The score of the example, None if there is none.
        paid: The number of rows whose score exceeds the limit in `must`.
        tried: The number of rows with a score.
        fault: "" if the scores are allowed, else "paid", "unpaid", "failed", "slow" or "moved".
        example: The best completion of the row that comes closest to a fault.
        note: A clause that says why there is no score, else "".
    """

    attack: str
    must: str
    score: float | None = None
    paid: int = 0
    tried: int = 0
    fault: str = ""
    example: str = ""
    note: str = ""


class AttackReport(NamedTuple):
    """The result for one reward.

    Attributes:
        reads: The columns by which it scores.
        layout: The layout that it pays best, "" if it pays none.
        lines: The results of the attacks.
        no_gold: Why no right answer is known, or "".
        left_out: Why the last attacks were not made, or "".
    """

    reads: Texts
    layout: str
    lines: list[AttackLine]
    no_gold: str
    left_out: str

    @property
    def faults(self) -> Texts:
        """The attacks that found a fault."""
        return [line.attack for line in self.lines if line.fault]


@dataclass
class _Facts:
    """The facts about one reward that its attacks need. `_facts_of` makes them.

    Attributes:
        guard: The reward.
        reads: The columns by which it scores.
        is_plain: It is a function of TRL's kind, which may read any column from **kwargs.
        targets: The rows to attack.
        no_gold: Why no right answer is known, or "".
        layout: The layout in which it pays right answers best, "" if it pays none.
        right: The outcomes of right answers, by layout.
        top: The score of each row's right answer in `layout`.
        base: The best score of each row's wrong answer in any layout. `_other_golds` sets it.
    """

    guard: GuardedReward
    reads: Texts
    is_plain: bool
    targets: list[Target]
    no_gold: str
    layout: str
    right: dict[str, Tried]
    top: list[float]
    base: list[float]

    @property
    def rows(self) -> Rows:
        return [target.row for target in self.targets]

    @property
    def zero(self) -> list[float]:
        return [0.0] * len(self.targets)

    @property
    def wrong(self) -> str:
        """The allowed scores of a wrong answer."""
        # Without a column, the reward cannot know which answer is right.
        return NOT_PAY if self.reads else MAY_PAY


def attack(guard: GuardedReward, samples: Samples) -> AttackReport:
    """Attack a reward.

    The last attacks are left out if STUCK of them time out, or if no completion can be scored.

    Args:
        guard: The reward.
        samples: Rows of the dataset.
    """
    facts = _facts_of(guard, samples)
    lines: list[AttackLine] = []
    left_out = ""
    for line in _attacks(facts):
        lines.append(line)
        left_out = _reason_to_stop(lines)
        if left_out:
            break
    # The best score of a penalty is 0, so its right answers earn that.
    is_below = lines[0].score not in (None, guard.function.highest)
    if is_below and not facts.layout and _should_pay(facts, lines):
        lines[0] = lines[0]._replace(
            attack="right, in all layouts", must=f"{PAY} 0", fault="unpaid"
        )
    return AttackReport(facts.reads, facts.layout, lines, facts.no_gold, left_out)


def _attacks(facts: _Facts) -> Iterator[AttackLine]:
    """Make one attack after the other."""
    steps = (
        _right_answers,
        _other_golds,
        _empty_completions,
        _wrong_answers,
        _equal_answers,
        _rows_without_gold,
        _huge_completions,
        _reversed_batch,
    )
    for step in steps:
        yield from step(facts)


def _reason_to_stop(lines: list[AttackLine]) -> str:
    """Return why the other attacks are left out, or ""."""
    late = [line for line in lines if line.fault == "slow"]
    if len(late) == STUCK:
        return f"{STUCK} timed out"
    if lines[-1].attack == ANY:
        return "no completion could be scored"
    return ""


def _should_pay(facts: _Facts, lines: list[AttackLine]) -> bool:
    """Return whether the reward should pay the rows' answers.

    It should if it reads them, or if it scores 0 in all lines.
    """
    columns = facts.reads
    # A reward that declares its range may be for a layout that is not tried.
    if not any(line.score for line in lines) and facts.guard.function.highest is None:
        columns = [*facts.rows[0]]
    return not {*ANSWERS}.isdisjoint(columns)


def _facts_of(guard: GuardedReward, samples: Samples) -> _Facts:
    """Find the layout in which a reward pays right answers, and write all answers in it."""
    samples = merged(samples)
    marks = guard.ends([sample.row["prompt"] for sample in samples]) if guard.ends else ()
    opens = next(iter(marks), "")
    reads = [name for name in guard.function.spec.columns if name not in NOT_COLUMNS]
    is_plain = not reads and isinstance(guard.function, PlainReward)
    targets = targets_of(samples, ANSWERS if is_plain else reads, opens)
    no_gold = "" if any(target.gold for target in targets) else NO_GOLD
    right = _try_layouts(guard, targets)
    layout, top = _best_layout(right, len(targets))
    lists = [target for target in targets if target.gold != target.bare_gold]
    if lists and not layout:
        for target in lists:
            target.gold = target.bare_gold
        right = _try_layouts(guard, targets)
        layout, top = _best_layout(right, len(targets))
    shown = _shown_layouts(targets[0])
    for target in targets:
        target.layout = LAYOUTS[layout or [*shown, "<answer>"][0]]
    base = [0.0] * len(targets)
    return _Facts(guard, reads, is_plain, targets, no_gold, layout, right, top, base)


def _try_layouts(guard: GuardedReward, targets: list[Target]) -> dict[str, Tried]:
    """Try right answers in each layout."""
    rows = [target.row for target in targets]
    tried = {}
    for name, layout in LAYOUTS.items():
        tried[name] = _try(
            guard, rows, [[target.written(layout, target.known)] for target in targets]
        )
    return tried


def _best_layout(right: dict[str, Tried], count: int) -> tuple[str, list[float]]:
    """Return the layout that is paid best, and the score of each row in it."""
    layout = ""
    top = [0.0] * count
    for name, tried in right.items():
        scores = _scores(tried, count)
        if sum(scores) > sum(top):
            layout = name
            top = scores
    return layout, top


def _shown_layouts(target: Target) -> Texts:
    """Return the layouts whose marks the prompt has."""
    prompt = "\n".join(target.turns)
    return [name for name, mark in MARKS.items() if mark in prompt]


def _right_answers(facts: _Facts) -> Iterator[AttackLine]:
    """Yield a line per layout in which right answers are paid, and always one for the usual layout."""
    tried = [outcome for layout in facts.right.values() for outcome in layout]
    # A reward that fails for every completion, for example because it lacks a column.
    if all(outcome.error and not outcome.timed_out for _, _, outcome in tried):
        _, text, outcome = tried[0]
        failure = failure_of(facts.guard, outcome)
        yield AttackLine(
            ANY, MAY_PAY, fault="failed", example=text, note=f"No score, because {failure.what}"
        )
    has_layout = facts.layout not in ("", *WITHOUT_LAYOUT)
    needs_layout = facts.reads and has_layout and _shown_layouts(facts.targets[0])
    for name, outcomes in facts.right.items():
        must = NOT_PAY if needs_layout and name in WITHOUT_LAYOUT else MAY_PAY
        line = _line(facts, f"right, as {name}", must, outcomes, facts.zero)
        if line.paid or line.fault or name == "<answer>":
            yield line


def _other_golds(facts: _Facts) -> Iterator[AttackLine]:
    """Try another row's gold in all layouts, and set `base`, and `reads` of a plain function."""
    texts = []
    for target in facts.targets:
        texts.append([target.written(layout, target.wrong) for layout in LAYOUTS.values()])
    tried = _try(facts.guard, facts.rows, texts)
    limits = [(top or facts.guard.function.highest or 0) / 2 for top in facts.top]
    line = _line(facts, "another row's gold", facts.wrong, tried, limits)
    if not line.fault:  # a part of the score is for the layout
        facts.base = [max(0.0, score) for score in _scores(tried, len(facts.targets))]
    yield line
    pays_gold = facts.is_plain and sum(facts.base) < sum(facts.top) / 2
    if pays_gold and all(target.others for target in facts.targets):
        facts.reads = [name for name in ANSWERS if name in facts.rows[0]]


def _empty_completions(facts: _Facts) -> Iterator[AttackLine]:
    return _lines(facts, targets.empty_texts, NOT_PAY, facts.zero)


def _wrong_answers(facts: _Facts) -> Iterator[AttackLine]:
    return _lines(facts, targets.wrong_texts, facts.wrong, facts.base)


def _equal_answers(facts: _Facts) -> Iterator[AttackLine]:
    return _lines(facts, targets.equal_texts, PAY, [top / 2 for top in facts.top])


def _rows_without_gold(facts: _Facts) -> Iterator[AttackLine]:
    """Put values that are no answer in the place of the gold. Such a row must not pay."""
    if not facts.reads:
        return
    columns = [name for name in facts.reads if name in ANSWERS] or facts.reads
    for name, value in NO_GOLDS.items():
        texts = []
        for target in facts.targets:
            written = {target.wrong, "None", "[]"} - {as_text(value)}
            texts.append([target.wrap(answer) for answer in sorted(written)])
        rows = [row | dict.fromkeys(columns, value) for row in facts.rows]
        tried = _try(facts.guard, rows, texts)
        line = _line(facts, f"gold is {name}", NOT_PAY, tried, facts.base)
        # The types of a dataset are checked elsewhere, so a reward may refuse them.
        yield line._replace(fault="") if line.fault == "failed" else line


def _huge_completions(facts: _Facts) -> Iterator[AttackLine]:
    """Try huge completions of one row only, because they take time."""
    return _lines(facts, targets.huge_texts, facts.wrong, facts.base, count=1)


def _reversed_batch(facts: _Facts) -> Iterator[AttackLine]:
    """Reverse a batch. The scores must be reversed, too."""
    texts = []
    for target in facts.targets:
        texts.append([target.right, "", target.wrap(target.wrong)])
    tried = _try(facts.guard, facts.rows, texts)
    reversed_texts = [completions[::-1] for completions in reversed(texts)]
    again = _try(facts.guard, facts.rows[::-1], reversed_texts)
    fault = ""
    example = ""
    for (_, text, outcome), (_, _, second) in zip(tried, reversed(again), strict=True):
        if outcome.value != second.value:
            fault = "moved"
            example = text
    yield AttackLine(
        "batch in reverse order", "the same", tried=len(tried), fault=fault, example=example
    )


def _lines(
    facts: _Facts,
    texts_of: Callable[[Target], TextsOf],
    must: str,
    limits: Sequence[float],
    count: int | None = None,
) -> Iterator[AttackLine]:
    """Yield the lines of several attacks.

    Args:
        facts: The reward and the rows.
        texts_of: Returns the completions of each attack for a row.
        must: The allowed scores.
        limits: For each row, the score above which it is paid.
        count: The number of rows to attack, None for all.
    """
    texts = [texts_of(target) for target in facts.targets[:count]]
    for name in dict.fromkeys(chain.from_iterable(texts)):
        chosen = [by_attack[name] for by_attack in texts]
        reason = facts.no_gold or LEFT_OUT.get(name, NO_GOLD)
        if name == NUMBERS:
            reason = NO_NUMBER
        elif must == PAY:
            reason = UNPAID
            for index, limit in enumerate(limits):
                if limit <= 0:  # no layout pays this row
                    chosen[index] = []
        tried = _try(facts.guard, facts.rows, chosen)
        line = _line(facts, name, must, tried, limits)
        if not tried:
            line = line._replace(note=f"Not tried, because {reason}")
        yield line


def _line(facts: _Facts, name: str, must: str, tried: Tried, limits: Sequence[float]) -> AttackLine:
    """Return the line of an attack. A row is paid if its score is above its limit."""
    rows = []
    for index, (earned, text) in _best(tried).items():
        limit = limits[index]
        rows.append((earned - limit, earned, limit, text))

    score: float | None = None
    limit = max(limits)
    text = ""
    if rows:
        _, score, limit, text = min(rows) if must == PAY else max(rows)
    line = AttackLine(
        name,
        must if must == MAY_PAY else f"{must} {limit:g}",
        score,
        len([above for above, *_ in rows if above > _ROUNDING]),
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
            finding = failure_of(facts.guard, outcome)
            return line._replace(
                fault="slow" if finding.code == "too-slow" else "failed",
                score=None,
                example=text,
                note=f"No score, because {finding.what}",
            )
    return line


def _try(guard: GuardedReward, rows: Rows, texts: Sequence[Sequence[str]]) -> Tried:
    """Score completions as TRL does.

    Args:
        guard: The reward.
        rows: The columns of each row.
        texts: The completions of each row. There may be fewer than rows.
    """
    # The completions of a group reward are in a group with a long one.
    beside = [LONG] if isinstance(guard.function, GroupReward) else []
    indices: list[int] = []
    completions: Texts = []
    for index, texts_of_row in enumerate(texts):
        for text in dict.fromkeys(texts_of_row):
            group = [text, *beside]
            completions += group
            indices += [index] * len(group)
    outcomes = guard.score_list([rows[index] for index in indices], completions)
    tried = [*zip(indices, completions, outcomes, strict=True)]
    return tried[:: 1 + len(beside)]


def _scores(tried: Tried, count: int) -> list[float]:
    """Return the best score of each row, 0 for a row without one."""
    scores = [0.0] * count
    for index, (score, _) in _best(tried).items():
        scores[index] = score
    return scores


def _best(tried: Tried) -> Best:
    """Return the best score of each row that has one, and its completion."""
    best: Best = {}
    for index, text, outcome in tried:
        value = outcome.value
        if value is not None and (index not in best or value > best[index][0]):
            best[index] = value, text
    return best
