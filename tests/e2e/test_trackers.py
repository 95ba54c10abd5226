"""W&B, offline, and Trackio get the curves, and a table of samples that keeps its rows."""

import json
import sqlite3

import pytest

from tests.e2e.conftest import finish, shipped_config, start, write

FIRST = "correctness_reward_func"


@pytest.mark.slow
def test_trackers_get_curves_and_a_table_that_keeps_its_rows(tmp_path):
    keys = {"max_steps": 3, "grpo_show_steps": 2, "grpo_held_out_rows": None, "output_dir": str(tmp_path / "out")}
    keys |= {"wandb_project": "mine", "wandb_mode": "offline", "use_trackio": True}
    config = write(tmp_path, shipped_config(**keys, use_tensorboard=False))
    folders = {"WANDB_DIR": str(tmp_path), "TRACKIO_DIR": str(tmp_path / "trackio")}  # Trackio reads it when imported
    finish(start("train", config, "--launcher", "python", **folders))
    files = tmp_path.glob("wandb/offline-run-*/files/media/table/samples_*.json")
    tables = [json.loads(file.read_text()) for file in files]
    assert sorted({row[0] for table in tables for row in table["data"]}) == [1, 3]
    assert {"prompt", "completion", FIRST, f"{FIRST}/reason", "advantage", "reward"} <= set(tables[0]["columns"])
    (file,) = tmp_path.glob("trackio/*.db")
    rows = sqlite3.connect(file).execute("select metrics from metrics order by id").fetchall()
    logs = [json.loads(row[0]) for row in rows]
    assert [log["samples"]["_value"][0]["step"] for log in logs if "samples" in log] == [1, 3]
    shares = [log[f"train/reward_right/{FIRST}"] for log in logs if f"train/reward_right/{FIRST}" in log]
    assert len(shares) == 3 and all(0 <= share <= 1 for share in shares)
