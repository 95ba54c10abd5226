import pytest

from axolotl_grpo_plugin import gsm8k
from axolotl_grpo_plugin.completions import read_blocks
from axolotl_grpo_plugin.completions import read_number as number
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.transforms.conftest import run


def row(answer="9 * 2 = 18\n#### 18", question="How many?", **more):
    return {"question": question, "answer": answer, **more}


def test_makes_prompts_and_labels():
    made = run(gsm8k, row(), row("...\n#### 1,000"), row("#### -5"), row("#### $7"))
    assert made["answer"] == ["18", "1000", "-5", "7"]
    assert made["prompt"][0] == [{"role": "user", "content": f"{SYSTEM_PROMPT}\n\nHow many?"}]
    assert not SYSTEM_PROMPT.startswith("\n")
    assert made["data_source"] == ["openai/gsm8k"] * 4


def test_examples_are_earlier_turns_in_the_layout():
    examples = [{"question": "2 * 3?", "answer": "2 * 3 = 6 #### 6"}]
    first, answer, last = run(gsm8k, row(), grpo_examples=examples)["prompt"][0]
    assert first == {"role": "user", "content": f"{SYSTEM_PROMPT}\n\n2 * 3?"}
    assert read_blocks(answer["content"]) == ("\n2 * 3 = 6\n", "\n6\n")
    assert last == {"role": "user", "content": "How many?"}


def test_other_columns_stay():
    made = run(gsm8k, row(data_source="gsm8k", level=3), row())
    assert made["data_source"] == ["gsm8k", "openai/gsm8k"]
    assert made["level"] == [3, None]


@pytest.mark.parametrize(
    "rows, message",
    [
        ([row(), row("18")], r'row 1, column "answer": no "#### <number>" at its end: \'18\''),
        ([row("#### eighteen")], r'row 0, column "answer": no "#### <number>"'),
        ([row(), row(question=None)], r'row 1, column "question": no text: None'),
        ([row(question=" ")], r'row 0, column "question": no text'),
        ([row(answer=18)], r'row 0, column "answer": no text: 18'),
        ([{"problem": "x", "solution": "y"}], r'no column "question" \(it has: problem, solution'),
    ],
)
def test_bad_row_is_named(rows, message):
    place = r"datasets\[0\] \(a.jsonl\) or test_datasets\[0\] \(b.jsonl\).*"
    with pytest.raises(DatasetError, match=place + message):
        run(gsm8k, *rows, test_datasets=[{"path": "b.jsonl"}])


def test_bad_example_is_named():
    with pytest.raises(DatasetError, match=r"grpo_examples\[0\].*no \"#### <answer>\""):
        run(gsm8k, row(), grpo_examples=[{"question": "2 * 3?", "answer": "6"}])


def test_the_budget_counts_the_options_of_the_chat_template(tokenizer):
    count = {"chat_template": "{{ messages[0].content }}{{ ' word' * more }}", "more": 0}
    keys = {"tokenizer": tokenizer, "grpo_max_prompt_length": 200}
    for more, kept in ((0, 1), (200, 0)):
        options = {"chat_template_kwargs": {**count, "more": more}}
        assert len(run(gsm8k, row(), **keys, grpo_trl_args=options)["prompt"]) == kept


def test_number_of_an_answer_is_read_once(monkeypatch):
    read = []
    monkeypatch.setattr(
        "axolotl_grpo_plugin.transforms.gsm8k.read_number", lambda text: read.append(text) or number(text)
    )
    run(gsm8k, row(), row("#### 1,000"))
    assert read == [" 18", " 1,000"]
