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
    "answer, gold",
    [
        ("72", "72"),
        (r"$\boxed{72}$", "72"),
        ("9 * 8\n#### 72", "72"),
        (r"\text{Evelyn}", r"\text{Evelyn}"),
    ],
)
def test_the_answer_column_is_read_as_the_reward_reads_it(answer, gold):
    made = transformed({"problem": ["1?"], "answer": [answer]})
    assert made["solution"] == [gold]
    assert accuracy_reward_func([""], [rf"\boxed{{{gold}}}"], solution=made["solution"]) == [1.0]


def test_a_system_turn_can_be_asked_for():
    made = transformed({"problem": ["1?"], "answer": ["1"]}, grpo_system_in="system")
    assert made["prompt"][0][0] == {"role": "system", "content": SYSTEM_PROMPT}


class Words:
    """A tokenizer whose tokens are words."""

    def apply_chat_template(self, prompts, **_):
        return {"input_ids": [" ".join(m["content"] for m in p).split() for p in prompts]}


def test_prompts_over_the_budget_are_dropped():
    transform, _ = math({**CFG, "grpo_max_prompt_length": 20}, dataset_idx=0)
    rows = {"problem": ["1?", "word " * 20, "2?"], "answer": ["1", "2", "3"]}
    assert transform(rows, [0, 1, 2], Words())["solution"] == ["1", "3"]


@pytest.mark.parametrize(
    "rows, message",
    [
        ({"problem": ["1?"], "answer": [r"\boxed{}"]}, 'row 7, column "answer": no answer in'),
        ({"problem": ["1?"], "answer": ["prose " * 80]}, 'row 7, column "answer": no answer in'),
        ({"problem": ["1?"], "solution": [r"\boxed{1"]}, 'row 7, column "solution": no answer in'),
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
