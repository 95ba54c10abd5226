r"""MATH rows -> chat prompts that ask for the answer in `\boxed{}`."""

from collections.abc import Sequence
from typing import Any

from axolotl_grpo_plugin.completions import read_boxes
from axolotl_grpo_plugin.rewards.math import read_gold
from axolotl_grpo_plugin.transforms.rows import (
    Columns,
    DatasetError,
    MapArguments,
    batched,
    first_of,
    instructions_beside,
    texts,
)

# Qwen2.5-Math's, which most models know.
SYSTEM_PROMPT = r"Please reason step by step, and put your final answer within \boxed{}."


def math(cfg: Any, dataset_idx: int = 0, **_: Any) -> MapArguments:
    r"""Make prompts of MATH, NuminaMath, OpenR1-Math and similar datasets.

    Rows have a `problem` or `question`, and an `answer`. Without `answer`, a `solution` gives the
    answer in its last `\boxed{}` or after `####`. Adds `prompt`, chat messages with the instructions
    in a system turn. `solution` becomes the bare answer that `rewards.math` reads. A row without
    `data_source` gets "math". `grpo_system_in` is "system" by default.

    Source: https://github.com/hendrycks/math, with the prompt of https://github.com/QwenLM/Qwen2.5-Math.
    """
    ask = instructions_beside(cfg, SYSTEM_PROMPT)

    def change(rows: Columns, numbers: Sequence[int], source: str) -> Columns:
        column = "answer" if "answer" in rows else "solution"
        problem_column = first_of(("problem", "question"), rows)
        problems, answers = texts(rows, numbers, source, problem_column, column)
        golds = []
        for number, text in zip(numbers, answers, strict=True):
            marked = column == "answer" or read_boxes(text) or "####" in text
            gold = read_gold(text) if marked else None
            if gold is None:
                what = f"no answer in a \\boxed{{}} or after ####: {text[-60:]!r}"
                raise DatasetError(f'{source}, row {number}, column "{column}": {what}')
            golds.append(gold)
        return {"prompt": [ask(problem) for problem in problems], "solution": golds}

    return batched(cfg, dataset_idx, change, "math")
