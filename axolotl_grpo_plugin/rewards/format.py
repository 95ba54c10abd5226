"""Rewards for the layout of a completion in any task: reasoning, then the answer.

Each gives up to 1.0, so give them a lower weight than correctness (`trl.reward_weights`). Set
`prefilled: true` if the prompt ends in `<think>` (configs/templates/qwen-think.jinja, DeepSeek-R1). The
completion then needs no such tag. A block without a letter or digit (".", "...") is empty.
"""

import re

from axolotl_grpo_plugin.completions import (
    THINK_TAGS,
    Blocks,
    Number,
    find_answer,
    read_blocks,
    read_hashes,
    read_number,
    read_reasoning,
    split_at_tags,
    text_after_answer,
)
from axolotl_grpo_plugin.reward import OPENS, Score, reward
from axolotl_grpo_plugin.rewards.gsm8k import (
    cost_of_text_after,
    is_blank,
    score_blocks,
    score_lines,
    score_number,
)

_THINK = THINK_TAGS[:2]
_HEADING = re.compile(r"[0-9]+[.)] +\S")


@reward(
    range=(0.0, 1.0), reasons=("exact", "other_layout", "empty_block"), may_read=OPENS, inline=True
)
def think_strict_format_reward_func(
    completion: str, prompt_opens: str = "", prefilled: bool = False
) -> Score:
    r"""Return 1.0 if the completion is a `<think>` block and an `<answer>` block, each tag on its own line, else 0.0.

    Each tag occurs once. There is no empty line between the blocks. Each block has any number of lines, and
    at least one letter or digit. The final line break may be missing.

    Source: the layout of open-r1's `format_reward` (https://github.com/huggingface/open-r1, Apache-2.0).

    >>> think_strict_format_reward_func([""], ["<think>\n9 * 2\n</think>\n<answer>\n18\n</answer>"])
    [1.0]
    """
    return score_lines(
        _with_prefill(completion, prefilled or prompt_opens), THINK_TAGS, _is_empty, 1.0
    )


@reward(
    range=(0.0, 1.0), reasons=("format", "other_layout", "empty_block"), may_read=OPENS, inline=True
)
def think_soft_format_reward_func(
    completion: str, prompt_opens: str = "", prefilled: bool = False
) -> Score:
    """Return 1.0 if the completion is one `<think>` block, then one `<answer>` block, else 0.0.

    Any whitespace may be between and within the blocks. The reasoning may mention an opening tag, so a
    model may repeat a prefilled `<think>`. Each block has at least one letter or digit.

    >>> think_soft_format_reward_func([""], ["<think>9 * 2</think> <answer>18</answer>"])
    [1.0]
    """
    blocks = read_blocks(_with_prefill(completion, prefilled or prompt_opens), THINK_TAGS)
    return score_blocks(blocks, _is_empty, 1.0)


@reward(
    range=(0.0, 1.0), reasons=("format", "other_layout", "empty_block"), may_read=OPENS, inline=True
)
def think_format_reward_func(
    completion: str, prompt_opens: str = "", prefilled: bool = False
) -> Score:
    r"""Return 1.0 if the completion is one `<think>` block, then text (as in DeepSeek-R1), else 0.0.

    The reasoning may mention `<think>`. The text has neither tag. Both have at least one letter or digit.

    >>> think_format_reward_func([""], [r"<think>9 * 2</think> It is \boxed{18}."])
    [1.0]
    """
    return score_blocks(_think_then_text(completion, prefilled or prompt_opens), _is_empty, 1.0)


