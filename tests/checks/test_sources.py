import json

import pytest

from axolotl_grpo_plugin.checks.sources import check_sources
from axolotl_grpo_plugin.stats.rows import Source

KEY = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
GSM8K = "axolotl_grpo_plugin.rewards.gsm8k"


def said(tmp_path, rows, routes=None, type_="axolotl_grpo_plugin.verl"):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = {"path": str(file), "ds_type": "json", "type": type_}
    cfg = {"trl": {"reward_funcs": [KEY]}, "datasets": [entry]}
    cfg["grpo_reward_args"] = {KEY: {"routes": routes}}
    return [str(each) for each in check_sources(cfg, Source("datasets", 0, str(file), entry))]


def row(source, truth="18", **more):
    return {"data_source": source, "prompt": "?", "reward_model": {"ground_truth": truth}, **more}


def test_accepts_known_sources(tmp_path):
    assert not said(tmp_path, [row("math_dapo"), row("openai/gsm8k"), row("table__hitab")])


def test_reports_an_unscored_source_in_a_late_row(tmp_path):
    (line,) = said(tmp_path, [*[row("math")] * 2500, row("chess"), row("chess")])
    assert "row 2500: dispatch: data_source 'chess': no route takes it. Add `chess: " in line


def test_reports_a_route_whose_column_is_missing(tmp_path):
    routes = {"mine": "axolotl_grpo_plugin.rewards.countdown.equation_reward_func"}
    (line,) = said(tmp_path, [row("mine"), row("math")], routes)
    assert "row 0: dispatch: data_source 'mine': equation_reward_func reads 'nums'" in line
    assert not said(tmp_path, [row("mine", {"nums": [1, 2], "target": 3})], routes)


def test_reports_the_row_whose_gold_cannot_be_read(tmp_path):
    (line,) = said(tmp_path, [row("math"), row("math", r"1:2:3:\ldots"), row("table__hitab", "x")])
    assert "row 1: dispatch scores no completion of this row, because math-verify" in line


def test_ignores_rewards_that_do_not_route(tmp_path):
    cfg = {"trl": {"reward_funcs": [f"{GSM8K}.int_reward_func"]}}
    assert not list(check_sources(cfg, Source("datasets", 0, "nowhere", {"path": "nowhere"})))


@pytest.mark.parametrize("source, shown", [(["a", "b"], "\"['a', 'b']\""), (7, "'7'")])
def test_reports_a_source_that_is_no_text(tmp_path, source, shown):
    (line,) = said(tmp_path, [row(None), row(source), row(source)], type_=None)
    assert f"row 1: dispatch: data_source {shown}: no route takes it" in line


def test_skips_rows_that_another_check_reports(tmp_path):
    rows = [{"question": "1 + 1?", "answer": "#### 2"}] * 1500
    later = [{"question": "1 + 1?", "answer": None}, {"question": "chess", "answer": "#### 3"}]
    assert not said(tmp_path, rows + later, type_="axolotl_grpo_plugin.gsm8k")
    assert not list(_broken_off(tmp_path))


def _broken_off(tmp_path):
    """A file whose 2000th row is no UTF-8."""
    file = tmp_path / "broken.jsonl"
    file.write_bytes((json.dumps(row("math")) + "\n").encode() * 2000 + b'{"a": "\xff"}\n')
    entry = {"path": str(file), "ds_type": "json", "type": "axolotl_grpo_plugin.verl"}
    cfg = {"trl": {"reward_funcs": [KEY]}, "datasets": [entry]}
    return check_sources(cfg, Source("datasets", 0, str(file), entry))


def test_missing_sandbox_is_a_skipped_finding(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row(source)) + "\n" for source in ("mine", "chess")))
    entry = {"path": str(file), "ds_type": "json", "type": "axolotl_grpo_plugin.verl"}
    routes = {"mine": "tests.scoring.rewards_that_fail.needs_a_server"}
    cfg = {"trl": {"reward_funcs": [KEY]}, "grpo_reward_args": {KEY: {"routes": routes}}}
    cfg["datasets"] = [entry]
    found = list(check_sources(cfg, Source("datasets", 0, str(file), entry)))
    assert [each.level for each in found] == ["skipped", "error"]
    assert str(found[0]).endswith("data_source 'mine': nothing answers. Start it.")
