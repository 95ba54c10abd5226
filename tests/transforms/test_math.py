import pytest

from axolotl_grpo_plugin.rewards.math import accuracy_reward_func
from axolotl_grpo_plugin.transforms.math import SYSTEM_PROMPT, math
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.transforms.conftest import run


def test_answer_is_read_from_a_worked_solution():
    made = run(math, {"problem": "1/2 + 1/4?", "solution": r"It is \boxed{\frac{3}{4}}."})
    assert made["solution"] == [r"\frac{3}{4}"]
    assert made["prompt"] == [[{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": "1/2 + 1/4?"}]]
    assert made["data_source"] == ["math"]
    assert accuracy_reward_func([""], [r"\boxed{0.75}"], solution=made["solution"]) == [1.0]


def test_answer_column_precedes_the_solution():
    made = run(math, {"question": "1?", "solution": "long", "answer": " 1 ", "level": 3})
    assert (made["solution"], made["level"]) == (["1"], [3])


def test_instructions_can_follow_the_problem():
    row = {"problem": "1?", "answer": "1"}
    made = run(math, row, grpo_system_in="user", grpo_system_prompt="Box it.")
    assert made["prompt"] == [[{"role": "user", "content": "1?\nBox it."}]]


@pytest.mark.parametrize(
    "answer, gold",
    [("72", "72"), (r"$\boxed{72}$", "72"), ("9 * 8\n#### 72", "72"), (r"\text{Evelyn}", r"\text{Evelyn}")],
)
def test_answer_column_is_read_as_the_reward_reads_it(answer, gold):
    made = run(math, {"problem": "1?", "answer": answer})
    assert made["solution"] == [gold]
    assert accuracy_reward_func([""], [rf"\boxed{{{gold}}}"], solution=made["solution"]) == [1.0]


@pytest.mark.parametrize(
    "row, message",
    [
        ({"problem": "1?", "answer": r"\boxed{}"}, 'row 0, column "answer": no answer in'),
        ({"problem": "1?", "answer": "prose " * 80}, 'row 0, column "answer": no answer in'),
        ({"problem": "1?", "solution": r"\boxed{1"}, 'row 0, column "solution": no answer in'),
        ({"problem": "1?", "solution": "2"}, 'row 0, column "solution": no answer in'),
        ({"problem": " ", "answer": "1"}, 'row 0, column "problem": no text'),
        ({"problem": "1?", "answer": None}, 'row 0, column "answer": no text: None'),
        ({"text": "1?", "answer": "1"}, r'no column "problem" \(it has: text, answer\)'),
    ],
)
def test_bad_row_is_named(row, message):
    with pytest.raises(DatasetError, match=r"a.jsonl\).*" + message):
        run(math, row)
