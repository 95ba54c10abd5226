"""GSM8K rows -> chat prompts that ask for `<reasoning>` and `<answer>` blocks."""

from collections.abc import Mapping, Sequence

from axolotl_grpo_plugin.completions import read_number
from axolotl_grpo_plugin.config import Config, RawConfig
from axolotl_grpo_plugin.findings import Finding
from axolotl_grpo_plugin.transforms.rows import (
    Ask,
    DataRow,
    DatasetError,
    MapArguments,
    Messages,
    Row,
    batched,
    text_prompt,
    turn,
)

Examples = Sequence[Mapping[str, str]]  # rows of GSM8K

SYSTEM_PROMPT = """Respond in the following format:
<reasoning>
...
</reasoning>
<answer>
...
</answer>"""


def gsm8k(cfg: RawConfig, dataset_idx: int = 0, **_: object) -> MapArguments:
    """Make prompts of GSM8K: rows with `question` and `answer` (which ends in "#### 1,000").

    Adds `prompt`, chat messages with the answer layout. `answer` becomes the bare label ("1000") that
    the rewards read. A row without `data_source` gets "openai/gsm8k". `grpo_examples` is read, too.

    Source: https://github.com/openai/grade-school-math (MIT), with the prompt of willccbb's gist.
    """
    ask = instructions_before(cfg, examples=Config(cfg).grpo_examples)

    def change(row: DataRow) -> Row:
        question, answer = row.text("question"), row.text("answer")
        _, mark, label = answer.rpartition("####")
        number = _bare_number(label)
        if not mark or not number:
            raise row.fault("answer", f'no "#### <number>" at its end: {answer[-60:]!r}')
        return {"prompt": ask(question), "answer": number}

    return batched(cfg, dataset_idx, change, "openai/gsm8k")


def instructions_before(
    cfg: RawConfig, default: str = SYSTEM_PROMPT, examples: Examples = ()
) -> Ask:
    """Return a function that makes a prompt of a question, as the config asks for."""
    config = Config(cfg)
    return text_prompt(cfg) or instructions(
        config.grpo_system_prompt or default,
        examples,
        in_system_turn=config.grpo_system_in == "system",
    )


def instructions(
    system: str = SYSTEM_PROMPT, examples: Examples = (), in_system_turn: bool = False
) -> Ask:
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
        what = f'no "#### <answer>" at its end: {answer[-60:]!r}'
        raise DatasetError(Finding(f'{where}, column "answer"', what, ""))
    return f"<reasoning>\n{work.strip()}\n</reasoning>\n<answer>\n{_bare_number(label) or label.strip()}\n</answer>"


def _bare_number(label: str) -> str:
    """Return a number without "," and "$", "" for any other text."""
    if read_number(label).value is None:
        return ""
    return label.strip().replace(",", "").replace("$", "")
