"""Run the transforms on a few real rows, and the rewards on made-up completions for them."""

import json
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from inspect import signature
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from axolotl_grpo_plugin.checks.batch import GENERATIONS
from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, Level, at, first_line, raised
from axolotl_grpo_plugin.hub import is_on_hub, skipped
from axolotl_grpo_plugin.limits import PATIENCE
from axolotl_grpo_plugin.load import not_ready
from axolotl_grpo_plugin.reward import NOT_COLUMNS, BaseReward, PlainReward
from axolotl_grpo_plugin.rewards.math import read_gold
from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.scoring.guard import TOO_SLOW, GuardedReward
from axolotl_grpo_plugin.scoring.worker import Outcome
from axolotl_grpo_plugin.stats.measure import PROMPT_FIX, problem_of
from axolotl_grpo_plugin.stats.rows import Row, Source, Transform, Unreadable, read
from axolotl_grpo_plugin.stats.tokenizer import LazyTokenizer, TokenizerError, name_of
from axolotl_grpo_plugin.transforms.gsm8k import worked
from axolotl_grpo_plugin.transforms.rows import DATASET_FIX, DatasetError

if TYPE_CHECKING:  # it imports torch
    from axolotl_grpo_plugin.scoring.runner import RewardRunner

MAX_ROWS = 2  # of each dataset, because a judge among the rewards may cost money
MAX_COMPLETIONS = 64  # of a row, for the same reason

# Functions that write a right answer in the layout that the transform's prompt asks for. They get the
# row before and after the transform. Some tasks of reasoning-gym store no answer.
GOLD: dict[str, Callable[[Row, Row], str | None]] = {
    "axolotl_grpo_plugin.gsm8k": lambda raw, row: worked(raw["answer"], "gold"),
    "axolotl_grpo_plugin.gym": lambda raw, row: (
        (answer := json.loads(row["entry"])["answer"]) and f"<answer>{answer}</answer>"
    ),
    "axolotl_grpo_plugin.qa": lambda raw, row: worked(
        f"It is known. #### {read_gold(row['answer']) or row['answer']}", "gold"
    ),
    "axolotl_grpo_plugin.math": lambda raw, row: rf"\boxed{{{row['solution']}}}",
}

# For other transforms: the columns that hold a gold answer, and the layouts in which a reward may read it.
ANSWERS = ("answer", "solution", "ground_truth", "gold", "label")
LAYOUTS: dict[str, Callable[[str], str]] = {
    "<answer>": lambda gold: worked(f"It is known. #### {gold}", "gold"),
    r"\boxed{}": lambda gold: rf"It is \boxed{{{gold}}}.",
    "####": lambda gold: f"It is known.\n#### {gold}",
    "<think>": lambda gold: f"<think>\nIt is known.\n</think>\n<answer>\n{gold}\n</answer>",
    "<think> ####": lambda gold: f"<think>\nIt is known.\n</think>\n#### {gold}",
    "bare text": str,
}


class Sample(NamedTuple):
    """A transformed row, and a right answer to it if one is known."""

    row: Row
    gold: str | None


class RewardError(Exception):
    """A reward returned no score that TRL can use. share: of the completions, 0 to 1."""

    def __init__(self, what: str, fix: str, share: float, detail: str):
        super().__init__(what)
        self.fix, self.share, self.detail = fix, share, detail


def samples(
    cfg: Any, source: Source, offline: bool, limit: int = MAX_ROWS
) -> list[Sample] | Finding:
    """Transform the first `limit` rows of a dataset. Return a finding if that fails.

    offline: a dataset that is only on the hub makes a skipped check.
    """
    where = at(cfg, source.name)
    problems: list[str] = []
    try:
        transform = Transform(source, cfg, LazyTokenizer(cfg))
        batches = read(source, cfg, lambda *_: None, lambda row, what: problems.append(what))
        rows = list(islice(next(batches), limit))
    except Unreadable as error:
        on_hub = offline and is_on_hub(source.entry.get("path"))
        return skipped(where) if on_hub else error.finding
    if problems:
        return Finding(where, problems[0], "Correct the file")
    try:
        transformed = [each for row in rows for each in transform([row])]
    except TokenizerError as error:
        on_hub = offline and is_on_hub(name_of(cfg))
        return skipped(where) if on_hub else error.finding
    except DatasetError as error:
        what = str(error).removeprefix(source.name).lstrip(":, ")
        what, _, fix = what.rpartition(". ") if what.endswith(".") else (what, "", DATASET_FIX)
        return Finding(where, what, fix)
    except Exception as error:  # a user's transform
        what = f"the transform raised {type(error).__name__} on the first rows: {first_line(error)}"
        fix = "Correct it, or name another in `type:`, for example axolotl_grpo_plugin.qa"
        return Finding(where, what, fix, traceback.format_exc())
    # A user's own prompt may ask for any layout.
    own = cfg.get("grpo_system_prompt") or cfg.get("grpo_prompt_template")
    gold = None if own else GOLD.get(str(source.entry.get("type")))
    found = []
    for (_, raw), made in zip(rows, transformed, strict=True):
        for row in made[:limit]:
            if wrong := problem_of(row):
                return Finding(where, wrong, PROMPT_FIX)
            found.append(Sample(row, gold(raw, row) if gold else None))
    return found


