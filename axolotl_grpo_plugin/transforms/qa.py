"""Rows with a question and an answer, in any columns -> chat prompts that ask for `<answer>` blocks."""

from collections.abc import Sequence
from typing import Any

from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.transforms.gsm8k import instructions_before
from axolotl_grpo_plugin.transforms.rows import (
    Columns,
    DatasetError,
    MapArguments,
    Messages,
    batched,
    check_columns,
    messages_of,
    turn,
)


def qa(cfg: Any, dataset_idx: int = 0, **_: Any) -> MapArguments:
    """Make prompts of any rows with a question and an answer.

    `grpo_columns` names their columns: {question: q, answer: a}. A question is text or chat messages.
    If the dataset lacks the answer's column, the assistant's message at the end of a chat is the answer.
    An answer is text, a number, a bool or a list.

    Adds `prompt`, chat messages with GSM8K's answer layout. Writes the answer to the column `answer`, and
    to `solution` unless the dataset has one, because rewards read one or the other. Anything but text
    becomes JSON text. A row without `data_source` gets "qa". `grpo_examples` is read, too.
    """
    columns = cfg.get("grpo_columns") or {}
    asked, answered = columns.get("question") or "question", columns.get("answer") or "answer"
    ask = instructions_before(cfg, examples=cfg.get("grpo_examples") or [])

    def change(rows: Columns, numbers: Sequence[int], source: str) -> Columns:
        check_columns(rows, source, asked)
        in_chat = answered not in rows and isinstance(rows[asked][0], list)
        if not in_chat:
            check_columns(rows, source, answered)
        prompts, golds = [], []
        for place, number in enumerate(numbers):
            where = f"{source}, row {number}, column"
            chat = _chat(rows[asked][place], f'{where} "{asked}"')
            last = chat.pop()["content"] if chat[-1]["role"] == "assistant" else None
            gold = as_text(last if in_chat else rows[answered][place])
            if gold is None or not gold.strip():
                raise DatasetError(f'{where} "{asked if in_chat else answered}": no answer')
            earlier, question = chat[:-1], chat[-1:]
            if not question or question[0]["role"] != "user":
                raise DatasetError(f'{where} "{asked}": no question of a user')
            prompt = ask(question[0]["content"])
            if earlier and isinstance(prompt, str):
                what = "earlier turns of a chat do not fit grpo_prompt_template. Remove that key"
                raise DatasetError(f'{where} "{asked}": {what}')
            prompts.append(prompt if isinstance(prompt, str) else [*earlier, *prompt])
            golds.append(gold)
        has_other = "solution" in rows and answered != "solution"
        return {"prompt": prompts, "answer": golds, **({} if has_other else {"solution": golds})}

    return batched(cfg, dataset_idx, change, "qa")


def _chat(question: Any, where: str) -> Messages:
    """Return a question as chat messages. Raises: DatasetError."""
    chat = [turn("user", question)] if isinstance(question, str) else messages_of(question)
    if not chat or not all(each["content"].strip() for each in chat):
        raise DatasetError(f"{where}: neither text nor chat messages: {question!r:.100}")
    return [turn(each["role"], each["content"]) for each in chat]
