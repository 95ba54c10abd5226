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


def test_all_that_a_config_names_is_copied_and_what_is_there_is_kept(tmp_path):
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