def check_samples(cfg: Any, rows: Sequence[Sample]) -> Generator[Finding, None, list[str]]:
    """Check that each reward scores whole groups as TRL calls it, and pays right answers only.

    rows: of all datasets. Their columns are merged as datasets does. Returns a line for each reward
    that had to read gold answers in several layouts, because the prompt's layout is not known.
    """
    from axolotl_grpo_plugin.scoring.runner import RewardRunner

    found, columns = _groups(cfg, rows)
    notes = list[str]()
    with closing(RewardRunner(cfg)) as runner:
        for where, key, function in functions_in(cfg):
            if not_ready(function):
                continue
            missing = sorted({*function.spec.reads} - NOT_COLUMNS - {*columns})
            if missing:
                what = f'it reads "{missing[0]}", which the rows lack (they have: {", ".join(columns)})'
                yield Finding(where, what, "Let the transform keep or make that column")
                continue
            scores = partial(_scores, cfg, runner.guards[key], columns)
            try:
                nothing = yield from _check_reward(where, function, found, scores)
                unknown = [sample for sample in rows if sample.gold is None]
                if unknown and {*function.spec.reads} - NOT_COLUMNS:
                    note = yield from _try_layouts(where, function, unknown, scores, nothing)
                    notes.append(f"{key}: {note}")
            except RewardError as error:
                yield Finding(where, str(error), error.fix, error.detail)
    return notes


def gold_scores(cfg: Any, sample: Sample) -> tuple[str, dict[str, float]]:
    """Return a right answer to a sample, in the layout that earns the most, and its score of each reward.

    Both are empty if no right answer is known.
    """
    column = next((name for name in ANSWERS if sample.row.get(name) is not None), "")
    answers = [sample.gold] if sample.gold else []
    if not answers and column:
        text = as_text(sample.row[column])
        answers = [layout(read_gold(text) or text) for layout in LAYOUTS.values()]
    from axolotl_grpo_plugin.scoring.runner import RewardRunner

    found, columns = _groups(cfg, [sample])
    tried = list[tuple[str, dict[str, float]]]()
    with closing(RewardRunner(cfg)) as runner:
        for answer in answers:
            earned = {}
            for _, key, function in functions_in(cfg):
                if not not_ready(function):
                    texts = [answer] * len(found)
                    scores = _scores(cfg, runner.guards[key], columns, found, texts)
                    earned[key] = max(scores, default=0.0)
            tried.append((answer, earned))
    return max(tried, key=lambda each: sum(each[1].values()), default=("", {}))


def check_row(cfg: Any, runner: "RewardRunner", row: Row) -> Iterator[Finding]:
    """Check, before the model loads, that the rewards of a run score a row: its prompt is the completion.

    It is an error if the run would stop at such a batch: at least half of the scores fail, and
    `grpo_reward_error_limit` is not 1.
    """
    found, columns = _groups(cfg, [Sample(row, None)])
    for where, key, _ in functions_in(cfg):
        try:
            _scores(cfg, runner.guards[key], columns, found, list(map(prompt_text, found)))
        except RewardError as error:
            stops = error.share >= 0.5 and runner.settings.error_limit < 1
            level: Level = "error" if stops else "warning"
            yield Finding(where, str(error), error.fix, level=level)


def _groups(cfg: Any, found: Sequence[Sample]) -> tuple[list[Sample], list[str]]:
    """Return each sample once per completion of its prompt group, and the columns of all."""
    group = tokens_of(block(cfg, "trl").get("num_generations")) or GENERATIONS
    columns = list(dict.fromkeys(column for sample in found for column in sample.row))
    return [sample for sample in found for _ in range(min(group, MAX_COMPLETIONS))], columns


def _check_reward(
    where: str, function: BaseReward, found: Sequence[Sample], scores: Callable[..., list[float]]
) -> Generator[Finding, None, float]:
    """Return the score of an empty completion."""
    empty = scores(found, [""] * len(found))
    nothing = max(empty, default=0.0)
    if nothing > 0:
        what = f"an empty completion earns {nothing:g}"
        fix = "Score it 0, because the model learns the easiest way to a reward"
        yield Finding(where, what, fix, level="warning")
    repeats = scores(found, list(map(prompt_text, found)))
    repeated = max(repeats, default=0.0)
    if repeated > max(nothing, 0):
        what = f"the prompt, repeated as the completion, earns {repeated:g}"
        fix = (
            "Score only the model's own answer, unless any text of some length should earn a reward"
        )
        yield Finding(where, what, fix, level="warning")
    solved = [sample for sample in found if sample.gold is not None]
    earned = scores(solved, [str(sample.gold) for sample in solved]) if solved else []
    if not (empty or repeats or earned):
        what = "it gives no score to an empty completion, to the prompt or to a right answer"
        fix = "Return a number, unless the row belongs to another task"
        yield Finding(where, what, fix, level="warning")
    if earned and not _reads_token_ids(function):
        yield from _check_gold(where, function, max(earned), nothing, str(solved[0].gold))
    return nothing


