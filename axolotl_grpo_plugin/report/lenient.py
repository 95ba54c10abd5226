"""A second, lenient verdict: the gap to the reward's own verdict is format, not skill."""

import re

from axolotl_grpo_plugin.completions import read_boxes
from axolotl_grpo_plugin.reward import BaseReward, Reward

# Columns with a gold answer. The gold of other rewards (tests, numbers to combine) is no answer.
ANSWER_COLUMNS = frozenset({"answer", "solution", "gold", "ground_truth", "label"})
# A minus after a number, a letter or a bracket is an operator.
_NUMBER = re.compile(
    r"(?:(?<![\w)\]}])-\$?)?"
    r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
)
_FORMS = ("<answer>{}</answer>", r"\boxed{{{}}}", "#### {}", "{}")


def reads_gold(reward: BaseReward) -> bool:
    """Return whether a lenient verdict makes sense: the reward compares one text with a gold answer."""
    names = {*reward.spec.reads, *reward.spec.may_read}
    return (
        isinstance(reward, Reward)
        and bool(ANSWER_COLUMNS & names)
        and "completion_ids" not in names
    )


def forms(text: str) -> list[str]:
    r"""Return completions with the last `\boxed{}` of a text as the answer, or else its last number.

    It may be anywhere: also inside the reasoning and after the answer. There is one completion for each
    form that rewards read. If one of them is right, the gap to the reward's verdict is format.
    """
    answers = read_boxes(text) or _NUMBER.findall(text)
    if not answers:
        return []
    return [form.format(answers[-1]) for form in _FORMS]
