import logging
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from axolotl_grpo_plugin import countdown
from axolotl_grpo_plugin.transforms.countdown import SYSTEM_PROMPT, question
from axolotl_grpo_plugin.transforms.rows import DatasetError

EMBEDDED = Path(__file__).parents[2] / "axolotl_grpo_plugin" / "quickstart"
CFG = {"datasets": [{"path": "a.jsonl"}], "test_datasets": [{"path": "b.jsonl"}]}


def run(rows, tokenizer=None, **keys):
    transform, how = countdown({**CFG, **keys}, dataset_idx=0)
    assert how["batched"] and how["with_indices"]
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    return transform(columns, list(range(len(rows))), tokenizer)


def row(nums=(3, 5, 7), target=15, **more):
    return {"nums": list(nums) if isinstance(nums, tuple) else nums, "target": target, **more}


def test_the_prompt_and_the_columns():
    made = run([row(), row(nums="[1, 2]", target="3"), row(nums=["1", "2"])])
    asked = question([3, 5, 7], 15)
    assert made["prompt"][0] == [{"role": "user", "content": f"{SYSTEM_PROMPT}\n\n{asked}"}]
    assert "3, 5, 7" in asked and "make 15" in asked
    assert made["nums"] == [[3, 5, 7], [1, 2], [1, 2]]
    assert made["target"] == [15, 3, 15]


def test_a_system_turn_and_other_instructions():
    made = run([row(more=1)], grpo_system_in="system", grpo_system_prompt="Think.")
    assert made["prompt"][0] == [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": question([3, 5, 7], 15)},
    ]
    assert made["more"] == [1]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), row(nums=None)], r'row 1, column "nums": no list of whole numbers: None'),
        ([row(nums=[1.5])], r'row 0, column "nums": no list of whole numbers: \[1.5\]'),
        ([row(nums="3 5 7")], r'row 0, column "nums": no list'),
        ([row(target="many")], r'row 0, column "target": no whole number: \'many\''),
        ([row(), row(target=None)], r'row 1, column "target": no whole number: None'),
        ([{"question": "x", "nums": [1]}], r'no column "target" \(it has: question, nums\)'),
    ],
)
def test_a_bad_row_is_named(rows, message):
    with pytest.raises(
        DatasetError,
        match=r"datasets\[0\] \(a.jsonl\) or test_datasets\[0\] \(b.jsonl\).*" + message,
    ):
        run(rows)


def test_prompts_over_the_budget_are_dropped_and_counted(caplog):
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "countdown" / "model")
    rows = [row(n=1), row(nums=tuple(range(40)), n=2)]
    with caplog.at_level(logging.WARNING):
        made = run(rows, tokenizer, grpo_max_prompt_length=100)
    assert made["n"] == [1]
    assert "dropped 1 of 2 rows, whose prompts are longer than 100 tokens" in caplog.text
