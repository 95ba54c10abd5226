"""Rewards for GSM8K answered as `<reasoning>...</reasoning><answer>...</answer>`.

The names and weights are those of the well-known GSM8K GRPO recipe (willccbb's gist, Axolotl's GSM8K
example). The maximum of all five is 3.75. A correct, tagged completion always outscores a wrong one. A
completion without content scores 0 in all.
"""

from collections.abc import Callable, Sequence

from axolotl_grpo_plugin.completions import (
    TAGS,
    Answer,
    Number,
    find_answer,
    is_empty,
    is_integer_literal,
    read_blocks,
    read_number,
    split_at_tags,
    text_after_answer,
)
from axolotl_grpo_plugin.reward import Score, reward

# The cost of text after </answer>, without its first character, which may be a line break.
_COST_OF_A_CHARACTER = 0.001
_HIGHEST_COST = 0.125  # so that a long tail never costs more than an answer earns


@reward(
    range=(0.0, 2.0),
    reads="answer",
    reasons="correct wrong_value no_answer_tag truncated empty_answer several_numbers not_a_number bad_gold".split(),
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
    reasons="integer not_an_integer no_answer_tag truncated empty_answer".split(),
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


@reward(range=(0.0, 0.5), reasons="exact other_layout empty_block".split(), inline=True)
def strict_format_reward_func(completion: str) -> Score:
    """Return 0.5 if the completion has exactly the prompt's layout, else 0.0.

    Each tag occurs once, alone on its line. The reasoning may have several lines, the answer has
    one. The final line break may be missing, because the model may end its text there.

    >>> strict_format_reward_func([""], ["<reasoning>\\n9 * 2\\n</reasoning>\\n<answer>\\n18\\n</answer>"])
    [0.5]
    """
    score = score_lines(completion, TAGS, is_empty, 0.5)
    has_one_line = completion.rpartition("<answer>")[2].count("\n") == 2
    return score if has_one_line or not score.value else Score(0.0, "other_layout")


@reward(range=(0.0, 0.25), reasons="format other_layout empty_block".split(), inline=True)
def soft_format_reward_func(completion: str) -> Score:
    """Return 0.25 if the completion is one reasoning block, then one answer block, else 0.0.

    Any whitespace may be between and within the blocks. The reasoning may mention an opening tag.

    >>> soft_format_reward_func([""], ["<reasoning>9 * 2</reasoning> <answer>18</answer>"])
    [0.25]
    """
    return score_blocks(read_blocks(completion), is_empty, 0.25)


def score_blocks(
    blocks: Sequence[str] | None, is_empty: Callable[[str], bool], highest: float
) -> Score:
    """Return the highest score if a completion has its blocks, and each has content, else 0.0."""
    if blocks is None:
        return Score(0.0, "other_layout")
    return Score(0.0, "empty_block") if any(map(is_empty, blocks)) else Score(highest, "format")


def score_lines(
    text: str, tags: Sequence[str], is_empty: Callable[[str], bool], highest: float
) -> Score:
    """Return the highest score if the blocks have content, and each tag occurs once, on its own line."""
    blocks = read_blocks(text, tags) if all(text.count(tag) == 1 for tag in tags) else None
    score = score_blocks(blocks, is_empty, highest)
    if not blocks or not score.value:
        return score
    on_own_lines = f"{tags[1]}\n{tags[2]}" in text and all(
        body.startswith("\n") and body.endswith("\n") for body in blocks
    )
    return Score(highest, "exact") if on_own_lines else Score(0.0, "other_layout")


@reward(
    range=(0.0, 0.5),
    reasons="all_tags some_tags no_tags no_content text_after_answer".split(),
    inline=True,
)
def xmlcount_reward_func(completion: str) -> Score:
    """Return 0.125 for each of the four tags that occurs exactly once, in all 0 to 0.5.

    Text after `</answer>` costs up to 0.125. Tags earn nothing if they enclose no text, or only the
    prompt's own "...".

    >>> xmlcount_reward_func([""], ["<reasoning>9 * 2</reasoning>"])
    [0.25]
    """
    tags = sum(completion.count(tag) == 1 for tag in TAGS)
    if not tags:
        return Score(0.0, "no_tags")
    parts = split_at_tags(completion, TAGS)
    bodies = zip(parts[1::2], parts[2::2], strict=True)
    if all(is_empty(body) for tag, body in bodies if not tag.startswith("</")):
        return Score(0.0, "no_content")
    after = text_after_answer(completion)
    cost = min(_COST_OF_A_CHARACTER * max(len(after) - 1, 0), _HIGHEST_COST)
    if any(tag in after for tag in TAGS):
        cost = _HIGHEST_COST  # reasoning after the answer must not cost by its length
    if cost:
        return Score(max(0.125 * tags - cost, 0.0), "text_after_answer")
    return Score(0.125 * tags, "all_tags" if tags == len(TAGS) else "some_tags")
