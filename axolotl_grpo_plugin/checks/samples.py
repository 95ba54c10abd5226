"""Check the rewards on made-up completions for a few real rows."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from axolotl_grpo_plugin.checks.columns import reserved_columns
from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.completions import Names, Texts
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import Findings, Level, fault, warning
from axolotl_grpo_plugin.load import missing_column, not_ready
from axolotl_grpo_plugin.reward import BaseReward, Row
from axolotl_grpo_plugin.scoring.guards import Guards
from axolotl_grpo_plugin.transforms.choice import find_options, gold_column
from axolotl_grpo_plugin.trying.samples import (
    ANSWERS,
    LAYOUTS,
    RewardError,
    Sample,
    SampleScorer,
    demanded,
    gold_of,
    merged,
)

# For rewards that count steps or pay for lists.
IN_STEPS = (
    "<think>\nFirst, I read it.\nStep 1: It is known.\n1. It is known.\n- It is known.\nFinally, I answer.\n</think>\n"
    "<answer>\n{}\n</answer>"
).format


def check_samples(cfg: Config, rows: Sequence[Sample]) -> Findings:
    """Check that each reward scores whole groups as TRL calls it, and pays right answers only.

    rows: of all datasets.
    """
    rows = merged(rows)
    reserved = reserved_columns(rows[0].row) if rows else None
    if reserved:
        yield reserved
        return
    yield from _check_options(rows)
    with closing(Guards.of(cfg)) as guards:
        scorer = SampleScorer(cfg, guards)
        for where, key, function in functions_in(cfg):
            if not_ready(function):
                continue
            checks = _RewardChecks(where, key, function, scorer)
            try:
                yield from checks.check(rows)
            except RewardError as error:
                yield error.finding._replace(where=where)


def _check_options(rows: Sequence[Sample]) -> Findings:
    """Check that prompts show the options of multiple choice, if the answer is one of them."""
    for sample in rows:
        row = {name: value for name, value in sample.row.items() if name != "prompt"}
        options = find_options(row)
        column = options and gold_column(row, options)
        if not options or not column:
            continue
        prompt = "\n".join(sample.turns)
        if not any(option in prompt for option in options.texts):
            yield warning(
                "unseen-options",
                "datasets",
                f"the answer {row[column]!r:.60} in {column!r} is one of the options in {', '.join(options.columns)}, "
                "which the prompt does not show",
                "Set type: axolotl_grpo_plugin.choice, which shows them, or write them into the question",
            )
            return


def check_row(cfg: Config, guards: Guards, row: Row) -> Findings:
    """Check, before the model loads, that the rewards of a run score a row: its prompt is the completion.

    A failed score is a warning if `grpo_reward_error_limit` is 1, because such a run goes on.
    """
    sample = Sample(row, None)
    scorer = SampleScorer(cfg, guards)
    for where, key, _ in functions_in(cfg):
        try:
            scorer.scores(key, [sample], [sample.prompt])
        except RewardError as error:
            level: Level = "error" if guards.settings.error_limit < 1 else "warning"
            yield error.finding._replace(where=where, level=level)


@dataclass
class _RewardChecks:
    """The checks of one reward function. where: its place in the config. nothing: earned by ""."""

    where: str
    key: str
    function: BaseReward
    scorer: SampleScorer
    nothing: float = 0.0

    def check(self, rows: Sequence[Sample]) -> Findings:
        """Yield the findings. Raises: RewardError."""
        if finding := missing_column(self.function, rows[0].row, self.where):
            yield finding
            return
        yield from self._check_scores(rows)
        # One of several inner rewards may want another layout.
        spec = self.function.spec
        unknown = [sample for sample in rows if sample.gold is None]
        if not spec.inner and not spec.reads:
            yield from self._try_all_layouts(unknown)
        elif not spec.inner:
            yield from self._try_layouts(unknown, spec.reads)
        elif spec.unroutable:
            yield from self._try_layouts(unknown, ["ground_truth", *spec.may_read], is_routed=True)

    def _check_scores(self, rows: Sequence[Sample]) -> Findings:
        """Check an empty completion, the prompt as a completion, and right answers."""
        empty = self.scorer.scores(self.key, rows, [""] * len(rows))
        self.nothing = max(empty, default=0.0)
        if self.nothing > 0:
            yield warning(
                "pays-nothing",
                self.where,
                f"an empty completion earns {self.nothing:g}",
                "Score it 0, because the model learns the easiest way to a reward",
            )
        repeats = self.scorer.scores(self.key, rows, [sample.prompt for sample in rows])
        repeated = max(repeats, default=0.0)
        if repeated > max(self.nothing, 0):
            yield warning(
                "pays-the-prompt",
                self.where,
                f"the prompt, repeated as the completion, earns {repeated:g}",
                "Score only the model's own answer, unless any text of some length should earn a reward",
            )
        solved = [sample for sample in rows if sample.gold is not None]
        golds = self.scorer.finished(solved, [sample.gold or "" for sample in solved])
        earned = self.scorer.scores(self.key, solved, golds)
        if not (empty or repeats or earned):
            yield warning(
                "no-scores",
                self.where,
                "it gives no score to an empty completion, to the prompt or to a right answer",
                "Return a number, unless the row belongs to another task",
            )
        # The number of tokens is not real in these samples.
        if earned and "completion_ids" not in self.function.spec.reads:
            yield from self._check_gold(max(earned), solved, golds)

    def _check_gold(self, best: float, solved: Sequence[Sample], golds: Texts) -> Findings:
        """Check that a right answer earns the maximum if the reward reads a column, else more than "" does."""
        gold = golds[0]
        spec = self.function.spec
        highest = self.function.highest
        routes = spec.unroutable is not None  # then the maximum may be another task's
        if highest is not None and spec.reads and best < highest and not routes:
            yield fault(
                "underpaid-gold",
                self.where,
                f"the right answer {gold!r:.100} earns {best:g}, but the maximum is {highest:g}",
                "Let the reward read the layout that the transform asks for, and compare text with text",
            )
        elif best <= max(self.nothing, 0) and (highest is None or highest > 0):
            what = f"the right answer {gold!r:.100}, in the layout that the prompt asks for, earns {best:g}"
            if best == self.nothing:  # also of a reward that is constant
                what += ", as much as an empty completion"
            fix = self._fix_of_pattern(solved, golds)
            if not fix:
                fix = "Reward this layout, ask for another one in grpo_system_prompt, or compare text with text"
            yield warning("unpaid-gold", self.where, what, fix)

    def _fix_of_pattern(self, solved: Sequence[Sample], golds: Texts) -> str:
        """Return how to correct a pattern that only other line breaks keep from paying, else ""."""
        in_one_line = [" ".join(gold.split()) for gold in golds]
        if self._earns(solved, in_one_line) > max(self.nothing, 0):
            return "Let its pattern match line breaks (re.DOTALL), because it pays the same text in one line"
        if self._earns(solved, [f"{gold}\n" for gold in golds]) > max(self.nothing, 0):
            return "Let its pattern end without a line break, because it pays the same text with one at its end"
        return ""

    def _earns(self, samples: Sequence[Sample], completions: Texts) -> float:
        """Return the highest score of a completion for each sample."""
        return max(self.scorer.scores(self.key, samples, completions), default=0.0)

    def _try_all_layouts(self, rows: Sequence[Sample]) -> Findings:
        """Check that a reward that reads no answer pays a right answer in any layout, because it may pay for one."""
        highest = self.function.highest
        if self.function.is_async or (highest is not None and highest <= 0):
            return
        solved, golds = _answered(rows, ANSWERS)
        if not golds:
            return
        fix = ""
        for layout in [*LAYOUTS.values(), IN_STEPS]:
            texts = self.scorer.finished(solved, [layout(gold) for gold in golds])
            if self._earns(solved, texts) > self.nothing:
                return
            fix = fix or self._fix_of_pattern(solved, texts)
        yield warning(
            "unpaid-gold",
            self.where,
            f"no completion that was tried earns more than {self.nothing:g}: the right answer {golds[0]!r:.100} "
            f"as {', '.join(LAYOUTS)}",
            fix or "Try a completion that it must pay with `axolotl-grpo reward score`",
        )

    def _try_layouts(
        self, rows: Sequence[Sample], reads: Names, is_routed: bool = False
    ) -> Findings:
        """Check that a right answer earns more than an empty completion does, in the layout of the prompt.

        If the prompt asks for none that is known, any layout may be paid. is_routed: the reward passes the rows to
        others, which may read no gold answer.
        """
        solved, golds = _answered(rows, reads)
        if not golds:
            return
        earned = {}
        for name, layout in LAYOUTS.items():
            texts = self.scorer.finished(solved, [layout(gold) for gold in golds])
            earned[name] = self._earns(solved, texts)
        nothing = max(self.nothing, 0)
        best = max(earned.values())
        asked = demanded(solved[0].turns)
        paid = [name for name, score in earned.items() if score == best and name != "bare text"]
        if asked and best > nothing and max(earned[name] for name in asked) <= nothing:
            yield fault(
                "other-layout",
                self.where,
                f"the prompt asks for the answer as {asked[0]}, but {golds[0]!r:.100} earns "
                f"{max(earned[name] for name in asked):g} so, and {best:g} as {paid[0] if paid else 'bare text'}",
                "Ask for a layout that the reward reads, or choose another reward",
            )
        elif best <= nothing and not is_routed:
            yield warning(
                "unpaid-gold",
                self.where,
                f"the right answer {golds[0]!r:.100} earns {best:g} as {', '.join(LAYOUTS)}",
                "Score a right completion with `axolotl-grpo reward score`. Let the reward read its layout, or "
                "compare text with text",
            )


def _answered(rows: Sequence[Sample], reads: Names) -> tuple[list[Sample], Texts]:
    """Return the samples whose gold answer is known, and the gold answers."""
    golds = [gold_of(sample.row, reads) for sample in rows]
    answered = [
        (sample, gold) for sample, gold in zip(rows, golds, strict=True) if gold is not None
    ]
    return [sample for sample, _ in answered], [gold for _, gold in answered]
