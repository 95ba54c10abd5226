"""Rewards that change the scores of another reward: by length, by reasoning steps, by being right.

The reward in `by`, a dotted path, decides which completions are right: a right one gets its highest score. It
can be any reward of one completion (`@reward`), else TypeError is raised. `by_args` are its options. If it gives
None (an unreadable gold), so do the rewards here. Lengths are in tokens. TRL has more length rewards:
`trl.rewards.get_soft_overlong_punishment` (DAPO) and `trl.rewards.get_repetition_penalty_reward`.
"""

import re
from math import cos, pi
from typing import Any

from axolotl_grpo_plugin.completions import Names, Texts
from axolotl_grpo_plugin.load import load_scorer
from axolotl_grpo_plugin.reward import GroupReward, Options, Reward, Score, Scores, reward
from axolotl_grpo_plugin.rewards.combined import Combined, joint_spec
from axolotl_grpo_plugin.thinking import thinking_of

_ENOUGH_STEPS = 3
_FEWEST_WORDS = 3  # of a step
_LONGEST = 300_000  # characters of a reasoning that are read, because each line takes time
_OPERATOR = re.compile(r"[=+*/^<>%×÷≤≥≈]")
_WORDS = ("first", "second", "third", "next", "then", "finally")
# The start of a line: "Step 1:", "### Step 1", "**1.** ", "1) ", "- ", "First,".
_STEP = re.compile(
    r"(?:#{1,6} )?[*_]{0,3}(?:step ([0-9]{1,3})(?![0-9])[.:)]?|([0-9]{1,3})[.:)](?=[ *_]|$)"
    rf"|({'|'.join(_WORDS)})(?:ly)?,|[-*•] )",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"step [0-9]+", re.IGNORECASE)
_WORD = re.compile(r"\w+")

Pair = tuple[float, float]


@reward(range=(0.0, 1.0), reasons=("enough_steps", "few_steps", "no_steps"), inline=True)
def reasoning_steps_reward_func(completion: str) -> Score:
    r"""Return a third for each step of the reasoning, at most 1.0.

    The reasoning is the text before `</think>` or `</reasoning>`. A step begins a line with "Step 1:", "1.",
    "- " or "First,". Numbers must rise, and each word begins at most one step. A step has at least three
    words. Two of them differ and have two or more letters, or there is a number and an operator
    ("x + y = 5"). A repeated step counts once. Only the first 300,000 characters of the reasoning count. The
    reward cannot detect nonsense, so give it a low weight.

    Source: open-r1's `reasoning_steps_reward` (https://github.com/huggingface/open-r1, Apache-2.0), which
    only counts the markers.

    >>> reasoning_steps_reward_func([""], ["<think>1. Nine eggs are left.\n2. At $2 each: 18.</think>18"])
    [0.6666666666666666]
    """
    thinking = thinking_of(completion)
    steps = len(_steps(thinking[:_LONGEST]))
    if steps == 0:
        return Score(0.0, "no_steps")
    if steps < _ENOUGH_STEPS:
        return Score(steps / _ENOUGH_STEPS, "few_steps")
    return Score(1.0, "enough_steps")


def _steps(thinking: str) -> set[str]:
    """Return the words of each step that has content, for at most _ENOUGH_STEPS steps."""
    steps: set[str] = set()
    for text in _parts(thinking):
        lower = _NUMBERED.sub("", text).lower()
        words = [word for word in _WORD.findall(lower) if word not in _WORDS]
        if len(words) >= _FEWEST_WORDS and _has_content(words, text):
            steps.add(" ".join(words))
        if len(steps) == _ENOUGH_STEPS:
            break
    return steps


def _has_content(words: Names, text: str) -> bool:
    """Return whether a step has two different longer words, or calculates with a number."""
    longer = {word for word in words if len(word) > 1 and word.isalpha()}
    if len(longer) > 1:
        return True
    return any(map(str.isdecimal, words)) and _OPERATOR.search(text) is not None


def _parts(thinking: str) -> Texts:
    """Return the text of each step, without its marker. Text before the first step is ignored."""
    parts: list[Texts] = []
    highest, used = 0, set()
    for line in map(str.strip, thinking.split("\n")):
        number, word, begun = 0, "", _STEP.match(line)
        if begun:
            number = int(begun[1] or begun[2] or 0)
            word = (begun[3] or "").lower()
        is_new = number > highest if number else word not in used
        if begun and is_new:
            parts.append([line[begun.end() :]])
            highest = max(highest, number)
            if word:
                used.add(word)
        elif parts:
            parts[-1].append(line)
    return ["\n".join(lines) for lines in parts]


