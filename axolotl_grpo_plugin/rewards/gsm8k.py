"""Rewards for GSM8K answered as `<reasoning>...</reasoning><answer>...</answer>`.

The names and weights are those of the well-known GSM8K GRPO recipe (willccbb's gist, Axolotl's GSM8K
example). The maximum of all five is 3.75. A correct, tagged completion always outscores a wrong one. A
completion without content scores 0 in all.
"""

import re
from collections.abc import Callable

from axolotl_grpo_plugin.completions import (
    TAGS,
    Answer,
    Names,
    Number,
    find_answer,
    is_integer_literal,
    read_blocks,
    read_number,
    split_at_tags,
    text_after_answer,
)
from axolotl_grpo_plugin.reward import Score, reward

# A letter or digit, but no Hangul filler, which is an invisible letter.
_CONTENT = re.compile(r"[^\W_\u115f\u1160\u3164\uffa0]")
_COST_OF_A_CHARACTER = 0.001
IsEmpty = Callable[[str], bool]


@reward(
    range=(0.0, 2.0),
    reads="answer",
    reasons=(
        "correct",
        "wrong_value",
        "no_answer_tag",
        "truncated",
        "empty_answer",
        "several_numbers",
        "not_a_number",
        "bad_gold",
    ),
    inline=True,
)
def correctness_reward_func(completion: str, answer: str) -> Score:
    """Return 2.0 if the answer states the gold number, else 0.0.

    Numbers are compared as exact decimals, so "$1,000", "1000.00" and "1000 dollars" equal "1000".
    `completions.read_number` defines a number. The score is None if the gold is not a number.

    >>> correctness_reward_func([""], ["<answer>$18.00</answer>"], answer=["18"])
    [2.0]
    """
    # The gold is not always text: a user's dataset may hold numbers.
    return score_number(find_answer(completion, ["tag"], in_reasoning=True), str(answer), 2.0)


def score_number(
    answer: Answer, gold: str, highest: float, read: Callable[[str], Number] = read_number
) -> Score:
    """Return the highest score if an answer states the gold number, else 0.0, or None for a bad gold."""
    wanted = read_number(gold).value
    if wanted is None:
        return Score(None, "bad_gold")
    if answer.text is None:
        return Score(0.0, answer.problem)
    number = read(answer.text)
    if number.value is None:
        return Score(0.0, number.problem, answer.text)
    if number.value != wanted:
        return Score(0.0, "wrong_value", answer.text)
    return Score(highest, "correct", answer.text)


@reward(
    range=(0.0, 0.5),
    reasons=("integer", "not_an_integer", "no_answer_tag", "truncated", "empty_answer"),
    inline=True,
)
def int_reward_func(completion: str) -> Score:
    """Return 0.5 if the answer is a plain integer ("18", "-5"; not "$18", "1,000" or "18.0"), else 0.0.

    >>> int_reward_func([""], ["<answer>-5</answer>"])
    [0.5]
    """
    answer = find_answer(completion, ["tag"], in_reasoning=True)
    if answer.text is None:
        return Score(0.0, answer.problem)
    if is_integer_literal(answer.text):
        return Score(0.5, "integer", answer.text)
    return Score(0.0, "not_an_integer", answer.text)


@reward(range=(0.0, 0.5), reasons=("exact", "other_layout", "empty_block"), inline=True)
def strict_format_reward_func(completion: str) -> Score:
    """Return 0.5 if the completion has exactly the prompt's layout, else 0.0.

    Each tag occurs once, alone on its line. The reasoning may have several lines, the answer has
    one. The final line break may be missing, because the model may end its text there.

    >>> strict_format_reward_func([""], ["<reasoning>\\n9 * 2\\n</reasoning>\\n<answer>\\n18\\n</answer>"])
    [0.5]
    """
    score = score_lines(completion, TAGS, is_blank, 0.5)
    has_one_line = completion.rpartition("<answer>")[2].count("\n") == 2
    return score if has_one_line or not score.value else Score(0.0, "other_layout")


@reward(range=(0.0, 0.25), reasons=("format", "other_layout", "empty_block"), inline=True)
def soft_format_reward_func(completion: str) -> Score:
    """Return 0.25 if the completion is one reasoning block, then one answer block, else 0.0.

    Any whitespace may be between and within the blocks. The reasoning may mention an opening tag.

    >>> soft_format_reward_func([""], ["<reasoning>9 * 2</reasoning> <answer>18</answer>"])
    [0.25]
    """
    return score_blocks(read_blocks(completion), is_blank, 0.25)


def score_blocks(blocks: Names | None, is_empty: IsEmpty, highest: float) -> Score:
    """Return the highest score if a completion has its blocks, and each has content, else 0.0."""
    if blocks is None:
        return Score(0.0, "other_layout")
    if any(map(is_empty, blocks)):
        return Score(0.0, "empty_block")
    return Score(highest, "format")


def is_blank(body: str) -> bool:
    """Return whether a block has no letter or digit: "...", "***", a zero-width space."""
    return _CONTENT.search(body) is None


def score_lines(text: str, tags: Names, is_empty: IsEmpty, highest: float) -> Score:
    """Return the highest score if the blocks have content, and each tag occurs once, on its own line."""
    if not all(text.count(tag) == 1 for tag in tags):
        return Score(0.0, "other_layout")
    blocks = read_blocks(text, tags) or ()
    score = score_blocks(blocks or None, is_empty, highest)
    if not score.value:
        return score
    has_gap = f"{tags[1]}\n{tags[2]}" not in text
    if has_gap or not all(body[0] == body[-1] == "\n" for body in blocks):
        return Score(0.0, "other_layout")
    return Score(highest, "exact")


@reward(
    range=(0.0, 0.5),
    reasons=("all_tags", "some_tags", "no_tags", "no_content", "text_after_answer"),
    inline=True,
)
def xmlcount_reward_func(completion: str) -> Score:
    """Return 0.125 for each of the four tags that occurs exactly once, in all 0 to 0.5.

    Text after `</answer>` costs up to 0.125. Tags earn nothing if they enclose no text, or only the
    prompt's own "...".

    >>> xmlcount_reward_func([""], ["<reasoning>9 * 2</reasoning>"])
    [0.25]
    """
    count = len([tag for tag in TAGS if completion.count(tag) == 1])
    if not count:
        return Score(0.0, "no_tags")
    parts = split_at_tags(completion, TAGS)
    tags_with_text = zip(parts[1::2], parts[2::2], strict=True)
    bodies = [body for tag, body in tags_with_text if not tag.startswith("</")]
    if all(map(is_blank, bodies)):
        return Score(0.0, "no_content")
    after = text_after_answer(completion)  # the first character may be a line break
    cost = cost_of_text_after(after, len(after) - 1, TAGS, 0.125)
    if cost:
        return Score(max(0.125 * count - cost, 0.0), "text_after_answer")
    return Score(0.125 * count, "all_tags" if count == len(TAGS) else "some_tags")


def cost_of_text_after(text: str, length: int, tags: Names, highest: float) -> float:
    """Return the cost of text after the answer, of which `length` characters cost."""
    # Reasoning after the answer must not cost by its length.
    if any(tag in text for tag in tags):
        return highest
    # A long tail never costs more than an answer earns.
    return min(_COST_OF_A_CHARACTER * max(length, 0), highest)
