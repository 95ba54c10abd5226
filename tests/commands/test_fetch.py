"""`axolotl-grpo fetch`. (smollm2 is fetched by the fixture in tests/e2e/conftest.py.)"""

from pathlib import Path

from axolotl_grpo_plugin.paths import shipped
from tests.conftest import invoke


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
    printed = invoke("fetch", "--out", tmp_path).output
    assert f"kept     {mine}" in printed
    assert mine.read_text() == "mine"
    pack = files(shipped("configs")) | files(shipped("rewards"))
    assert {Path("configs/deepspeed/zero3.json"), Path("configs/multinode/slurm.sbatch")} <= pack
    assert files(tmp_path / "configs") | files(tmp_path / "rewards") == pack
    cloud = tmp_path / "cloud.yaml"
    assert cloud.read_text() == shipped("cloud.yaml").read_text()
    assert f"kept     {cloud}" in invoke("fetch", "--out", tmp_path).output
