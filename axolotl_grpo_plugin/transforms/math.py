r"""MATH rows -> chat prompts that ask for the answer in `\boxed{}`."""

from axolotl_grpo_plugin.completions import read_boxes
from axolotl_grpo_plugin.config import RawConfig
from axolotl_grpo_plugin.rewards.math import read_gold
from axolotl_grpo_plugin.transforms.rows import (
    DataRow,
    MapArguments,
    Row,
    batched,
    instructions_beside,
)

# Qwen2.5-Math's, which most models know.
SYSTEM_PROMPT = r"Please reason step by step, and put your final answer within \boxed{}."


def math(cfg: RawConfig, dataset_idx: int = 0, **_: object) -> MapArguments:
    r"""Make prompts of MATH, NuminaMath, OpenR1-Math and similar datasets.

    Rows have a `problem` or `question`, and an `answer`. Without `answer`, a `solution` gives the
    answer in its last `\boxed{}` or after `####`. Adds `prompt`, chat messages with the instructions
    in a system turn. `solution` becomes the bare answer that `rewards.math` reads. A row without
    `data_source` gets "math". `grpo_system_in` is "system" by default.

    Source: https://github.com/hendrycks/math, with the prompt of https://github.com/QwenLM/Qwen2.5-Math.
    """
    ask = instructions_beside(cfg, SYSTEM_PROMPT)

    def change(row: DataRow) -> Row:
        problem = row.text("problem", "question")
        column = row.column("answer", "solution")
        text = row.text(column)
        gold = None
        # A solution is prose around its answer.
        if column == "answer" or "####" in text or read_boxes(text):
            gold = read_gold(text)
        if gold is None:
            raise row.fault(column, f"no answer in a \\boxed{{}} or after ####: {text[-60:]!r}")
        return {"prompt": ask(problem), "solution": gold}

    return batched(cfg, dataset_idx, change, "math")
