"""Rewards that shape what another one pays: by length, by reasoning steps, by being right.

A reward that is named in `by` says which completions are right: those to which it gives its highest
score. It is one of these modules', or of your own, that scores one completion (`@reward`). Lengths are
tokens. For what is missing here take TRL's, which need no other: `trl.rewards.get_soft_overlong_punishment`
(DAPO) and `trl.rewards.get_repetition_penalty_reward`. tests/rewards/test_shaping.py has what each must score.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import cos, pi
from typing import Any

from axolotl_grpo_plugin.completions import reasoning_of
from axolotl_grpo_plugin.load import RewardRef, load_reward
from axolotl_grpo_plugin.reward import (
    GroupReward,
    Reward,
    Score,
    group_reward,
    made_of,
    reward,
)

_ENOUGH_STEPS = 3
_FEWEST_WORDS = 3  # of a step: fewer say nothing
_OPERATOR = re.compile(r"[=+*/^<>%×÷≤≥≈]")
_WORDS = "first second third next then finally".split()
# At the start of a line: "Step 1:", "### Step 1", "**1.** ", "1) ", "- ", "First,".
_STEP = re.compile(
    r"(?:#{1,6} )?[*_]{0,3}(?:step ([0-9]{1,3})(?![0-9])[.:)]?|([0-9]{1,3})[.:)](?=[ *_]|$)"
    rf"|({'|'.join(_WORDS)})(?:ly)?,|[-*•] )",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"step [0-9]+", re.IGNORECASE)
_WORD = re.compile(r"\w+")


@reward(range=(0.0, 1.0), reasons="enough_steps few_steps no_steps".split(), inline=True)
def reasoning_steps_reward_func(completion: str) -> Score:
    r"""A third for each step that the thinking is parted into, 1.0 at most.

    The thinking is the text before `</think>` (or `</reasoning>`). A step begins a line: "Step 1:", "1.",
    "- " or "First,". Numbers must rise, and each word begins at most one step. A step has at least three
    words, with two different ones of two or more letters, or with a number and an operator ("x + y = 5").
    A repeated step counts once. No rule on words detects nonsense: weigh this reward below correctness.

    Source: open-r1's `reasoning_steps_reward` (https://github.com/huggingface/open-r1, Apache-2.0), which pays the markers alone.

    >>> reasoning_steps_reward_func([""], ["<think>1. Nine eggs are left.\n2. At $2 each: 18.</think>18"])
    [0.6666666666666666]
    """
    steps = len(_steps(reasoning_of(completion)))
    reason = "no_steps" if not steps else "few_steps" if steps < _ENOUGH_STEPS else "enough_steps"
    return Score(min(steps / _ENOUGH_STEPS, 1.0), reason)


def _steps(thinking: str) -> set[str]:
    """Return the words of each step that has content, for at most as many steps as are paid."""
    said: set[str] = set()
    for text in _parts(thinking):
        if len(said) == _ENOUGH_STEPS:
            break
        words = _WORD.findall(_NUMBERED.sub("", text).lower())
        words = [word for word in words if word not in _WORDS]
        if len(words) >= _FEWEST_WORDS and _has_content(words, text):
            said.add(" ".join(words))
    return said


def _has_content(words: Sequence[str], text: str) -> bool:
    """Return whether a step has two different longer words, or calculates with a number."""
    longer = {word for word in words if len(word) > 1 and word.isalpha()}
    has_number = any(map(str.isdecimal, words))
    return len(longer) > 1 or (has_number and _OPERATOR.search(text) is not None)


def _parts(thinking: str) -> Iterator[str]:
    """What stands from the begin of a step to the next one's, or to the end."""
    part: list[str] | None = None  # what stands before the first is none
    highest, used = 0, set()
    for line in map(str.strip, thinking.split("\n")):
        begun = _STEP.match(line)
        number = int(begun[1] or begun[2] or 0) if begun else 0
        word = (begun[3] or "").lower() if begun else ""
        if begun and (number > highest if number else word not in used):
            if part:
                yield "\n".join(part)
            part, line = [], line[begun.end() :]
            highest = max(highest, number)
            used |= {word} - {""}
        if part is not None and line:
            part.append(line)
    if part:
        yield "\n".join(part)


