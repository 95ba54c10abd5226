"""`grpo_prompt_template` makes prompts of text."""

import pytest

from axolotl_grpo_plugin import code, countdown, gsm8k, math, qa
from axolotl_grpo_plugin.transforms.countdown import question
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.transforms.conftest import run

TEMPLATE = {"grpo_prompt_template": "User: {question} {x}\nAssistant: <think>"}


@pytest.mark.parametrize(
    ("transform", "row", "asked"),
    [
        (countdown, {"nums": [3, 5, 7], "target": 15}, question([3, 5, 7], 15)),
        (gsm8k, {"question": "2 * 3?", "answer": "#### 6"}, "2 * 3?"),
        (math, {"problem": "2 * 3?", "answer": "6"}, "2 * 3?"),
        (qa, {"question": "2 * 3?", "answer": "6"}, "2 * 3?"),
    ],
    ids=["countdown", "gsm8k", "math", "qa"],
)
def test_prompt_is_the_template_with_the_question(transform, row, asked):
    assert run(transform, row, **TEMPLATE)["prompt"] == [f"User: {asked} {{x}}\nAssistant: <think>"]


def test_template_holds_the_task_of_a_program():
    row = {"question": "Add.", "tests": ["assert add(1, 2) == 3"]}
    (prompt,) = run(code, row, **TEMPLATE)["prompt"]
    assert prompt.startswith("User: Add.") and "`add`" in prompt


def test_long_prompts_of_text_are_dropped(tokenizer):
    rows = [{"question": text, "answer": "#### 6"} for text in ("2 * 3?", "2 * 3? " * 40)]
    keys = {**TEMPLATE, "grpo_max_prompt_length": 60}
    assert run(gsm8k, *rows, tokenizer=tokenizer, **keys)["question"] == ["2 * 3?"]


def test_refuses_earlier_turns_that_text_cannot_hold():
    roles = ("user", "assistant", "user", "assistant")
    chat = [{"role": role, "content": "x"} for role in roles]
    with pytest.raises(DatasetError, match="earlier turns of a chat do not fit"):
        run(qa, {"question": chat}, **TEMPLATE)
