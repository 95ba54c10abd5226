"""GSM8K rows -> chat prompts that ask for `<reasoning>` and `<answer>` blocks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from axolotl_grpo_plugin.completions import read_number
from axolotl_grpo_plugin.transforms.rows import (
    DatasetError,
    data_sources,
    source_of,
    texts,
    within_budget,
)

Messages = list[dict[str, str]]

SYSTEM_PROMPT = """Respond in the following format:
<reasoning>
...
</reasoning>
<answer>
...
</answer>"""


def gsm8k(
    cfg: Any, dataset_idx: int = 0, **_: Any
) -> tuple[Callable[..., dict[str, list[Any]]], dict[str, Any]]:
    """Axolotl's factory for GSM8K: rows with `question` and `answer` (ending in "#### 1,000").

    Each row gets a `prompt`, chat messages with the layout to answer in, and an `answer`, the
    bare label ("1000") that the rewards read; `data_source` is "openai/gsm8k" where it has none. The
    other columns stay. Rows with too long a prompt
    are dropped, with their count.

    YAML keys read (see args.py): `grpo_system_prompt`, `grpo_system_in`, `grpo_examples`,
    `grpo_max_prompt_length`.

    Source: https://github.com/openai/grade-school-math (MIT), with the prompt of willccbb's gist.

    Raises: DatasetError with dataset, row and column for a row that is not GSM8K's.
    """
    source = source_of(cfg, dataset_idx)
    budget = cfg.get("grpo_max_prompt_length")
    opening = instructions(
        cfg.get("grpo_system_prompt") or SYSTEM_PROMPT,
        cfg.get("grpo_examples") or [],
        in_system_turn=cfg.get("grpo_system_in") == "system",
    )

    def transform(
        rows: dict[str, list[Any]], numbers: list[int], tokenizer: Any
    ) -> dict[str, list[Any]]:
        questions, answers = texts(rows, numbers, source, "question", "answer")
        labels = [
            _split(answer, f"{source}, row {row}")[1]
            for answer, row in zip(answers, numbers, strict=True)
        ]
        prompts = [opening(question) for question in questions]
        made = {**rows, "prompt": prompts, "answer": labels}
        made["data_source"] = data_sources(rows, numbers, "openai/gsm8k")
        return within_budget(made, numbers, tokenizer, budget, source)

    return transform, {"batched": True, "with_indices": True, "batch_size": 10_000}


def instructions(
    system: str = SYSTEM_PROMPT,
    examples: Sequence[Mapping[str, str]] = (),
    in_system_turn: bool = False,
) -> Callable[[str], Messages]:
    """A function that turns a question into the chat that asks it.

    The instructions stand above the first question, in the user's turn, or in a system turn;
    the examples, GSM8K rows, are earlier turns that were answered in the layout.
    """
    shown: Messages = []
    for number, example in enumerate(examples):
        answered = worked(example["answer"], f"grpo_examples[{number}]")
        shown += [_turn("user", example["question"]), _turn("assistant", answered)]

    def ask(question: str) -> Messages:
        first, *others = [*shown, _turn("user", question)]
        if in_system_turn:
            return [_turn("system", system), first, *others]
        return [_turn("user", f"{system}\n\n{first['content']}"), *others]

    return ask


def worked(answer: str, where: str) -> str:
    """A GSM8K answer in the layout that the instructions ask for. DatasetError where it has no label."""
    work, label = _split(answer, where)
    return f"<reasoning>\n{work}\n</reasoning>\n<answer>\n{label}\n</answer>"


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _split(answer: str, where: str) -> tuple[str, str]:
    """The work and the bare label of a GSM8K answer."""
    work, mark, label = answer.rpartition("####")
    if not mark or read_number(label).value is None:
        raise DatasetError(
            f'{where}, column "answer": no "#### <number>" at its end: {answer[-60:]!r}'
        )
    return work.strip(), label.strip().replace(",", "").replace("$", "")
