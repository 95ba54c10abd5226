"""An example of your own reward: it checks that the reasoning is a true equation with the answer as result.

Name a function of a file in this folder in a config as rewards.<file>.<function>.
configs/quickstart-own-reward.yaml uses this one.
"""

import re

from axolotl_grpo_plugin.completions import read_blocks
from axolotl_grpo_plugin.reward import Score, reward

# One line "a + b = c" with small numbers. Never evaluate the text of a model.
EQUATION = re.compile(r"([0-9]{1,4}) ([-+*]) ([0-9]{1,4}) = ([0-9]{1,8})")


@reward(range=(0.0, 0.5))
def true_equation_reward_func(completion: str) -> Score:
    """Return 0.5 if the reasoning is one true equation whose result is the answer, else 0.0.

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
