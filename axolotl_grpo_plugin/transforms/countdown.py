"""Countdown rows -> chat prompts that ask for an expression in `<reasoning>` and `<answer>` blocks."""

from collections.abc import Sequence

from axolotl_grpo_plugin.config import RawConfig
from axolotl_grpo_plugin.rewards.countdown import read_problem
from axolotl_grpo_plugin.transforms.gsm8k import instructions_before
from axolotl_grpo_plugin.transforms.rows import DataRow, MapArguments, Row, batched


def countdown(cfg: RawConfig, dataset_idx: int = 0, **_: object) -> MapArguments:
    """Make prompts of Countdown problems: rows with `nums` ([3, 5, 7]) and `target` (22).

    Adds `prompt`, chat messages with the task and GSM8K's answer layout. The prompt shows no example,
    because a model can copy it. `nums` and `target` become whole numbers if they were text. A row
    without `data_source` gets "countdown".

    Source: Jiayi-Pan/Countdown-Tasks-3to4 on the hub.
    """
    ask = instructions_before(cfg)

    def change(row: DataRow) -> Row:
        nums = row.values[row.column("nums")]
        target = row.values[row.column("target")]
        problem = read_problem(nums, target)
        if problem:
            nums, target = problem
            return {"prompt": ask(question(nums, target)), "nums": nums, "target": target}
        if read_problem(nums, 0):
            raise row.fault("target", f"not a whole number: {target!r}")
        raise row.fault("nums", f"not a list of whole numbers: {nums!r}")

    return batched(cfg, dataset_idx, change, "countdown")


def question(nums: Sequence[int], target: int) -> str:
    """Return the task in words.

    >>> question([3, 5, 7], 22)
    'Use the numbers 3, 5, 7, each exactly once, with + - * / and parentheses, to make 22. Answer with the expression.'
    """
    listed = ", ".join(map(str, nums))
    return (
        f"Use the numbers {listed}, each exactly once, with + - * / and parentheses, "
        f"to make {target}. Answer with the expression."
    )
