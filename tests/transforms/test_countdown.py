import json
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner
from transformers import AutoTokenizer

from axolotl_grpo_plugin import countdown
from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.quickstart.countdown_problems import Kind, held_out, splits
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


def test_the_splits_share_no_numbers_in_any_order():
    kind = Kind(sizes=(2, 3), largest=20, operators="+-*/", targets=range(1, 50))
    train, test = splits(kind, seed=5, train=300, test=100)
    assert (len(train), len(test)) == (300, 100)
    for problems in (train, test):
        assert len({(problem.nums, problem.target) for problem in problems}) == len(problems)
        assert {len(problem.nums) for problem in problems} == {2, 3}
        assert all(problem.target in kind.targets for problem in problems)
        assert all(1 <= number <= 20 for problem in problems for number in problem.nums)
    numbers = [{tuple(sorted(problem.nums)) for problem in split} for split in (train, test)]
    assert not numbers[0] & numbers[1]
    assert splits(kind, seed=5, train=300, test=100) == (train, test)
    assert splits(kind, seed=6, train=300, test=100) != (train, test)


def test_more_problems_than_there_are():
    kind = Kind(sizes=(2,), largest=3, operators="+", targets=range(1, 10))
    with pytest.raises(ValueError, match="has no 50 such problems"):
        splits(kind, seed=0, train=50, test=1)


def test_the_embedded_problems_are_what_the_script_makes(tmp_path, monkeypatch):
    from axolotl_grpo_plugin.quickstart import build

    monkeypatch.setattr(build, "FOLDER", tmp_path)
    build.write_problems()
    for name, count in {"train": 600, "held_out": 200}.items():
        text = (EMBEDDED / "countdown" / f"{name}.jsonl").read_text()
        assert (tmp_path / "countdown" / f"{name}.jsonl").read_text() == text
        rows = list(map(json.loads, text.splitlines()))
        assert len(rows) == count
        assert {held_out(row["nums"]) for row in rows} == {name == "held_out"}
    model = EMBEDDED / "countdown" / "model"
    assert sum(file.stat().st_size for file in model.iterdir()) < 2_000_000


def test_fetch_makes_the_problems_and_keeps_what_is_there(tmp_path):
    folder = tmp_path / "data"
    shown = CliRunner().invoke(grpo, ["fetch", "countdown", "--dest", str(folder)])
    assert shown.exit_code == 0, shown.output
    assert f"wrote    {folder / 'train.jsonl'} (10000 problems)" in shown.output
    for name, count in {"train": 10_000, "test": 500}.items():
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").open()]
        assert len(rows) == count
        assert {len(row["nums"]) for row in rows} == {3, 4}
        assert all(10 <= row["target"] < 100 for row in rows)
    (folder / "test.jsonl").write_text("mine\n")
    again = CliRunner().invoke(grpo, ["fetch", "countdown", "--dest", str(folder)])
    assert f"kept     {folder / 'test.jsonl'}" in again.output
    assert (folder / "test.jsonl").read_text() == "mine\n"
