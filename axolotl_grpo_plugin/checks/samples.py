"""Run the transforms on a few real rows, and the rewards on made-up completions for them."""

import asyncio
import json
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import signature
from itertools import islice
from math import isfinite, isnan
from typing import Any, NamedTuple

from axolotl_grpo_plugin.checks.batch import GENERATIONS
from axolotl_grpo_plugin.completions import text_of
from axolotl_grpo_plugin.config import block, tokens_of
from axolotl_grpo_plugin.findings import Finding, at, first_line
from axolotl_grpo_plugin.hub import is_on_hub, skipped
from axolotl_grpo_plugin.load import is_model, load_reward, not_ready, reward_refs
from axolotl_grpo_plugin.reward import NOT_COLUMNS, BaseReward, PlainReward
from axolotl_grpo_plugin.stats.measure import problem_of
from axolotl_grpo_plugin.stats.rows import Row, Source, Transform, Unreadable, read
from axolotl_grpo_plugin.stats.tokenizer import (
    LazyTokenizer,
    TokenizerError,
    name_of,
)
from axolotl_grpo_plugin.transforms.gsm8k import worked

ROWS = 2  # of each dataset: a judge among the rewards may cost money
GROUP = 64  # completions of a row at most, for the same reason

# Functions that make a right answer to a row in the layout that the transform's prompt asks for.
GOLD: dict[str, Callable[[Row, Row], str | None]] = {
    "axolotl_grpo_plugin.gsm8k": lambda raw, row: worked(raw["answer"], "gold"),
    "axolotl_grpo_plugin.gym": lambda raw, row: _gyms(json.loads(row["entry"])["answer"]),
    "axolotl_grpo_plugin.math": lambda raw, row: rf"\boxed{{{row['solution']}}}",
}


def _gyms(answer: str | None) -> str | None:
    return (
        answer and f"<answer>{answer}</answer>"
    )  # some tasks have several right answers and store none


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
        rows = list(islice(next(batches), ROWS))
    except Unreadable as error:
        hubs = offline and is_on_hub(source.entry.get("path"))
        return skipped(where) if hubs else error.finding
    if problems:
        return Finding(where, problems[0], "Fix the file")
    try:
        made = [each for row in rows for each in transform([row])]
    except TokenizerError as error:
        hubs = offline and is_on_hub(name_of(cfg))
        return skipped(where) if hubs else error.finding
    except Exception as error:  # a user's transform
        what = f"the transform raised {type(error).__name__} on the first rows: {first_line(error)}"
        fix = "Fix it, or name another in `type:`, for example axolotl_grpo_plugin.gsm8k"
        return Finding(where, what, fix, _traceback(error))
    found = [(raw, row) for (_, raw), each in zip(rows, made, strict=True) for row in each[:ROWS]]
    for _, row in found:
        if wrong := problem_of(row):
            return Finding(where, wrong, "Fix the transform")
    # A user's own prompt may ask for any layout.
    gold = None if cfg.get("grpo_system_prompt") else GOLD.get(str(source.entry.get("type")))
    return [Sample(row, gold(raw, row) if gold else None) for raw, row in found]


def check_samples(cfg: Any, found: Sequence[Sample]) -> Iterator[Finding]:
    """Check that each reward scores whole groups as TRL calls it, and pays right answers only.

    found: rows of all datasets. Their columns are merged as datasets does.
    """
    if not block(cfg, "trl").get("reward_funcs"):
        what = "names no reward, and TRL needs one"
        yield Finding(at(cfg, "trl.reward_funcs"), what, "Name at least one")
        return
    group = tokens_of(block(cfg, "trl").get("num_generations")) or GENERATIONS
    found = [sample for sample in found for _ in range(min(group, GROUP))]
    steps = max(1, tokens_of(cfg.get("max_steps")) or 1)
    columns = list(dict.fromkeys(column for sample in found for column in sample.row))
    for number, reward in enumerate(reward_refs(cfg)):
        if is_model(reward.key) or not_ready(load_reward(reward)):
            continue
        where = at(cfg, f"trl.reward_funcs[{number}] ({reward.key})")
        function = load_reward(reward)
        reads = set(function.spec.reads) - NOT_COLUMNS
        missing = sorted(reads.difference(columns))
        if missing:
            what = f'reads "{missing[0]}", which the rows lack (they have: {", ".join(columns)})'
            yield Finding(where, what, "Let the transform keep or make that column")
            continue
        try:
            yield from _check_reward(where, function, found, columns, steps)
        except RewardError as error:
            detail = _traceback(error.__cause__) if error.__cause__ else ""
            yield Finding(where, str(error), "Fix it", detail)


