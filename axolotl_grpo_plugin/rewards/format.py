"""Rewards for how a completion is laid out, whatever the task: thinking, then the answer.

Each pays 1.0 for the whole layout: weigh them below correctness (`trl.reward_weights`). With
`prefilled: true` the prompt ends in `<think>` (configs/templates/qwen-think.jinja, DeepSeek-R1), so
no completion has that tag, and none is asked of it. tests/rewards/test_format.py has the completions with
what each must score. A block without a letter or digit (".", "...") is empty.
"""

import re

from axolotl_grpo_plugin.completions import (
    THINK_TAGS,
    Number,
    find_answer,
    read_blocks,
    read_hashes,
    read_number,
    read_reasoning,
    split_at_tags,
    text_after_answer,
)
from axolotl_grpo_plugin.reward import Score, reward

THINK = THINK_TAGS[:2]
# What text after </answer> costs tag_count: so much a character, bounded.
_COST_OF_A_CHARACTER = 0.001
_HIGHEST_COST = 0.25
_CONTENT = re.compile(r"[^\W_]")
_HEADING = re.compile(r"[0-9]+[.)] +\S")


@reward(range=(0.0, 1.0), reasons="exact other_layout empty_block".split(), inline=True)
def think_strict_format_reward_func(completion: str, prefilled: bool = False) -> Score:
    r"""1.0 where the completion is `<think>`, thinking, `</think>`, `<answer>`, the answer, `</answer>`, else 0.0.

    Each tag once and on a line of its own, no empty line between the blocks, any number of lines within
    them; a final line break may be missing. Each block holds a letter or digit.

    Source: the layout of open-r1's `format_reward` (https://github.com/huggingface/open-r1, Apache-2.0).

    >>> think_strict_format_reward_func([""], ["<think>\n9 * 2\n</think>\n<answer>\n18\n</answer>"])
    [1.0]
    """
    text = _with_prefill(completion, prefilled)
    blocks = read_blocks(text, THINK_TAGS)
    if blocks is None or any(text.count(tag) != 1 for tag in THINK_TAGS):
        return Score(0.0, "other_layout")
    if any(map(_is_empty, blocks)):
        return Score(0.0, "empty_block")
    on_own_lines = "</think>\n<answer>" in text and all(
        body.startswith("\n") and body.endswith("\n") for body in blocks
    )
    return Score(1.0, "exact") if on_own_lines else Score(0.0, "other_layout")


@reward(range=(0.0, 1.0), reasons="format other_layout empty_block".split(), inline=True)
def think_soft_format_reward_func(completion: str, prefilled: bool = False) -> Score:
    """1.0 where the completion is one `<think>` block, then one `<answer>` block, else 0.0.

    As strict, but any whitespace may stand between and within, and the thinking may mention an
    opening tag (so a model that opens a prefilled `<think>` once more is forgiven).

    >>> think_soft_format_reward_func([""], ["<think>9 * 2</think> <answer>18</answer>"])
    [1.0]
    """
    return _verdict(read_blocks(_with_prefill(completion, prefilled), THINK_TAGS))


@reward(range=(0.0, 1.0), reasons="format other_layout empty_block".split(), inline=True)
def think_format_reward_func(completion: str, prefilled: bool = False) -> Score:
    r"""1.0 where the completion is one `<think>` block and then text, as DeepSeek-R1 answers, else 0.0.

    The thinking may mention `<think>`; the text has none of the two tags. Neither is empty.

    >>> think_format_reward_func([""], [r"<think>9 * 2</think> It is \boxed{18}."])
    [1.0]
    """
    parts = read_reasoning(_with_prefill(completion, prefilled), THINK)
    return _verdict(None if parts and any(tag in parts[1] for tag in THINK) else parts)


