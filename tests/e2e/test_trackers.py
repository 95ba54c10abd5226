"""Trackio gets the curves, and TRL's table of completions with the reasons. test_around.py has W&B."""

import json
import sqlite3

import pytest

from tests.e2e.conftest import finish, shipped_config, start, write

FIRST = "correctness_reward_func"


@pytest.mark.slow
def test_trackio_gets_curves_and_completions_with_reasons(tmp_path):
    keys = {
        "max_steps": 3,
        "trl__log_completions": True,
        "trl__num_completions_to_print": 0,
        "grpo_held_out_rows": None,
        "output_dir": str(tmp_path / "out"),
    }
    keys["use_trackio"] = True
    config = write(tmp_path, shipped_config(**keys, use_tensorboard=False))
    # Trackio reads the variable when it is imported.
    finish(start("train", config, "--launcher", "python", TRACKIO_DIR=str(tmp_path / "trackio")))
    (file,) = tmp_path.glob("trackio/*.db")
    rows = sqlite3.connect(file).execute("select metrics from metrics order by id").fetchall()
    logs = [json.loads(row[0]) for row in rows]
    tables = [log["completions"] for log in logs if "completions" in log]
    assert {table["_value"][0]["step"] for table in tables} == {1, 2, 3}
    assert all(f"{FIRST}/reason" in table["_value"][0] for table in tables)
    shares = [log[f"train/reward_right/{FIRST}"] for log in logs if f"train/reward_right/{FIRST}" in log]
    assert len(shares) == 3 and all(0 <= share <= 1 for share in shares)
