"""`grpo_prompt_template` makes prompts of text. `grpo_system_in` places the instructions of a chat."""

import pytest

from axolotl_grpo_plugin import code, countdown, gsm8k, math, qa
from axolotl_grpo_plugin.transforms.countdown import question
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.transforms.conftest import run

TEMPLATE = {"grpo_prompt_template": "User: {question} {x}\nAssistant: <think>"}


ASKED = pytest.mark.parametrize(
    "transform, row, asked",
    [
        (countdown, {"nums": [3, 5, 7], "target": 15}, question([3, 5, 7], 15)),
        (gsm8k, {"question": "2 * 3?", "answer": "#### 6"}, "2 * 3?"),
        (math, {"problem": "2 * 3?", "answer": "6"}, "2 * 3?"),
        (qa, {"question": "2 * 3?", "answer": "6"}, "2 * 3?"),
    ],
    ids=["countdown", "gsm8k", "math", "qa"],
)


@ASKED
def test_prompt_is_the_template_with_the_question(transform, row, asked):
    assert run(transform, row, **TEMPLATE)["prompt"] == [f"User: {asked} {{x}}\nAssistant: <think>"]


@ASKED
def test_instructions_can_be_a_system_turn(transform, row, asked):
    (prompt,) = run(transform, row, grpo_system_in="system", grpo_system_prompt="Think.")["prompt"]
    assert prompt == [{"role": "system", "content": "Think."}, {"role": "user", "content": asked}]


def test_instructions_precede_or_follow_the_task_of_a_program():
    row = {"problem": "Double.", "tests": ["assert f(1) == 2"]}
    (prompt,) = run(code, row, grpo_system_prompt="Think.")["prompt"]
    assert prompt[0] == {"role": "system", "content": "Think."}
    (prompt,) = run(code, row, grpo_system_prompt="Think.", grpo_system_in="user")["prompt"]
    assert len(prompt) == 1 and prompt[0]["content"].endswith("\nThink.")


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
