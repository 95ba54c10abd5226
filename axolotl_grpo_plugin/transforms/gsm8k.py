"""GSM8K rows -> chat prompts that ask for `<reasoning>` and `<answer>` blocks."""

from collections.abc import Callable
from typing import Any

from axolotl_grpo_plugin.completions import read_number
from axolotl_grpo_plugin.transforms.rows import DatasetError, Source, prompt_budget, within_budget

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
    bare label ("1000") that the rewards read. The other columns stay. Rows whose prompt does not
    fit beside `trl.max_completion_length` are dropped, with their count.

    YAML keys read: `grpo_system_prompt`, `grpo_system_in` (see args.py), `trl.max_completion_length`,
    `vllm.max_model_len` or `sequence_len`.

    Source: https://github.com/openai/grade-school-math (MIT), with the prompt of willccbb's gist.

    Raises: DatasetError with dataset, row and column for a row that is not GSM8K's.
    """
    source = Source.of(cfg, dataset_idx)
    system = cfg.get("grpo_system_prompt") or SYSTEM_PROMPT
    in_system_turn = cfg.get("grpo_system_in") == "system"
    budget = prompt_budget(cfg)

    def transform(
        rows: dict[str, list[Any]], numbers: list[int], tokenizer: Any
    ) -> dict[str, list[Any]]:
        questions, answers = source.texts(rows, numbers, "question", "answer")
        labels = [
            _label(answer, source, row) for answer, row in zip(answers, numbers, strict=True)
        ]
        prompts = [messages(question, system, in_system_turn) for question in questions]
        kept = {**rows, "prompt": prompts, "answer": labels}
        return within_budget(kept, numbers, tokenizer, budget, source)

    return transform, {"batched": True, "with_indices": True, "batch_size": 10_000}


def messages(
    question: str, system: str = SYSTEM_PROMPT, in_system_turn: bool = False
) -> list[dict[str, str]]:
    """The chat that asks a question: instructions above it in the user's turn, or in a system turn."""
    if in_system_turn:
        return [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return [{"role": "user", "content": f"{system}\n\n{question}"}]


def _label(answer: str, source: Source, row: int) -> str:
    _, mark, label = answer.rpartition("####")
    number = read_number(label)
    if not mark or number.value is None:
        raise DatasetError(
            f'{source}, row {row}, column "answer": no "#### <number>" at its end: {answer[-60:]!r}'
        )
    return label.strip().replace(",", "").replace("$", "")
