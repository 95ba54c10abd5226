import json
from pathlib import Path

from click.testing import CliRunner

from axolotl_grpo_plugin.cli import grpo
from axolotl_grpo_plugin.paths import shipped


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
    shown = CliRunner().invoke(grpo, ["fetch", "--dest", str(tmp_path)])
    assert f"kept     {mine}" in shown.output
    assert mine.read_text() == "mine"
    pack = files(shipped("configs")) | files(shipped("rewards"))
    assert {Path("configs/deepspeed/zero3.json"), Path("configs/multinode/slurm.sbatch")} <= pack
    assert files(tmp_path / "configs") | files(tmp_path / "rewards") == pack
    cloud = tmp_path / "cloud.yaml"
    assert cloud.read_text() == shipped("cloud.yaml").read_text()
    cloud.write_text("mine")
    shown = CliRunner().invoke(grpo, ["fetch", "--dest", str(tmp_path)])
    assert f"kept     {cloud}" in shown.output
    assert cloud.read_text() == "mine"


def test_fetch_countdown_writes_problems_and_keeps_existing_files(tmp_path):
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
