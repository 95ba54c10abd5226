import pytest

from axolotl_grpo_plugin import countdown
from axolotl_grpo_plugin.transforms.countdown import question
from axolotl_grpo_plugin.transforms.gsm8k import SYSTEM_PROMPT
from axolotl_grpo_plugin.transforms.rows import DatasetError
from tests.transforms.conftest import run

ROW = {"nums": [3, 5, 7], "target": 15}


def test_makes_prompts_and_whole_numbers():
    rows = [{"nums": "[1, 2]", "target": "3"}, {"nums": ["1", "2"], "target": 15}]
    made = run(countdown, ROW, *rows)
    asked = question([3, 5, 7], 15)
    assert made["prompt"][0] == [{"role": "user", "content": f"{SYSTEM_PROMPT}\n\n{asked}"}]
    assert "3, 5, 7" in asked and "make 15" in asked
    assert made["nums"] == [[3, 5, 7], [1, 2], [1, 2]]
    assert made["target"] == [15, 3, 15]
    assert made["data_source"] == ["countdown"] * 3


@pytest.mark.parametrize(
    "row, message",
    [
        ({"nums": None}, r'row 1, column "nums": not a list of whole numbers: None'),
        ({"nums": [1.5]}, r'row 1, column "nums": not a list of whole numbers: \[1.5\]'),
        ({"nums": "3 5 7"}, r'row 1, column "nums": not a list'),
        ({"target": "many"}, r'row 1, column "target": not a whole number: \'many\''),
        ({"target": None}, r'row 1, column "target": not a whole number: None'),
    ],
)
def test_bad_row_is_named(row, message):
    with pytest.raises(DatasetError, match=r"datasets\[0\] \(a.jsonl\), " + message):
        run(countdown, ROW, {**ROW, **row})


def test_missing_column_is_named():
    with pytest.raises(DatasetError, match=r'no column "target" \(it has: question, nums\)'):
        run(countdown, {"question": "x", "nums": [1]})
