"""Rows with a question and an answer, in any columns -> chat prompts that ask for `<answer>` blocks."""

from collections.abc import Callable
from typing import Any

from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT, instructions
from axolotl_grpo_plugin.transforms.rows import (
    DatasetError,
    check_columns,
    data_sources,
    source_of,
    within_budget,
)
from axolotl_grpo_plugin.transforms.verl import as_text


def qa(
    cfg: Any, dataset_idx: int = 0, **_: Any
) -> tuple[Callable[..., dict[str, list[Any]]], dict[str, Any]]:
    """Axolotl's factory for rows with a question and a gold answer.

    `grpo_columns` names their columns: {question: q, answer: a}. A question is text, or a list of chat
    messages; an answer of the assistant at its end is the gold answer if `answer` names no column. A
    gold answer is text, a number, a bool or a list.

    Each row gets a `prompt` (chat messages with the layout to answer in) and the gold answer as text in
    the columns `answer` and `solution`, because rewards read the one or the other. Text stays as it is.
    Any other value becomes JSON text. `data_source` is "qa" if the row has none. The other columns
    stay. Rows with too long a prompt are dropped, and counted.

    YAML keys (see args.py): `grpo_columns`, `grpo_system_prompt`, `grpo_system_in`, `grpo_examples`,
    `grpo_max_prompt_length`.

    Raises: DatasetError with dataset, row and column for a row without a question or an answer.
    """
    source = source_of(cfg, dataset_idx)
    columns = {"question": "question", "answer": "answer", **(cfg.get("grpo_columns") or {})}
    budget = cfg.get("grpo_max_prompt_length")
    ask = instructions(
        cfg.get("grpo_system_prompt") or SYSTEM_PROMPT,
        cfg.get("grpo_examples") or [],
        in_system_turn=cfg.get("grpo_system_in") == "system",
    )

    def transform(
        rows: dict[str, list[Any]], numbers: list[int], tokenizer: Any
    ) -> dict[str, list[Any]]:
        check_columns(rows, source, columns["question"])
        questions = rows[columns["question"]]
        in_chat = columns["answer"] not in rows and not isinstance(questions[0], str)
        if not in_chat:
            check_columns(rows, source, columns["answer"])
        prompts, golds = [], []
        for place, (number, question) in enumerate(zip(numbers, questions, strict=True)):
            where = f"{source}, row {number}"
            turns = _turns(question, f'{where}, column "{columns["question"]}"')
            last = turns.pop()["content"] if turns[-1]["role"] == "assistant" else None
            gold = last if in_chat else rows[columns["answer"]][place]
            if gold is None or gold == "":
                raise DatasetError(f"{where}: no gold answer. Remove the row, or give it one")
            if not turns:
                raise DatasetError(f"{where}: no question. Remove the row, or give it one")
            first, *others = turns
            prompts.append([*ask(first["content"]), *others] if first["role"] == "user" else turns)
            golds.append(as_text(gold))
        made = {**rows, "prompt": prompts, "answer": golds}
        if columns["question"] != "solution":
            made.setdefault("solution", golds)
        made["data_source"] = data_sources(rows, numbers, "qa")
        return within_budget(made, numbers, tokenizer, budget, source)

    return transform, {"batched": True, "with_indices": True, "batch_size": 10_000}
