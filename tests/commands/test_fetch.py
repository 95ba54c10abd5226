"""`axolotl grpo fetch`. (smollm2 is fetched by the fixture in tests/e2e/conftest.py.)"""

import json
from pathlib import Path

from click.testing import CliRunner

from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.paths import shipped


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