def cosine_length(
    by: str,
    max_len: int,
    by_args: Mapping[str, Any] | None = None,
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
) -> Reward:
    """Right completions earn the more the shorter they are, wrong ones the more the longer, along a cosine.

    From max_value_correct (no token) to min_value_correct (max_len tokens and more), and from min_value_wrong
    to max_value_wrong. TRL's `get_cosine_scaled_reward` with a correctness of one's own: TRL's takes
    LaTeX alone for an answer. None, with its reason, where `by` gives none (an unreadable gold).

    Args:
        by: the dotted path of the reward that says what is right; by_args: its options.
        max_len: tokens, `trl.max_completion_length` as a rule.

    Source: https://arxiv.org/abs/2502.03373, appendix C.1.

    Raises: TypeError where `by` does not score one completion; ValueError for a max_len below 1.

    >>> short = cosine_length("axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func", max_len=4)
    >>> short([""], ["<answer>18</answer>"], answer=["18"], completion_ids=[[1, 2]])
    [0.75]
    """
    if max_len < 1:
        raise ValueError(f"max_len {max_len} is less than one token")
    judge = _scorer("cosine_length", by, by_args)
    lowest, highest = sorted(
        [min_value_wrong, max_value_wrong, min_value_correct, max_value_correct]
    )[::3]

    def shape(found: Sequence[Score], columns: Mapping[str, Any]) -> Score:
        (verdict,) = found
        if verdict.value is None:
            return verdict
        short, long = min_value_wrong, max_value_wrong
        if verdict.value >= judge.range[1]:
            short, long = max_value_correct, min_value_correct
        share = (1 + cos(pi * min(len(columns["completion_ids"]) / max_len, 1.0))) / 2
        value = long + (short - long) * share
        return verdict._replace(value=min(max(value, lowest), highest))  # else a rounding off

    return _shaped("cosine_length", [judge], shape, (lowest, highest), reads=["completion_ids"])


def kimi_length(by: str, by_args: Mapping[str, Any] | None = None) -> GroupReward:
    """0.5 for the shortest completion of a prompt group down to -0.5 for the longest; wrong ones earn 0 at most.

    0.5 - (length - shortest) / (longest - shortest), and 0 for all where their lengths are the same. None,
    with its reason, where `by` gives none (an unreadable gold).

    Args:
        by: the dotted path of the reward that says what is right; by_args: its options.

    Source: Kimi k1.5, https://arxiv.org/abs/2501.12599, section 2.3.3.

    Raises: TypeError where `by` does not score one completion.

    >>> short = kimi_length("axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func")
    >>> right, ids = "<answer>18</answer>", [[1], [1, 2], [1, 2, 3], [1, 2, 3]]
    >>> short(["p"] * 4, ["", right, right, ""], answer=["18"] * 4, completion_ids=ids)
    [0.0, 0.0, -0.5, -0.5]
    """
    judge = _scorer("kimi_length", by, by_args)

    @group_reward(
        range=(-0.5, 0.5),
        reads=tuple(dict.fromkeys([*judge.spec.reads, "completion_ids"])),
        reasons=judge.spec.reasons,
        inline=judge.spec.inline,
        ready=judge.ready,
        may_read=judge.spec.may_read,
    )
    def kimi_length(completions: list[str], **columns: Any) -> list[Score]:
        lengths = [len(ids) for ids in columns["completion_ids"]]
        spread = max(lengths) - min(lengths)
        scores = []
        for place, (completion, length) in enumerate(zip(completions, lengths, strict=True)):
            row = {name: columns[name][place] for name in (*judge.spec.reads, *judge.spec.may_read)}
            verdict = judge.score(completion, **row)
            if verdict.value is not None:
                value = 0.5 - (length - min(lengths)) / spread if spread else 0.0
                right = verdict.value >= judge.range[1]
                verdict = verdict._replace(value=value if right else min(value, 0.0))
            scores.append(verdict)
        return scores

    return GroupReward(kimi_length.function, replace(kimi_length.spec, inner=(judge,)))