def _check_reward(
    where: str, function: BaseReward, found: Sequence[Sample], columns: list[str], steps: int
) -> Iterator[Finding]:
    scored = partial(_scores, function, columns=columns, state=_state(steps))
    nothing = max(scored(found, [""] * len(found)), default=0.0)
    if nothing > 0:
        fix = "Score it 0, because the model learns whatever is easiest"
        what = f"an empty completion earns {nothing:g}"
        yield Finding(where, what, fix, level="warning")
    echoed = max(scored(found, [_asked(sample.row) for sample in found]), default=0.0)
    if echoed > max(nothing, 0):
        what = f"the prompt, repeated as the completion, earns {echoed:g}"
        fix = "Score only the model's own answer, unless any text of some length should earn"
        yield Finding(where, what, fix, level="warning")
    solved = [sample for sample in found if sample.gold is not None]
    earned = scored(solved, [str(sample.gold) for sample in solved])
    if earned and not _is_by_length(function):
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
        what = f"the right answer earns {best:g} of {highest:g}: {shown!r}"
        fix = "Let the reward read the layout that the transform asks for"
        yield Finding(where, what, fix)
    elif best <= max(nothing, 0) and (highest is None or highest > 0):
        what = (
            f"the right answer, in the layout that the prompt asks for, earns {best:g}: {shown!r}"
        )
        fix = "Reward this layout, or ask for the other in grpo_system_prompt"
        yield Finding(where, what, fix, level="warning")


def _is_by_length(function: BaseReward) -> bool:
    """Return whether the reward reads token ids. Its score then depends on a length that samples lack."""
    if not isinstance(function, PlainReward):
        return "completion_ids" in function.spec.reads
    try:
        return "completion_ids" in signature(function.function).parameters
    except ValueError:
        return False  # compiled functions may hide their parameters


def _asked(row: Row) -> str:
    prompt = row["prompt"]
    return prompt if isinstance(prompt, str) else text_of([{**prompt[-1], "role": "assistant"}])


def _scores(
    function: Any,
    found: Sequence[Sample],
    completions: Sequence[str],
    columns: list[str],
    state: Any,
) -> list[float]:
    """Return the reward's scores without None. Raises RewardError."""
    if not found:
        return []
    chat = not isinstance(found[0].row["prompt"], str)
    batch = {name: [sample.row.get(name) for sample in found] for name in columns}
    call = partial(
        function,
        prompts=batch.pop("prompt"),
        completions=[
            [{"role": "assistant", "content": text}] if chat else text for text in completions
        ],
        completion_ids=[list(range(len(text.split()))) for text in completions],
        trainer_state=state,
        log_extra=lambda *_: None,
        log_metric=lambda *_: None,
        **batch,
    )
    try:
        given = asyncio.run(call()) if function.is_async else call()
    except Exception as error:  # a user's reward
        raise RewardError(f"raised {type(error).__name__}: {first_line(error)}") from error
    return _read(given, len(found))


def _traceback(error: BaseException) -> str:
    """Return the traceback without the line of this module."""
    below = error.__traceback__ and error.__traceback__.tb_next
    return "".join(traceback.format_exception(type(error), error, below))


def _state(steps: int) -> Any:
    from transformers import TrainerState

    return TrainerState(max_steps=steps)


def _read(given: Any, rows: int) -> list[float]:
    try:
        scores = list(given)
    except TypeError as error:
        raise RewardError(f"returned {given!r}, not a list of numbers") from error
    if len(scores) != rows:
        raise RewardError(f"returned {len(scores)} scores for {rows} completions")
    for score in scores:
        if isinstance(score, str) or not (score is None or hasattr(score, "__float__")):
            raise RewardError(f"returned {score!r}, not a number")
    numbers = [float(score) for score in scores if score is not None]
    if any(not isfinite(number) and not isnan(number) for number in numbers):
        raise RewardError("returned infinity, which makes its whole group's advantages 0")
    return [number for number in numbers if not isnan(number)]
