"""Countdown rows -> chat prompts that ask for an expression in `<reasoning>` and `<answer>` blocks."""

from collections.abc import Sequence
from typing import Any

from axolotl_grpo_plugin.rewards.countdown import read_problem
from axolotl_grpo_plugin.transforms.gsm8k import instructions_before
from axolotl_grpo_plugin.transforms.rows import (
    Columns,
    DatasetError,
    MapArguments,
    batched,
    check_columns,
)


def countdown(cfg: Any, dataset_idx: int = 0, **_: Any) -> MapArguments:
    """Make prompts of Countdown problems: rows with `nums` ([3, 5, 7]) and `target` (22).

    Adds `prompt`, chat messages with the task and GSM8K's answer layout. The prompt shows no example,
    because a model can copy it. `nums` and `target` become whole numbers if they were text. A row
    without `data_source` gets "countdown".

    Source: Jiayi-Pan/Countdown-Tasks-3to4 on the hub, or `axolotl grpo fetch countdown`.
    """
    ask = instructions_before(cfg)

    def change(rows: Columns, numbers: Sequence[int], source: str) -> Columns:
        check_columns(rows, source, "nums", "target")
        problems = [
            _problem(nums, target, f"{source}, row {number}")
            for number, nums, target in zip(numbers, rows["nums"], rows["target"], strict=True)
        ]
        return {
            "prompt": [ask(question(nums, target)) for nums, target in problems],
            "nums": [nums for nums, _ in problems],
            "target": [target for _, target in problems],
        }

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


def _problem(nums: Any, target: Any, where: str) -> tuple[list[int], int]:
    if problem := read_problem(nums, target):
        return problem
    if read_problem(nums, 0):
        raise DatasetError(f'{where}, column "target": not a whole number: {target!r}')
    raise DatasetError(f'{where}, column "nums": not a list of whole numbers: {nums!r}')
