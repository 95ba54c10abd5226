"""`axolotl grpo fetch`. (smollm2 is fetched by the fixture in tests/e2e/conftest.py.)"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from axolotl_grpo_plugin import verl
from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.commands.fetch import countdown_splits
from axolotl_grpo_plugin.paths import shipped
from axolotl_grpo_plugin.rewards.dispatch import dispatch
from tests.transforms.conftest import run


def fetch(*words):
    result = CliRunner().invoke(grpo, ["fetch", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.output


def files(folder):
    return {
        Path(folder.name) / file.relative_to(folder)
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_fetch_copies_the_pack_and_keeps_existing_files(tmp_path):
    mine = tmp_path / "configs" / "quickstart.yaml"
    mine.parent.mkdir()
    mine.write_text("mine")
    printed = fetch("--dest", tmp_path)
    assert f"kept     {mine}" in printed
    assert mine.read_text() == "mine"
    pack = files(shipped("configs")) | files(shipped("rewards"))
    assert {Path("configs/deepspeed/zero3.json"), Path("configs/multinode/slurm.sbatch")} <= pack
    assert files(tmp_path / "configs") | files(tmp_path / "rewards") == pack
    cloud = tmp_path / "cloud.yaml"
    assert cloud.read_text() == shipped("cloud.yaml").read_text()
    assert f"kept     {cloud}" in fetch("--dest", tmp_path)


def test_fetch_countdown_writes_problems_and_keeps_existing_files(tmp_path):
    folder = tmp_path / "data"
    printed = fetch("countdown", "--dest", folder)
    assert f"wrote    {folder / 'train.jsonl'} (10000 problems)" in printed
    for name, count in {"train": 10_000, "test": 500}.items():
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").open()]
        assert len(rows) == count
        assert {len(row["nums"]) for row in rows} == {3, 4}
        assert all(10 <= row["target"] < 100 for row in rows)
    (folder / "test.jsonl").write_text("mine\n")
    assert f"kept     {folder / 'test.jsonl'}" in fetch("countdown", "--dest", folder)
    assert (folder / "test.jsonl").read_text() == "mine\n"


def scores(file, answers):
    """Score answers to a Parquet file's first rows with the reward for verl's sources."""
    import pyarrow.parquet as pq

    columns = run(verl, *pq.read_table(file).slice(0, len(answers)).to_pylist())
    return dispatch()(columns.pop("prompt"), answers, **columns)


@pytest.mark.parametrize(
    ("what", "rows", "answers"),
    [
        (
            "gsm8k",
            [{"question": f"{n} + 1000?", "answer": f"Add. #### 1,00{n}"} for n in (1, 2)],
            ["<answer>1001</answer>", "<answer>1003</answer>"],
        ),
        (
            "math",
            [{"problem": "Half?", "solution": r"It is $\boxed{\frac{1}{2}}$."}] * 2,
            [r"\boxed{0.5}", r"\boxed{\frac{2}{2}}"],
        ),
    ],
)
def test_parquet_of_local_rows_pays_right_answers_only(what, rows, answers, tmp_path):
    for name in ("train", "test"):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    folder = tmp_path / "parquet"
    printed = fetch(what, "--parquet", folder, "--data", tmp_path)
    assert f"wrote    {folder / 'test.parquet'} (2 rows)" in printed
    assert scores(folder / "train.parquet", answers) == [1.0, 0.0]
    assert f"kept     {folder / 'train.parquet'}" in fetch(what, "--parquet", folder)


def test_parquet_of_countdown_pays_solutions(tmp_path):
    assert "(10000 rows)" in fetch("countdown", "--parquet", tmp_path)
    train, _ = countdown_splits()
    answers = [f"<answer>{problem.solution}</answer>" for problem in train[:8]]
    assert scores(tmp_path / "train.parquet", answers) == [1.0] * 8
    assert scores(tmp_path / "train.parquet", answers[:1] * 2) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["gsm8k"], "gsm8k needs --parquet DIR"),
        (["smollm2", "--parquet", "x"], "--parquet is for gsm8k, math and countdown"),
        (["gsm8k", "--parquet", "x", "--data", "."], "has neither train.jsonl nor train.parquet"),
    ],
)
def test_fetch_refuses_other_options(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(grpo, ["fetch", *words])
    assert result.exit_code and message in result.output
