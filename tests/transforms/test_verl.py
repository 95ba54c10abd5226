import json
import logging
from datetime import date
from decimal import Decimal

import numpy as np
import pytest

from axolotl_grpo_plugin import verl
from axolotl_grpo_plugin.runlog.schema import as_text
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.transforms.conftest import run

CHAT = [{"role": "system", "content": "Think."}, {"role": "user", "content": "2 * 3?"}]
TEMPLATED = "<|im_start|>user\n2 * 3?<|im_end|>\n<|im_start|>assistant\n<think>\n"


def row(prompt=CHAT, truth="6", source="openai/gsm8k", **more):
    return {"prompt": prompt, "data_source": source, "reward_model": {"style": "rule", "ground_truth": truth}, **more}


@pytest.mark.parametrize(
    "prompt, made",
    [
        (CHAT, CHAT),
        (TEMPLATED, TEMPLATED),  # the trainer feeds text without a template: once is enough
        (np.array(CHAT, dtype=object), CHAT),
        (tuple(CHAT), CHAT),
        ([{**CHAT[1], "name": None}], [CHAT[1]]),  # Arrow gives each message all fields
    ],
    ids=["chat", "templated", "numpy", "tuple", "fields"],
)
def test_prompt_is_unchanged(prompt, made):
    assert run(verl, row(prompt))["prompt"] == [made]


@pytest.mark.parametrize(
    "truth, text",
    [
        ("6", "6"),
        ("", ""),
        (" 1,000\n", " 1,000\n"),
        (6, "6"),
        (0, "0"),
        (False, "false"),
        (1.5, "1.5"),
        (["a", "é"], '["a", "é"]'),
        ([], "[]"),
        ({"rows": [[1, None]]}, '{"rows": [[1, null]]}'),
        ('{"tests": []}', '{"tests": []}'),
        (np.array([1, 2]), "[1, 2]"),
        ({"n": np.int64(3)}, '{"n": 3}'),
        ({"on": date(2024, 2, 29), "x": Decimal("1.10")}, '{"on": "2024-02-29", "x": "1.10"}'),
    ],
    ids=str,
)
def test_ground_truth_becomes_text(truth, text):
    assert run(verl, row(truth=truth))["ground_truth"] == [text]
    assert as_text(truth) == text


def test_extra_info_becomes_text_and_other_columns_stay():
    info = {"index": 3, "split": "train"}
    made = run(verl, row(extra_info=info, ability="math", nums=[1, 2]), row(ability="code"))
    assert list(map(json.loads, made["extra_info"])) == [info, {}]
    assert made["reward_model"] == ["rule", "rule"]
    assert made["ability"] == ["math", "code"]
    assert made["nums"] == [[1, 2], None]
    assert made["data_source"] == ["openai/gsm8k"] * 2
    assert run(verl, row())["extra_info"] == ["{}"]


def test_reads_a_ground_truth_column():
    made = run(verl, {"prompt": TEMPLATED, "data_source": "gsm8k", "ground_truth": 6})
    assert made["ground_truth"] == ["6"]
    both = {**row(truth=None), "ground_truth": [1]}
    assert run(verl, both)["ground_truth"] == ["[1]"]


def test_dataset_may_have_ground_truths_of_other_names():
    made = run(verl, {"prompt": TEMPLATED, "data_source": "countdown", "target": 24, "nums": [4, 6]})
    assert made["target"] == [24] and made["nums"] == [[4, 6]]
    assert "ground_truth" not in made and "reward_model" not in made


@pytest.mark.parametrize(
    "rows, message",
    [
        ([row(), row(source=None)], r'row 1, column "data_source": no text: None'),
        ([row(source=" ")], r'row 0, column "data_source": no text'),
        ([row(), row(truth=None)], r'row 1, column "reward_model": no ground truth: .*Give every'),
        ([{**row(), "reward_model": None}], r'row 0, column "reward_model": no ground truth: None'),
        ([{**row(), "reward_model": "6"}], r'row 0, column "reward_model": no ground truth: 6'),
        ([row(), row(None)], r'row 1, column "prompt": neither text nor chat messages: \'None\''),
        ([row("")], r'row 0, column "prompt": neither text'),
        ([row([])], r'row 0, column "prompt": neither text'),
        ([row(["2 * 3?"])], r'row 0, column "prompt": neither text'),
        ([row([{"role": "user", "content": None}])], r'row 0, column "prompt": neither text'),
        ([row([{"from": "human", "value": "x"}])], r'row 0, column "prompt": neither text'),
        ([{"prompt": CHAT, "answer": "6"}], r'no column "data_source" \(it has: prompt, answer\)'),
        ([{"question": "x", "data_source": "y"}], r'no column "prompt" \(it has: question, data_s'),
        ([{"prompt": "x", "data_source": "y", "ground_truth": None}], r'row 0, column "ground_truth": no ground truth'),
    ],
)
def test_bad_row_is_named(rows, message):
    with pytest.raises(DatasetError, match=r"datasets\[0\] \(a.jsonl\)[:,] " + message):
        run(verl, *rows)


@pytest.mark.parametrize("templated", [True, False])
def test_prompts_are_counted_as_the_trainer_counts_them(tokenizer, caplog, templated):
    chats = [[{"role": "user", "content": "How many? " * n}] for n in (1, 40, 2)]
    prompts = chats
    if templated:
        prompts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        lengths = [len(ids) for ids in tokenizer(text=prompts)["input_ids"]]
    else:
        encoded = tokenizer.apply_chat_template(chats, add_generation_prompt=True, return_dict=True)
        lengths = [len(ids) for ids in encoded["input_ids"]]
    rows = [row(prompt, n=n) for n, prompt in enumerate(prompts)]
    with caplog.at_level(logging.WARNING):
        made = run(verl, *rows, tokenizer=tokenizer, grpo_max_prompt_length=lengths[2])
    assert made["n"] == [0, 2] and made["prompt"] == [prompts[0], prompts[2]]
    assert {len(values) for values in made.values()} == {2}
    assert "dropped 1 of 3 rows" in caplog.text
    assert run(verl, *rows, tokenizer=tokenizer, grpo_max_prompt_length=lengths[2] - 1)["n"] == [0]