def _try_layouts(
    where: str,
    function: BaseReward,
    rows: Sequence[Sample],
    scores: Callable[..., list[float]],
    nothing: float,
) -> Generator[Finding, None, str]:
    """Check that a right answer earns more than an empty completion does. Return the layouts that it takes."""
    if function.spec.inner:  # one of them may want another layout
        return "not tried with a right answer, because it is made of other rewards"
    column = next((name for name in ANSWERS if name in function.spec.reads), "")
    solved = [sample for sample in rows if isinstance(sample.row.get(column), str | int | float)]
    if not solved:
        return f"not tried with a right answer, because it reads {', '.join(function.spec.reads)}"
    golds = [as_text(sample.row[column]) for sample in solved]
    golds = [read_gold(gold) or gold for gold in golds]
    earned = {
        name: max(scores(solved, list(map(layout, golds))), default=0.0)
        for name, layout in LAYOUTS.items()
    }
    best = max(earned.values())
    if best <= max(nothing, 0):
        what = f"the right answer {golds[0]!r:.100} earns {best:g} as {', '.join(LAYOUTS)}"
        fix = "Score a right completion with `axolotl grpo score`, and correct the reward"
        yield Finding(where, what, fix, level="warning")
    taken = (name for name, score in earned.items() if score == best)
    return f"the right answer {golds[0]!r:.60} earns {best:g} as {', '.join(taken)}"


def _check_gold(
    where: str, function: BaseReward, best: float, nothing: float, gold: str
) -> Iterator[Finding]:
    """Check that a right answer earns the maximum if the reward reads a column, else more than "" does.

    For a reward that routes, the maximum may be another task's.
    """
    highest, routes = function.highest, function.spec.unroutable is not None
    shown = gold if len(gold) < 100 else f"{gold[:30]}...{gold[-60:]}"
    if highest is not None and function.spec.reads and best < highest and not routes:
        what = f"the right answer {shown!r} earns {best:g}, but the maximum is {highest:g}"
        fix = "Let the reward read the layout that the transform asks for"
        yield Finding(where, what, fix)
    elif best <= max(nothing, 0) and (highest is None or highest > 0):
        what = f"the right answer {shown!r}, in the layout that the prompt asks for, earns {best:g}"
        fix = "Reward this layout, or ask for another one in grpo_system_prompt"
        yield Finding(where, what, fix, level="warning")


def _reads_token_ids(function: BaseReward) -> bool:
    """Return whether the score depends on the number of tokens, which is not real in these samples."""
    if isinstance(function, PlainReward):
        return "completion_ids" in signature(function.function).parameters
    return "completion_ids" in function.spec.reads


def as_completion(row: Row, text: str) -> Any:
    """Return a completion as TRL passes it: a text, or a chat if the prompt is one."""
    return text if isinstance(row["prompt"], str) else [{"role": "assistant", "content": text}]


def prompt_text(sample: Sample) -> str:
    prompt = sample.row["prompt"]
    return prompt if isinstance(prompt, str) else text_of([{**prompt[-1], "role": "assistant"}])


def _scores(
    cfg: Any,
    guard: GuardedReward,
    columns: list[str],
    found: Sequence[Sample],
    texts: Sequence[str],
) -> list[float]:
    """Return the reward's scores of completions, without None, as in a training. Raises: RewardError."""
    batch = {name: [sample.row.get(name) for sample in found] for name in columns}
    pairs = zip(found, texts, strict=True)
    completions = [as_completion(sample.row, text) for sample, text in pairs]
    ids = [list(range(len(text.split()))) for text in texts]
    steps = max(1, tokens_of(cfg.get("max_steps")) or 1)
    limit, guard.limit = guard.limit, min(guard.limit, PATIENCE * guard.timeout)
    outcomes = guard.outcomes_of(batch.pop("prompt"), completions, ids, batch, steps)
    guard.limit = limit
    failed = [each for each in outcomes if each.error or each.reason == TOO_SLOW]
    if failed:
        raise _error(guard, failed[0], len(failed) / len(found), found[0].row)
    return [each.value for each in outcomes if each.value is not None]


def _error(guard: GuardedReward, outcome: Outcome, share: float, row: Row) -> RewardError:
    if outcome.timed_out or outcome.reason == TOO_SLOW:
        what = f"it took more than {guard.timeout:g} s of CPU time for one completion"
        if outcome.timed_out:
            what = f"the row was {outcome.error}"
        return RewardError(what, "Make it faster, or raise grpo_reward_timeout", share, "")
    if "\n" not in outcome.error:
        return RewardError(f"it {outcome.error}", "Correct the reward", share, "")
    types = " and ".join(
        f"{name} is {type(value).__name__}"
        for name, value in row.items()
        if name != "prompt" and not isinstance(value, str)
    )
    what = f"it raised {raised(outcome.error)}" + f". In this row, {types}" * bool(types)
    return RewardError(what, "Correct the reward", share, outcome.error)
