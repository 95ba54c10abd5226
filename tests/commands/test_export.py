"""`axolotl-grpo export`: rows that another program, or this one, reads again."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import Transform, read, sources
from tests.conftest import ROOT, invoke, write_rows

pytestmark = pytest.mark.usefixtures("working_folder")


def made(config):
    """Return the rows of a config's first dataset after its transform."""
    cfg = Config(config)
    source = sources(cfg)[0]
    return [row for rows in Transform(source, cfg, None)(next(read(source, cfg))) for row in rows]


def test_rows_come_back_by_the_transform_for_verl():
    printed = invoke("export", ROOT / "configs" / "quickstart.yaml", "--out", "p").output
    assert "p/train.parquet: 918 rows" in printed and "p/test.parquet: 234 rows" in printed
    config = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    config["datasets"][0]["path"] = str(ROOT / "axolotl_grpo_plugin" / "quickstart" / "train.jsonl")
    again = [{"path": "p/train.parquet", "ds_type": "parquet", "type": "axolotl_grpo_plugin.verl"}]
    before, after = made(config), made({"datasets": again})
    for name, other in (("prompt", "prompt"), ("answer", "ground_truth"), ("data_source", "data_source")):
        assert [row[name] for row in before] == [row[other] for row in after]


def config_of(rows, kind):
    entry = {"path": str(write_rows(Path("rows.jsonl"), rows)), "ds_type": "json", "type": kind}
    Path("c.yaml").write_text(yaml.safe_dump({"rl": "grpo", "datasets": [entry]}))
    return "c.yaml"


def test_countdown_has_the_ground_truth_of_tinyzero():
    invoke("export", config_of([{"nums": [3, 5], "target": 8}], "axolotl_grpo_plugin.countdown"), "--out", "p")
    (row,) = pq.read_table("p/train.parquet").to_pylist()
    assert json.loads(row["reward_model"]["ground_truth"]) == {"numbers": [3, 5], "target": 8}
    assert not Path("p/test.parquet").exists()


def test_row_without_a_gold_answer_is_named():
    Path("mine_rows.py").write_text("def rows(row):\n    return {'prompt': row['q']}\n")
    output = invoke("export", config_of([{"q": "Why?"}], "mine_rows.rows"), "--out", "p", code=1).output
    assert "row 0: no gold answer in answer, solution" in output and not Path("p").exists()
