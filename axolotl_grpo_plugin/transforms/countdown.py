"""Countdown rows -> chat prompts that ask for an expression in `<reasoning>` and `<answer>` blocks."""

from collections.abc import Callable, Sequence
from typing import Any

from axolotl_grpo_plugin.rewards.countdown import read_problem
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT, instructions
from axolotl_grpo_plugin.transforms.rows import DatasetError, data_sources, source_of, within_budget


def countdown(
    cfg: Any, dataset_idx: int = 0, **_: Any
) -> tuple[Callable[..., dict[str, list[Any]]], dict[str, Any]]:
    """Axolotl's factory for Countdown: rows with `nums` ([3, 5, 7]) and `target` (22).

    Each row gets a `prompt`, chat messages with the task and GSM8K's layout to answer in; it shows no
    example, for an example can be copied. `nums` and `target` become whole numbers where they were
    text; `data_source` is "countdown" where it has none; the other columns stay. Rows with too long a prompt are dropped, with their count.

    YAML keys read (see args.py): `grpo_system_prompt`, `grpo_system_in`, `grpo_max_prompt_length`.

    Source: Jiayi-Pan/Countdown-Tasks-3to4 on the hub, or `axolotl grpo fetch countdown`.

    Raises: DatasetError with dataset, row and column for a row that is not Countdown's.
    """
    source = source_of(cfg, dataset_idx)
    budget = cfg.get("grpo_max_prompt_length")
    opening = instructions(
        cfg.get("grpo_system_prompt") or SYSTEM_PROMPT,
        in_system_turn=cfg.get("grpo_system_in") == "system",
    )

    def transform(
        rows: dict[str, list[Any]], numbers: list[int], tokenizer: Any
    ) -> dict[str, list[Any]]:
        read = _problems(rows, numbers, source)
        made = {
            **rows,
            "prompt": [opening(question(nums, target)) for nums, target in read],
            "nums": [nums for nums, _ in read],
            "target": [target for _, target in read],
            "data_source": data_sources(rows, numbers, "countdown"),
        }
        return within_budget(made, numbers, tokenizer, budget, source)

    return transform, {"batched": True, "with_indices": True, "batch_size": 10_000}


def question(nums: Sequence[int], target: int) -> str:
    """The task in words.

    >>> question([3, 5, 7], 22)
    'Use the numbers 3, 5, 7, each exactly once, with + - * / and parentheses, to make 22. Answer with the expression.'
    """
    listed = ", ".join(map(str, nums))
    return (
        f"Use the numbers {listed}, each exactly once, with + - * / and parentheses, "
        f"to make {target}. Answer with the expression."
    )


def _problems(
    rows: dict[str, list[Any]], numbers: Sequence[int], source: str
) -> list[tuple[list[int], int]]:
    for column in ("nums", "target"):
        if column not in rows:
            raise DatasetError(
                f'{source}: no column "{column}" (it has: {", ".join(rows)}): '
                "name a transform that reads these columns in `type:`"
            )
    problems = []
    for number, nums, target in zip(numbers, rows["nums"], rows["target"], strict=True):
        where = f"{source}, row {number}, column"
        if read_problem(nums, 0) is None:
            raise DatasetError(f'{where} "nums": no list of whole numbers: {nums!r}')
        problem = read_problem(nums, target)
        if problem is None:
            raise DatasetError(f'{where} "target": no whole number: {target!r}')
        problems.append(problem)
    return problems