@reward(
    range=(0.0, 1.0),
    reasons="all_tags some_tags no_tags text_after_answer".split(),
    inline=True,
)
def tag_count_reward_func(completion: str, prefilled: bool = False) -> Score:
    """0.25 for each of the four tags that occurs once, in its order, and with content; text after `</answer>` costs up to 0.25.

    An opening tag has content where something stands before the next tag, a closing one where
    something stands after the tag before it: a letter or digit. Prefilled, the three tags that
    are left to the model share the whole.

    Source: open-r1's `tag_count_reward` (https://github.com/huggingface/open-r1, Apache-2.0), which pays empty blocks.

    >>> tag_count_reward_func([""], ["<think>9 * 2</think>"])
    [0.5]
    """
    paid = THINK_TAGS[1:] if prefilled else THINK_TAGS
    once = {tag for tag in paid if completion.count(tag) == 1}
    parts = split_at_tags(completion, THINK_TAGS)
    found, last = 0, -1
    for before, tag, after in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
        place, body = THINK_TAGS.index(tag), before if tag.startswith("</") else after
        if tag in once and place > last and not _is_empty(body):
            found, last = found + 1, place
    if not found:
        return Score(0.0, "no_tags")
    more = text_after_answer(completion).strip()
    cost = min(_COST_OF_A_CHARACTER * len(more), _HIGHEST_COST)
    if any(tag in more for tag in THINK_TAGS):
        cost = _HIGHEST_COST  # whole: by the character, thinking put there would cost its length
    value = found / len(paid)
    if cost:
        return Score(max(value - cost, 0.0), "text_after_answer")
    return Score(value, "all_tags" if found == len(paid) else "some_tags")


@reward(range=(0.0, 1.0), reasons="format other_layout empty_block".split(), inline=True)
def hash_format_reward_func(completion: str, prefilled: bool = False) -> Score:
    r"""1.0 where the completion is one `<think>` block, and then text whose last line alone has `####` and an answer, else 0.0.

    Source: the layout of xLR's GSM8K, verl's with a thinking block before it.

    >>> hash_format_reward_func([""], ["<think>\n9 * 2\n</think>\nShe makes $18.\n#### 18"])
    [1.0]
    """
    parts = read_reasoning(_with_prefill(completion, prefilled), THINK)
    if parts is None or any(tag in parts[1] for tag in THINK):
        return Score(0.0, "other_layout")
    last = parts[1].rpartition("\n")[2].lstrip(" *")
    if not last.startswith("####") or parts[1].count("####") != 1:
        return Score(0.0, "other_layout")
    return _verdict((parts[0], read_hashes(last)[0]))


@reward(
    range=(0.0, 1.0),
    reads="answer",
    reasons="correct wrong_value no_answer truncated empty_answer several_answers several_numbers not_a_number bad_gold".split(),
    inline=True,
)
def hash_correctness_reward_func(completion: str, answer: str, prefilled: bool = False) -> Score:
    """1.0 where the number after `####` is the gold one, else 0.0.

    It is looked for after the thinking, and read to the end of its line as GSM8K's rewards read
    numbers: "####18", "#### $18", "#### **18**" and "#### 18.00" are 18. A heading ("#### Check") is no
    answer; numbers that differ are a hedge, and none either. answer: the gold number, or a worked
    solution that ends in it (GSM8K's column); None where it is not one.

    Source: verl's `gsm8k.compute_score` (https://github.com/volcengine/verl, Apache-2.0), which wants one spelling.

    >>> hash_correctness_reward_func([""], ["<think>9 * 2</think>So #### $18"], answer=["18"])
    [1.0]
    """
    gold = read_number(str(answer).rpartition("####")[2])
    if gold.value is None:
        return Score(None, "bad_gold")
    text = _with_prefill(completion, prefilled)
    found = find_answer(text, ["hash"], same=lambda line: _number(line).value)
    if found.text is None:
        return Score(0.0, found.problem)
    number = _number(found.text)
    if number.value is None:
        return Score(0.0, number.problem, found.text)
    right = number.value == gold.value
    return Score(1.0, "correct", found.text) if right else Score(0.0, "wrong_value", found.text)


def _with_prefill(completion: str, prefilled: bool) -> str:
    """What the model and its prompt wrote together."""
    return "<think>\n" + completion if prefilled else completion


def _is_empty(body: str) -> bool:
    """Return whether a block has no letter or digit outside the tags that it mentions."""
    return not any(map(_CONTENT.search, split_at_tags(body, THINK_TAGS)[::2]))


def _verdict(blocks: tuple[str, str] | None) -> Score:
    if blocks is None:
        return Score(0.0, "other_layout")
    return Score(0.0, "empty_block") if any(map(_is_empty, blocks)) else Score(1.0, "format")


def _number(line: str) -> Number:
    """The number of a line after `####`; one that numbers a heading ("#### 1. Find the cost") is none."""
    return Number(None, "not_a_number") if _HEADING.match(line) else read_number(line)
