import pytest

from axolotl_grpo_plugin.rewards.math import accuracy_reward_func
from axolotl_grpo_plugin.transforms.math import SYSTEM_PROMPT, math
from axolotl_grpo_plugin.transforms.rows import DatasetError

CFG = {"datasets": [{"path": "mine.jsonl"}]}


def transformed(rows, **keys):
    transform, how = math({**CFG, **keys}, dataset_idx=0)
    assert how["batched"] and how["with_indices"]
    return transform(rows, list(range(7, 7 + len(next(iter(rows.values()))))), None)


def test_a_worked_solution_becomes_its_answer():
    made = transformed({"problem": ["1/2 + 1/4?"], "solution": [r"It is \boxed{\frac{3}{4}}."]})
    assert made["solution"] == [r"\frac{3}{4}"]
    assert made["prompt"] == [
        [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": "1/2 + 1/4?"}]
    ]
    assert accuracy_reward_func([""], [r"\boxed{0.75}"], solution=made["solution"]) == [1.0]


def test_an_answer_column_is_the_gold():
    made = transformed({"question": ["1?"], "solution": ["long"], "answer": [" 1 "], "level": [3]})
    assert (made["solution"], made["level"]) == (["1"], [3])


def test_instructions_can_stand_below_the_problem():
    made = transformed(
        {"problem": ["1?"], "answer": ["1"]}, grpo_system_in="user", grpo_system_prompt="Box it."
    )
    assert made["prompt"] == [[{"role": "user", "content": "1?\nBox it."}]]


@pytest.mark.parametrize(
    "rows, message",
    [
        (
            {"problem": ["1?", "2?"], "solution": [r"\boxed{1}", "2"]},
            'row 8, column "solution": no a',
        ),
        ({"problem": ["1?", " "], "answer": ["1", "2"]}, 'row 8, column "problem": no text'),
        ({"problem": ["1?"], "answer": [None]}, 'row 7, column "answer": no text: None'),
        ({"text": ["1?"], "answer": ["1"]}, r'no column "problem" \(it has: text, answer\)'),
    ],
)
def test_a_bad_row_is_named(rows, message):
    with pytest.raises(DatasetError, match=r"mine.jsonl\).*" + message):
        transformed(rows)
