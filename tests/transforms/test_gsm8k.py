import logging
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from axolotl_grpo_plugin import gsm8k
from axolotl_grpo_plugin.completions import read_blocks
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT
from axolotl_grpo_plugin.transforms.rows import DatasetError

QUICKSTART = Path(__file__).parents[2] / "axolotl_grpo_plugin" / "quickstart"
CFG = {"datasets": [{"path": "a.jsonl"}], "test_datasets": [{"path": "b.jsonl"}]}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(QUICKSTART / "model")


def run(rows, tokenizer=None, **keys):
    transform, how = gsm8k({**CFG, **keys}, dataset_idx=0)
    assert how["batched"] and how["with_indices"]
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    return transform(columns, list(range(len(rows))), tokenizer)


def row(answer="9 * 2 = 18\n#### 18", question="How many?", **more):
    return {"question": question, "answer": answer, **more}


def test_the_prompt_and_the_label():
    made = run([row(), row("...\n#### 1,000"), row("#### -5"), row("#### $7")])
    assert made["answer"] == ["18", "1000", "-5", "7"]
    assert made["prompt"][0] == [{"role": "user", "content": f"{SYSTEM_PROMPT}\n\nHow many?"}]
    assert not SYSTEM_PROMPT.startswith("\n")


def test_a_system_turn_and_other_instructions():
    made = run([row()], grpo_system_in="system", grpo_system_prompt="Think.")
    assert made["prompt"][0] == [
        {"role": "system", "content": "Think."},
        {"role": "user", "content": "How many?"},
    ]


def test_examples_are_earlier_turns_in_the_layout():
    made = run([row()], grpo_examples=[{"question": "2 * 3?", "answer": "2 * 3 = 6 #### 6"}])
    first, answered, last = made["prompt"][0]
    assert first == {"role": "user", "content": f"{SYSTEM_PROMPT}\n\n2 * 3?"}
    assert read_blocks(answered["content"]) == ("\n2 * 3 = 6\n", "\n6\n")
    assert last == {"role": "user", "content": "How many?"}


def test_other_columns_stay():
    assert run([row(data_source="gsm8k")])["data_source"] == ["gsm8k"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row(), row("18")], r'row 1, column "answer": no "#### <number>" at its end: \'18\''),
        ([row("#### eighteen")], r'row 0, column "answer": no "#### <number>"'),
        ([row(), row(question=None)], r'row 1, column "question": no text: None'),
        ([row(question=" ")], r'row 0, column "question": no text'),
        ([row(answer=18)], r'row 0, column "answer": no text: 18'),
        (
            [{"problem": "x", "solution": "y"}],
            r'no column "question" \(it has: problem, solution\)',
        ),
    ],
)
def test_a_bad_row_is_named(rows, message):
    with pytest.raises(
        DatasetError,
        match=r"datasets\[0\] \(a.jsonl\) or test_datasets\[0\] \(b.jsonl\).*" + message,
    ):
        run(rows)


def test_a_bad_example_is_named():
    with pytest.raises(DatasetError, match=r"grpo_examples\[0\].*no \"#### <number>\""):
        run([row()], grpo_examples=[{"question": "2 * 3?", "answer": "6"}])


def test_prompts_over_the_budget_are_dropped_and_counted(tokenizer, caplog):
    rows = [row(question="How many? " * count, n=count) for count in (1, 40, 2)]
    with caplog.at_level(logging.WARNING):
        made = run(rows, tokenizer, grpo_max_prompt_length=80)
    assert made["n"] == [1, 2]
    assert {len(values) for values in made.values()} == {2}
    assert "dropped 1 of 3 rows, whose prompts are longer than 80 tokens" in caplog.text
    assert "the longest, row 1, has" in caplog.text


def test_the_length_counts_the_template(tokenizer):
    prompt = run([row()])["prompt"]
    encoded = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)
    length = len(encoded["input_ids"][0])
    assert len(run([row()], tokenizer, grpo_max_prompt_length=length)["prompt"]) == 1
    assert not run([row()], tokenizer, grpo_max_prompt_length=length - 1)["prompt"]
