"""Rewards for GSM8K answered as `<reasoning>...</reasoning><answer>...</answer>`.

The five of the well-known GSM8K GRPO recipe (willccbb's gist, Axolotl's GSM8K example), with
their names and weights, on a contract of their own: tests/rewards/test_gsm8k.py has the completions with
what each must score. Together at most 3.75; a correct, tagged completion always outscores a
wrong one, and one without content scores 0 in all.
"""

from axolotl_grpo_plugin.completions import (
    TAGS,
    bodies,
    find_answer,
    is_empty,
    is_integer_literal,
    read_blocks,
    read_number,
    text_after_answer,
)
from axolotl_grpo_plugin.reward import Score, reward

# What text after </answer> costs: a thousandth a character after the first (the line break that
# may follow), bounded, so that rambling never outweighs an answer.
_COST_OF_A_CHARACTER = 0.001
_HIGHEST_COST = 0.125


@reward(
    range=(0.0, 2.0),
    reads="answer",
    reasons="correct wrong_value no_answer_tag truncated empty_answer several_numbers not_a_number bad_gold".split(),
    inline=True,
)
def correctness_reward_func(completion: str, answer: str) -> Score:
    """2.0 where the answer states the gold number, else 0.0.

    Compared as exact decimals, so "$1,000", "1000.00" and "1000 dollars" all equal "1000"
    (`completions.read_number` says what a number is). None where the gold is not a number.

    >>> correctness_reward_func([""], ["<answer>$18.00</answer>"], answer=["18"])
    [2.0]
    """
    gold = read_number(str(answer))  # a dataset of one's own may hold numbers
    if gold.value is None:
        return Score(None, "bad_gold")
    found = find_answer(completion, ["tag"], in_reasoning=True)
    if found.text is None:
        return Score(0.0, found.problem)
    number = read_number(found.text)
    if number.value is None:
        return Score(0.0, number.problem, found.text)
    right = number.value == gold.value
    return Score(2.0, "correct", found.text) if right else Score(0.0, "wrong_value", found.text)


@reward(
    range=(0.0, 0.5),
    reasons="integer not_an_integer no_answer_tag truncated empty_answer".split(),
    inline=True,
)
def int_reward_func(completion: str) -> Score:
    """0.5 where the answer is a bare integer ("18", "-5"; not "$18", "1,000" or "18.0"), else 0.0.

    >>> int_reward_func([""], ["<answer>-5</answer>"])
    [0.5]
    """
    found = find_answer(completion, ["tag"], in_reasoning=True)
    if found.text is None:
        return Score(0.0, found.problem)
    if is_integer_literal(found.text):
        return Score(0.5, "integer", found.text)
    return Score(0.0, "not_an_integer", found.text)


@reward(range=(0.0, 0.5), reasons="exact other_layout empty_block".split(), inline=True)
def strict_format_reward_func(completion: str) -> Score:
    """0.5 where the completion is the prompt's layout to the line break, else 0.0.

    Each tag once and on a line of its own, any number of lines of reasoning, one line of answer;
    a final line break may be missing, for that is where EOS falls.

    >>> strict_format_reward_func([""], ["<reasoning>\\n9 * 2\\n</reasoning>\\n<answer>\\n18\\n</answer>"])
    [0.5]
    """
    blocks = read_blocks(completion)
    if blocks is None or any(completion.count(tag) != 1 for tag in TAGS):
        return Score(0.0, "other_layout")
    if any(is_empty(body) for body in blocks):
        return Score(0.0, "empty_block")
    on_own_lines = "</reasoning>\n<answer>" in completion and all(
        body.startswith("\n") and body.endswith("\n") for body in blocks
    )
    if not on_own_lines or blocks[1].count("\n") != 2:
        return Score(0.0, "other_layout")
    return Score(0.5, "exact")


@reward(range=(0.0, 0.25), reasons="format other_layout empty_block".split(), inline=True)
def soft_format_reward_func(completion: str) -> Score:
    """0.25 where the completion is one reasoning block, then one answer block, else 0.0.

    As strict, but any whitespace may stand between and within, and the reasoning may
    mention an opening tag.

    >>> soft_format_reward_func([""], ["<reasoning>9 * 2</reasoning> <answer>18</answer>"])
    [0.25]
    """
    blocks = read_blocks(completion)
    if blocks is None:
        return Score(0.0, "other_layout")
    if any(is_empty(body) for body in blocks):
        return Score(0.0, "empty_block")
    return Score(0.25, "format")


@reward(
    range=(0.0, 0.5),
    reasons="all_tags some_tags no_tags no_content text_after_answer".split(),
    inline=True,
)
def xmlcount_reward_func(completion: str) -> Score:
    """0.125 for each of the four tags that occurs exactly once; text after `</answer>` costs up to 0.125.

    Always within [0, 0.5]. Tags around nothing, or around the prompt's own "...", earn nothing.

    >>> xmlcount_reward_func([""], ["<reasoning>9 * 2</reasoning>"])
    [0.25]
    """
    tags = sum(completion.count(tag) == 1 for tag in TAGS)
    if not tags:
        return Score(0.0, "no_tags")
    if all(is_empty(body) for body in bodies(completion)):
        return Score(0.0, "no_content")
    after = text_after_answer(completion)
    cost = min(_COST_OF_A_CHARACTER * max(len(after) - 1, 0), _HIGHEST_COST)
    if any(tag in after for tag in TAGS):
        cost = _HIGHEST_COST  # whole: by the character, reasoning put there would cost its length
    if cost:
        return Score(max(0.125 * tags - cost, 0.0), "text_after_answer")
    return Score(0.125 * tags, "all_tags" if tags == len(TAGS) else "some_tags")
