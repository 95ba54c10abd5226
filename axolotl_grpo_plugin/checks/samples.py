"""Run the transforms on a few real rows, and the rewards on made-up completions for them."""

import asyncio
import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import signature
from itertools import islice
from math import isinf, isnan
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks.batch import GENERATIONS
from axolotl_grpo_plugin.checks.rewards import functions_in
from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, at, first_line
from axolotl_grpo_plugin.hub import is_on_hub, skipped
from axolotl_grpo_plugin.load import not_ready
from axolotl_grpo_plugin.reward import NOT_COLUMNS, BaseReward, PlainReward
from axolotl_grpo_plugin.rewards.math import read_gold
from axolotl_grpo_plugin.stats.measure import problem_of
from axolotl_grpo_plugin.stats.rows import Row, Source, Transform, Unreadable, read
from axolotl_grpo_plugin.stats.tokenizer import LazyTokenizer, TokenizerError, name_of
from axolotl_grpo_plugin.transforms.gsm8k import worked
from axolotl_grpo_plugin.transforms.rows import DatasetError

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


class Sample(NamedTuple):
    """A transformed row, and a right answer to it if one is known."""

    row: Row
    gold: str | None


class RewardError(Exception):
    """A reward returned something that TRL cannot use."""


def samples(cfg: Any, source: Source, offline: bool) -> list[Sample] | Finding:
    """Transform the first rows of a dataset. Return a finding if that fails.

    offline: a dataset that is only on the hub makes a skipped check.
    """
    where = at(cfg, source.name)
    problems: list[str] = []
    try:
        transform = Transform(source, cfg, LazyTokenizer(cfg))
        batches = read(source, cfg, lambda *_: None, lambda row, what: problems.append(what))
        rows = list(islice(next(batches), MAX_ROWS))
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
        what, _, fix = str(error).removeprefix(source.name).lstrip(":, ").partition(". ")
        return Finding(where, what, fix or "Correct the row, or name another transform in `type:`")
    except Exception as error:  # a user's transform
        what = f"the transform raised {type(error).__name__} on the first rows: {first_line(error)}"
        fix = "Correct it, or name another in `type:`, for example axolotl_grpo_plugin.qa"
        return Finding(where, what, fix, _traceback(error))
    # A user's own prompt may ask for any layout.
    gold = None if cfg.get("grpo_system_prompt") else GOLD.get(str(source.entry.get("type")))
    found = []
    for (_, raw), made in zip(rows, transformed, strict=True):
        for row in made[:MAX_ROWS]:
            if wrong := problem_of(row):
                return Finding(where, wrong, "Correct the transform")
            found.append(Sample(row, gold(raw, row) if gold else None))
    return found


def check_samples(cfg: Any, found: Sequence[Sample]) -> Iterator[Finding]:
    """Check that each reward scores whole groups as TRL calls it, and pays right answers only.

    found: rows of all datasets. Their columns are merged as datasets does.
    """
    if not block(cfg, "trl").get("reward_funcs"):
        what = "no reward is named, but TRL needs one"
        yield Finding(at(cfg, "trl.reward_funcs"), what, "Name at least one")
        return
    from transformers import TrainerState

    group = tokens_of(block(cfg, "trl").get("num_generations")) or GENERATIONS
    found = [sample for sample in found for _ in range(min(group, MAX_COMPLETIONS))]
    columns = list(dict.fromkeys(column for sample in found for column in sample.row))
    state = TrainerState(max_steps=max(1, tokens_of(cfg.get("max_steps")) or 1))
    for where, _, function in functions_in(cfg):
        if not_ready(function):
            continue
        missing = sorted({*function.spec.reads} - NOT_COLUMNS - {*columns})
        if missing:
            what = f'it reads "{missing[0]}", which the rows lack (they have: {", ".join(columns)})'
            yield Finding(where, what, "Let the transform keep or make that column")
            continue
        try:
            yield from _check_reward(
                where, function, found, partial(_scores, function, columns, state)
            )
        except RewardError as error:
            detail = _traceback(error.__cause__) if error.__cause__ else ""
            yield Finding(where, str(error), "Correct the reward", detail)


def _check_reward(
    where: str, function: BaseReward, found: Sequence[Sample], scores: Callable[..., list[float]]
) -> Iterator[Finding]:
    nothing = max(scores(found, [""] * len(found)), default=0.0)
    if nothing > 0:
        what = f"an empty completion earns {nothing:g}"
        fix = "Score it 0, because the model learns the easiest way to a reward"
        yield Finding(where, what, fix, level="warning")
    prompts = [_last_message(sample.row) for sample in found]
    repeated = max(scores(found, prompts), default=0.0)
    if repeated > max(nothing, 0):
        what = f"the prompt, repeated as the completion, earns {repeated:g}"
        fix = (
            "Score only the model's own answer, unless any text of some length should earn a reward"
        )
        yield Finding(where, what, fix, level="warning")
    solved = [sample for sample in found if sample.gold is not None]
    earned = scores(solved, [str(sample.gold) for sample in solved]) if solved else []
    if earned and not _reads_token_ids(function):
        yield from _check_gold(where, function, max(earned), nothing, str(solved[0].gold))


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
    if not isinstance(function, PlainReward):
        return "completion_ids" in function.spec.reads
    try:
        return "completion_ids" in signature(function.function).parameters
    except ValueError:
        return False  # compiled functions may hide their parameters


def _last_message(row: Row) -> str:
    prompt = row["prompt"]
    return prompt if isinstance(prompt, str) else text_of([{**prompt[-1], "role": "assistant"}])


def _scores(
    function: Any, columns: list[str], state: Any, found: Sequence[Sample], texts: Sequence[str]
) -> list[float]:
    """Return the reward's scores of completions, without None and NaN. Raises: RewardError."""
    batch = {name: [sample.row.get(name) for sample in found] for name in columns}
    completions: Sequence[Any] = texts
    if not isinstance(found[0].row["prompt"], str):
        completions = [[{"role": "assistant", "content": text}] for text in texts]
    call = partial(
        function,
        prompts=batch.pop("prompt"),
        completions=completions,
        completion_ids=[list(range(len(text.split()))) for text in texts],
        trainer_state=state,
        log_extra=lambda *_: None,
        log_metric=lambda *_: None,
        **batch,
    )
    try:
        returned = asyncio.run(call()) if function.is_async else call()
    except Exception as error:  # a user's reward
        raise RewardError(f"it raised {type(error).__name__}: {first_line(error)}") from error
    try:
        scores = list(returned)
    except TypeError as error:
        raise RewardError(f"it returned {returned!r}, not a list of numbers") from error
    if len(scores) != len(found):
        raise RewardError(f"it returned {len(scores)} scores for {len(found)} completions")
    for score in scores:
        if isinstance(score, str) or not (score is None or hasattr(score, "__float__")):
            raise RewardError(f"it returned {score!r}, not a number")
    numbers = [float(score) for score in scores if score is not None]
    if any(map(isinf, numbers)):
        raise RewardError("it returned infinity, so the advantages of the whole group would be 0")
    return [number for number in numbers if not isnan(number)]


def _traceback(error: BaseException) -> str:
    """Return the traceback without the line of this module."""
    below = error.__traceback__ and error.__traceback__.tb_next
    return "".join(traceback.format_exception(type(error), error, below))