def cosine_length(
    by: str,
    max_len: int,
    by_args: Options | None = None,
    min_value_wrong: float = -1.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
) -> Reward:
    """Return more for a shorter right completion and for a longer wrong completion, along a cosine.

    A right completion earns max_value_correct without tokens, down to min_value_correct with max_len tokens
    or more. A wrong one earns min_value_wrong without tokens, up to max_value_wrong. TRL's
    `get_cosine_scaled_reward` is similar, but it only reads answers in LaTeX.

    Args:
        by: The dotted path of the reward that decides which completions are right.
        max_len: Tokens, usually `trl.max_completion_length`.
        by_args: The options of that reward.
        min_value_wrong: The score of a wrong completion without tokens.
        max_value_wrong: The score of a wrong completion with max_len tokens or more.
        min_value_correct: The score of a right completion with max_len tokens or more.
        max_value_correct: The score of a right completion without tokens.

    Source: https://arxiv.org/abs/2502.03373, appendix C.1.

    Raises:
        ValueError: max_len is below 1.
        TypeError: `by` is not the path of a reward of one completion.

    >>> short = cosine_length("axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func", max_len=4)
    >>> short([""], ["<answer>18</answer>"], answer=["18"], completion_ids=[[1, 2]])
    [0.75]
    """
    if max_len < 1:
        raise ValueError(f"cosine_length: max_len is {max_len}. Set it to 1 or more")
    judge = load_scorer("cosine_length", by, by_args)
    return _Cosine(
        judge,
        max_len,
        wrong=(min_value_wrong, max_value_wrong),
        correct=(max_value_correct, min_value_correct),
    )


class _Cosine(Combined):
    """Scores by length. A pair is the value without tokens, and the value with max_len tokens."""

    def __init__(self, judge: Reward, max_len: int, wrong: Pair, correct: Pair):
        values = (*wrong, *correct)
        limits = (min(values), max(values))
        super().__init__("cosine_length", joint_spec([judge], limits, reads=["completion_ids"]))
        self.judge = judge
        self.max_len = max_len
        self.wrong = wrong
        self.correct = correct

    def combine(self, scores: Scores, row: Options) -> Score:
        (verdict,) = scores
        empty, full = self.correct if _is_right(verdict, self.judge) else self.wrong
        used = min(len(row["completion_ids"]) / self.max_len, 1.0)
        share = (1 + cos(pi * used)) / 2  # from 1 without tokens to 0 with max_len
        value = full + (empty - full) * share
        lowest, highest = self.range
        return verdict._replace(value=min(max(value, lowest), highest))  # rounding may exceed it


def kimi_length(by: str, by_args: Options | None = None) -> GroupReward:
    """Return 0.5 for the shortest completion of a prompt group, down to -0.5 for the longest.

    The score is 0.5 - (length - shortest) / (longest - shortest), or 0 if all lengths are equal. A wrong
    completion earns at most 0.

    Args:
        by: The dotted path of the reward that decides which completions are right.
        by_args: The options of that reward.

    Source: Kimi k1.5, https://arxiv.org/abs/2501.12599, section 2.3.3.

    >>> short = kimi_length("axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func")
    >>> right, ids = "<answer>18</answer>", [[1], [1, 2], [1, 2, 3], [1, 2, 3]]
    >>> short(["p"] * 4, ["", right, right, ""], answer=["18"] * 4, completion_ids=ids)
    [0.0, 0.0, -0.5, -0.5]
    """
    judge = load_scorer("kimi_length", by, by_args)

    def kimi_length(completions: Texts, **columns: Any) -> Scores:
        lengths = [len(ids) for ids in columns["completion_ids"]]
        shortest = min(lengths)
        spread = max(lengths) - shortest
        scores = []
        for index, completion in enumerate(completions):
            row = {name: columns[name][index] for name in judge.spec.columns}
            verdict = judge.score(completion, **row)
            if verdict.value is not None:
                value = 0.5 - (lengths[index] - shortest) / spread if spread else 0.0
                if not _is_right(verdict, judge):
                    value = min(value, 0.0)
                verdict = verdict._replace(value=value)
            scores.append(verdict)
        return scores

    return GroupReward(kimi_length, joint_spec([judge], (-0.5, 0.5), reads=["completion_ids"]))


def gated(
    reward: str, by: str, reward_args: Options | None = None, by_args: Options | None = None
) -> Reward:
    """Return the score of another reward for right completions, and 0.0 ("gated") for wrong ones.

    So a format earns nothing with a wrong answer. A negative score stays, because a wrong answer must not
    escape a penalty. If one of the two rewards gives None, the score is None with the same reason.

    Args:
        reward: The dotted path of the reward to pay, which scores one completion.
        by: The dotted path of the reward that decides which completions are right.
        reward_args: The options of the reward to pay.
        by_args: The options of the other reward.

    >>> rewards = "axolotl_grpo_plugin.rewards.gsm8k"
    >>> tidy = gated(f"{rewards}.soft_format_reward_func", by=f"{rewards}.correctness_reward_func")
    >>> tidy([""], ["<reasoning>9 * 2</reasoning><answer>18</answer>"], answer=["17"])
    [0.0]
    """
    return _Gated(load_scorer("gated", reward, reward_args), load_scorer("gated", by, by_args))


class _Gated(Combined):
    """Pays the score of `paid` where the score of `judge` is its highest."""

    def __init__(self, paid: Reward, judge: Reward):
        lowest, highest = paid.range
        limits = (min(lowest, 0.0), max(highest, 0.0))
        super().__init__("gated", joint_spec([judge, paid], limits, reasons=["gated"]))
        self.judge = judge

    def combine(self, scores: Scores, row: Options) -> Score:
        verdict, score = scores
        assert score.value is not None
        if score.value < 0 or _is_right(verdict, self.judge):
            return score
        return Score(0.0, "gated", score.read)


def _is_right(verdict: Score, judge: Reward) -> bool:
    """Return whether a reward gave its highest score."""
    return verdict.value is not None and verdict.value >= judge.range[1]
