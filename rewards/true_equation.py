"""A reward of one's own: is the work that the reasoning shows true, and does it give the answer?

A file here, with a function in it, is usable in a config as rewards.<file>.<function>;
configs/quickstart-own-reward.yaml uses this one.
"""

import re

from axolotl_grpo_plugin.completions import read_blocks
from axolotl_grpo_plugin.reward import Score, reward

# One line "a + b = c" of small numbers. Model text is data: matched and calculated, never evaluated.
EQUATION = re.compile(r"([0-9]{1,4}) ([-+*]) ([0-9]{1,4}) = ([0-9]{1,8})")


@reward(range=(0.0, 0.5))
def true_equation_reward_func(completion: str) -> Score:
    """0.5 where the reasoning is one true equation whose result is the answer, else 0.0.

    Reasons: true, false, other_answer, no_equation.

    >>> true_equation_reward_func([""], ["<reasoning>2 * 3 = 6</reasoning><answer>6</answer>"])
    [0.5]
    """
    blocks = read_blocks(completion)
    equation = EQUATION.fullmatch(blocks[0].strip()) if blocks else None
    if blocks is None or equation is None:
        return Score(0.0, "no_equation")
    a, b, result = int(equation[1]), int(equation[3]), int(equation[4])
    if blocks[1].strip() != equation[4]:
        return Score(0.0, "other_answer")
    is_true = {"+": a + b, "-": a - b, "*": a * b}[equation[2]] == result
    return Score(0.5, "true") if is_true else Score(0.0, "false")
