"""Rows with a question and an answer, in any columns -> chat prompts that ask for `<answer>` blocks."""

from typing import Any

from axolotl_grpo_plugin.config import Config, RawConfig
from axolotl_grpo_plugin.transforms.gsm8k import instructions_before
from axolotl_grpo_plugin.transforms.rows import (
    SYSTEMS,
    Ask,
    DataRow,
    MapArguments,
    Messages,
    Row,
    batched,
    messages_of,
    turn,
    with_system,
)


def qa(cfg: RawConfig, dataset_idx: int = 0, **_: object) -> MapArguments:
    """Make prompts of any rows with a question and an answer.

    `grpo_columns` names their columns: {question: q, answer: a}. A question is text or chat messages.
    If the dataset lacks the answer's column, the assistant's message at the end of a chat is the answer.
    The text in a column `system` or `system_prompt`, or a chat's own system turn, is the prompt's system turn.
    An answer is text, a number, a bool or a list.

    Adds `prompt`, chat messages with GSM8K's answer layout. Writes the answer to the column `answer`, and
    to `solution` unless the dataset has one, because rewards read one or the other. Anything but text
    becomes JSON text, and text loses its outer whitespace. A row without `data_source` gets "qa". `grpo_examples` is read, too.
    """
    config = Config(cfg)
    asked = config.grpo_columns.question or "question"
    answered = config.grpo_columns.answer or "answer"
    ask = instructions_before(cfg, examples=config.grpo_examples)

    def change(row: DataRow) -> Row:
        chat = _chat(row, row.column(asked))
        last = chat.pop()["content"] if chat[-1]["role"] == "assistant" else None
        if answered not in row.values and isinstance(row.values[asked], list):
            gold, column = last, asked
        else:
            column = row.column(answered)
            gold = row.gold(column, row.values[column])
        # A space before or after an answer is a slip of the file, and a reward may compare exactly.
        gold = (gold or "").strip()
        if not gold:
            raise row.fault(column, "no answer")
        if not chat or chat[-1]["role"] != "user":
            raise row.fault(asked, "no question of a user")
        prompt = _prompt(row, asked, chat, ask)
        columns = {"prompt": prompt, "answer": gold}
        if answered == "solution" or "solution" not in row.values:
            columns["solution"] = gold
        return columns

    return batched(cfg, dataset_idx, change, "qa")


def _prompt(row: DataRow, column: str, chat: Messages, ask: Ask) -> Any:
    """Return the prompt of a chat that ends in a question, after its earlier turns and system text."""
    system = next((row.values[name] for name in SYSTEMS if row.values.get(name)), "")
    if chat[0]["role"] == "system":
        system = chat.pop(0)["content"]
    if not isinstance(system, str):
        system = ""
    earlier = chat[:-1]
    prompt = ask(chat[-1]["content"])
    if isinstance(prompt, str):
        if earlier or system.strip():
            texts = "earlier turns of a chat" if earlier else "system texts"
            raise row.fault(
                column, f"{texts} do not fit grpo_prompt_template", "Remove grpo_prompt_template"
            )
        return prompt
    instructions = prompt[:1] if prompt[0]["role"] == "system" else []
    prompt = [*instructions, *earlier, *prompt[len(instructions) :]]
    return with_system(prompt, system.strip()) if system.strip() else prompt


def _chat(row: DataRow, column: str) -> Messages:
    """Return a question as chat messages. Raises: DatasetError."""
    question = row.values[column]
    if isinstance(question, str):
        question = [turn("user", question)]
    chat = messages_of(question)
    if not chat or not all(message["content"].strip() for message in chat):
        fix = ""
        if (
            isinstance(question, list)
            and question
            and isinstance(question[0], dict)
            and "from" in question[0]
        ):
            fix = "Write role and content in place of from and value, and user and assistant in place of human and gpt"
        raise row.fault(column, f"neither text nor chat messages: {question!r:.100}", fix)
    return [turn(message["role"], message["content"]) for message in chat]
