r"""MATH rows -> chat prompts that ask for the answer in `\boxed{}`."""

from collections.abc import Callable
from typing import Any

from axolotl_grpo_plugin.completions import read_boxes
from axolotl_grpo_plugin.rewards.math import read_gold
from axolotl_grpo_plugin.transforms.rows import (
    DatasetError,
    data_sources,
    source_of,
    texts,
    within_budget,
)

# Qwen2.5-Math's, which most models know.
SYSTEM_PROMPT = r"Please reason step by step, and put your final answer within \boxed{}."


def math(
    cfg: Any, dataset_idx: int = 0, **_: Any
) -> tuple[Callable[..., dict[str, list[Any]]], dict[str, Any]]:
    r"""Axolotl's factory for MATH, NuminaMath, OpenR1-Math and their like.

    Rows have a `problem` (or `question`), and an `answer`, or else a `solution` with it in its last
    `\boxed{}` or after `####`. Each gets a `prompt`, chat messages with the instructions in a system turn, and
    `solution`, the bare answer, which `rewards.math` reads; `data_source` is "math" where it has none.
    The other columns stay. Rows with too
    long a prompt are dropped, with their count.

    YAML keys read (see args.py): `grpo_system_prompt`, `grpo_system_in` ("system" is the default
    here), `grpo_max_prompt_length`.

    Source: https://github.com/hendrycks/math, with the prompt of https://github.com/QwenLM/Qwen2.5-Math.

    Raises: DatasetError with dataset, row and column for a row without a problem or an answer.
    """
    source = source_of(cfg, dataset_idx)
    budget = cfg.get("grpo_max_prompt_length")
    system = cfg.get("grpo_system_prompt") or SYSTEM_PROMPT
    in_user_turn = cfg.get("grpo_system_in") == "user"

    def ask(problem: str) -> list[dict[str, str]]:
        if in_user_turn:
            return [{"role": "user", "content": f"{problem}\n{system}"}]
        return [{"role": "system", "content": system}, {"role": "user", "content": problem}]

    def transform(
        rows: dict[str, list[Any]], numbers: list[int], tokenizer: Any
    ) -> dict[str, list[Any]]:
        asks = "question" if "problem" not in rows and "question" in rows else "problem"
        answers = "answer" if "answer" in rows else "solution"
        problems, said = texts(rows, numbers, source, asks, answers)
        golds = []
        for number, text in zip(numbers, said, strict=True):
            marked = answers == "answer" or read_boxes(text) or "####" in text
            gold = read_gold(text) if marked else None
            if gold is None:
                where = f'{source}, row {number}, column "{answers}"'
                raise DatasetError(
                    f"{where}: no answer in a \\boxed{{}} or after ####: {text[-60:]!r}"
                )
            golds.append(gold)
        prompts = [ask(problem) for problem in problems]
        made = {**rows, "prompt": prompts, "solution": golds}
        made["data_source"] = data_sources(rows, numbers, "math")
        return within_budget(made, numbers, tokenizer, budget, source)

    return transform, {"batched": True, "with_indices": True, "batch_size": 10_000}