def gated(
    reward: str,
    by: str,
    reward_args: Mapping[str, Any] | None = None,
    by_args: Mapping[str, Any] | None = None,
) -> Reward:
    """What another reward pays, to right completions alone: a format earns nothing around a wrong answer.

    Where `by` gives less than its highest score, 0.0 ("gated"). A negative score stays, or a wrong answer
    would escape a penalty. None, with its reason, where one of the two gives none.

    Args:
        reward, by: dotted paths of rewards of one completion; reward_args, by_args: their options.

    Raises: TypeError where one of them does not score one completion.

    >>> rewards = "axolotl_grpo_plugin.rewards.gsm8k"
    >>> tidy = gated(f"{rewards}.soft_format_reward_func", by=f"{rewards}.correctness_reward_func")
    >>> tidy([""], ["<reasoning>9 * 2</reasoning><answer>18</answer>"], answer=["17"])
    [0.0]
    """
    paid, judge = _scorer("gated", reward, reward_args), _scorer("gated", by, by_args)

    def shape(found: Sequence[Score], columns: Mapping[str, Any]) -> Score:
        score, verdict = found
        if verdict.value is None or score.value is None:
            return verdict if verdict.value is None else score
        if verdict.value >= judge.range[1] or score.value < 0:
            return score
        return Score(0.0, "gated", score.read)

    lowest, highest = paid.range
    limits = (min(lowest, 0.0), max(highest, 0.0))
    return _shaped("gated", [paid, judge], shape, limits, reasons=["gated"])


def _scorer(factory: str, path: str, arguments: Mapping[str, Any] | None) -> Reward:
    try:
        made = load_reward(RewardRef.of(path, arguments or {}))
    except Exception as error:
        raise TypeError(f"{factory}: {path}: {type(error).__name__}: {error}") from error
    if not isinstance(made, Reward):
        raise TypeError(
            f"{factory}: {path} does not score one completion. Name one that `@reward` made"
        )
    return made


def _shaped(
    name: str,
    inner: Sequence[Reward],
    shape: Callable[[Sequence[Score], Mapping[str, Any]], Score],
    limits: tuple[float, float],
    reads: Sequence[str] = (),
    reasons: Sequence[str] = (),
) -> Reward:
    """A reward made of others' scores; `inner` are these."""

    def scorer(how: Callable[..., Score | None]) -> Callable[..., Score | None]:
        def score(completion: str, **columns: Any) -> Score | None:
            found = [
                how(each, completion, **{read: columns.get(read) for read in _columns(each)})
                for each in inner
            ]
            scores = [score for score in found if score is not None]
            return shape(scores, columns) if len(scores) == len(inner) else None

        score.__name__ = score.__qualname__ = name
        return score

    def ready() -> None:
        for each in inner:
            each.ready()

    def row_problem(**columns: Any) -> str:
        problems = (
            each.spec.row_problem(**{read: columns[read] for read in each.spec.reads})
            for each in inner
            if each.spec.row_problem
        )
        return next(filter(None, problems), "")

    specs = [each.spec for each in inner]
    made = reward(
        range=limits,
        reads=tuple(dict.fromkeys([*(read for each in specs for read in each.reads), *reads])),
        may_read=[read for each in specs for read in each.may_read],
        reasons=tuple(dict.fromkeys([*(why for each in specs for why in each.reasons), *reasons])),
        inline=all(each.inline for each in specs),
        first=scorer(Reward.quick),
        ready=ready,
        row_problem=row_problem if any(each.row_problem for each in specs) else None,
    )(scorer(Reward.score))
    return made_of(made, inner)


def _columns(reward: Reward) -> tuple[str, ...]:
    return (*reward.spec.reads, *reward.spec.may_read)