@reward(
    range=(0.0, 1.0),
    reasons=("all_tags", "some_tags", "no_tags", "text_after_answer"),
    may_read=OPENS,
    inline=True,
)
def tag_count_reward_func(
    completion: str, prompt_opens: str = "", prefilled: bool = False
) -> Score:
    """Return 0.25 for each of the four tags that occurs once, in its order and with content.

    Text after `</answer>` costs up to 0.25. An opening tag has content if a letter or digit follows before
    the next tag. A closing tag has content if there is one between it and the tag before. If prefilled, each
    of the other three tags earns a third.

    Source: open-r1's `tag_count_reward` (https://github.com/huggingface/open-r1, Apache-2.0), which also
    pays for empty blocks.

    >>> tag_count_reward_func([""], ["<think>9 * 2</think>"])
    [0.5]
    """
    paid = THINK_TAGS[1:] if prefilled or prompt_opens else THINK_TAGS
    once = {tag for tag in paid if completion.count(tag) == 1}
    parts = split_at_tags(completion, THINK_TAGS)
    count = 0
    last = -1  # index of the last tag that counts
    # Texts and tags alternate.
    for before, tag, after in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
        body = before if tag.startswith("</") else after
        index = THINK_TAGS.index(tag)
        if tag in once and index > last and not _is_empty(body):
            count += 1
            last = index
    if not count:
        return Score(0.0, "no_tags")
    after_answer = text_after_answer(completion).strip()
    cost = cost_of_text_after(after_answer, len(after_answer), THINK_TAGS, 0.25)
    value = count / len(paid)
    if cost:
        return Score(max(value - cost, 0.0), "text_after_answer")
    return Score(value, "all_tags" if count == len(paid) else "some_tags")


@reward(
    range=(0.0, 1.0), reasons=("format", "other_layout", "empty_block"), may_read=OPENS, inline=True
)
def hash_format_reward_func(
    completion: str, prompt_opens: str = "", prefilled: bool = False
) -> Score:
    r"""Return 1.0 if the completion is one `<think>` block, then text whose last line is `####` and an answer, else 0.0.

    No other line of the text has `####`.

    Source: the layout of xLR's GSM8K task, which is verl's after a `<think>` block.

    >>> hash_format_reward_func([""], ["<think>\n9 * 2\n</think>\nShe makes $18.\n#### 18"])
    [1.0]
    """
    parts = _think_then_text(completion, prefilled or prompt_opens)
    if parts is None:
        return Score(0.0, "other_layout")
    reasoning, text = parts
    last = text.rpartition("\n")[2].lstrip(" *")
    if not last.startswith("####") or text.count("####") != 1:
        return Score(0.0, "other_layout")
    return score_blocks((reasoning, read_hashes(last)[0]), _is_empty, 1.0)


@reward(
    range=(0.0, 1.0),
    reads="answer",
    may_read=OPENS,
    reasons=(
        "correct",
        "wrong_value",
        "no_answer",
        "truncated",
        "empty_answer",
        "several_answers",
        "several_numbers",
        "not_a_number",
        "bad_gold",
    ),
    inline=True,
)
def hash_correctness_reward_func(
    completion: str, answer: str, prompt_opens: str = "", prefilled: bool = False
) -> Score:
    """Return 1.0 if the number after `####` equals the gold number, else 0.0.

    Only the text after the reasoning is read. The number is the rest of the line: "####18", "#### $18",
    "#### **18**" and "#### 18.00" are all 18. A heading ("#### Check") is not an answer, and different numbers
    are not one either.

    Args:
        answer: The gold number, or a worked solution that ends in `####` and the number (as in GSM8K). If it
            has no number, the score is None.
        prefilled: The prompt ends in `<think>`, so the completion begins after it.

    Source: verl's `gsm8k.compute_score` (https://github.com/volcengine/verl, Apache-2.0), which accepts one
    spelling only.

    >>> hash_correctness_reward_func([""], ["<think>9 * 2</think>So #### $18"], answer=["18"])
    [1.0]
    """
    text = _with_prefill(completion, prefilled or prompt_opens)
    stated = find_answer(text, ["hash"], same=lambda line: _number(line).value)
    return score_number(stated, str(answer).rpartition("####")[2], 1.0, _number)


def _with_prefill(completion: str, prefilled: object) -> str:
    """Return the completion with the tag that the prompt ends in."""
    return "<think>\n" + completion if prefilled else completion


def _think_then_text(completion: str, prefilled: object) -> Blocks | None:
    """Return the reasoning and the text after it, or None if the text has one of the two tags."""
    parts = read_reasoning(_with_prefill(completion, prefilled), _THINK)
    if parts and any(tag in parts[1] for tag in _THINK):
        return None
    return parts


def _is_empty(body: str) -> bool:
    """Return whether a block has no letter or digit outside the tags that it mentions."""
    texts = split_at_tags(body, THINK_TAGS)[::2]
    return all(map(is_blank, texts))


def _number(line: str) -> Number:
    """Return the number after `####`, but not the number of a heading ("#### 1. Find the cost")."""
    return Number(None, "not_a_number") if _HEADING.match(line) else read_number(line)
