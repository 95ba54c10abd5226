"""GSM8K rows -> chat prompts that ask for `<reasoning>` and `<answer>` blocks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from axolotl_grpo_plugin.completions import read_number
from axolotl_grpo_plugin.transforms.rows import (
    Columns,
    DatasetError,
    MapArguments,
    Messages,
    batched,
    text_prompt,
    texts,
    turn,
)

SYSTEM_PROMPT = """Respond in the following format:
<reasoning>
...
</reasoning>
<answer>
...
</answer>"""


def gsm8k(cfg: Any, dataset_idx: int = 0, **_: Any) -> MapArguments:
    """Make prompts of GSM8K: rows with `question` and `answer` (which ends in "#### 1,000").

    Adds `prompt`, chat messages with the answer layout. `answer` becomes the bare label ("1000") that
    the rewards read. A row without `data_source` gets "openai/gsm8k". `grpo_examples` is read, too.

    Source: https://github.com/openai/grade-school-math (MIT), with the prompt of willccbb's gist.
    """
    ask = instructions_before(cfg, examples=cfg.get("grpo_examples") or [])

    def change(rows: Columns, numbers: Sequence[int], source: str) -> Columns:
        questions, answers = texts(rows, numbers, source, "question", "answer")
        labels = [
            _label(answer, f"{source}, row {number}")
            for answer, number in zip(answers, numbers, strict=True)
        ]
        return {"prompt": [ask(question) for question in questions], "answer": labels}

    return batched(cfg, dataset_idx, change, "openai/gsm8k")


def instructions_before(
    cfg: Any, default: str = SYSTEM_PROMPT, examples: Sequence[Mapping[str, str]] = ()
) -> Callable[[str], Any]:
    """Return a function that makes a prompt of a question, as the config asks for."""
    return text_prompt(cfg) or instructions(
        cfg.get("grpo_system_prompt") or default,
        examples,
        in_system_turn=cfg.get("grpo_system_in") == "system",
    )


def instructions(
    system: str = SYSTEM_PROMPT,
    examples: Sequence[Mapping[str, str]] = (),
    in_system_turn: bool = False,
) -> Callable[[str], Messages]:
    """Return a function that turns a question into chat messages.

    The instructions precede the first question in the user's turn, or are a system turn. Each
    example, a GSM8K row, becomes an earlier question with its answer in the layout.
    """
    shown: Messages = []
    for number, example in enumerate(examples):
        answer = worked(example["answer"], f"grpo_examples[{number}]")
        shown += [turn("user", example["question"]), turn("assistant", answer)]

    def ask(question: str) -> Messages:
        first, *others = [*shown, turn("user", question)]
        if in_system_turn:
            return [turn("system", system), first, *others]
        return [turn("user", f"{system}\n\n{first['content']}"), *others]

    return ask


def worked(answer: str, where: str) -> str:
    """Return an answer like GSM8K's in the prompt's layout. Raises: DatasetError if it has no label."""
    work, mark, label = answer.rpartition("####")
    if not mark or not label.strip():
        raise DatasetError(
            f'{where}, column "answer": no "#### <answer>" at its end: {answer[-60:]!r}'
        )
    return f"<reasoning>\n{work.strip()}\n</reasoning>\n<answer>\n{_bare(label)}\n</answer>"


def _label(answer: str, where: str) -> str:
    """Return the bare label of a GSM8K answer."""
    _, mark, label = answer.rpartition("####")
    if not mark or read_number(label).value is None:
        raise DatasetError(
            f'{where}, column "answer": no "#### <number>" at its end: {answer[-60:]!r}'
        )
    return _bare(label)


def _bare(label: str) -> str:
    """Return a number without "," and "$", or any other text without outer whitespace."""
    is_number = read_number(label).value is not None
    return label.strip().replace(",", "").replace("$", "") if is_number else label.strip()
