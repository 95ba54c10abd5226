import json

import pytest

from axolotl_grpo_plugin.checks.sources import check_sources
from axolotl_grpo_plugin.stats.rows import Source

DISPATCH = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
VERL = "axolotl_grpo_plugin.verl"


@pytest.fixture
def findings(tmp_path):
    """Return the level and text of each finding on a dataset. end: bytes after its rows."""

    def check(rows, routes=None, transform=VERL, end=b"", reward=DISPATCH):
        file = tmp_path / "rows.jsonl"
        file.write_bytes("".join(json.dumps(row) + "\n" for row in rows).encode() + end)
        entry = {"path": str(file), "ds_type": "json", "type": transform}
        cfg = {"trl": {"reward_funcs": [reward]}, "datasets": [entry]}
        cfg["grpo_reward_args"] = {reward: {"routes": routes} if routes else {}}
        found = check_sources(cfg, Source("datasets", 0, str(file), entry))
        return [(each.level, str(each)) for each in found]

    return check


def row(source, truth="18"):
    return {"data_source": source, "prompt": "?", "reward_model": {"ground_truth": truth}}


def test_accepts_known_sources(findings):
    assert not findings([row("math_dapo"), row("openai/gsm8k"), row("table__hitab")])


def test_reports_a_source_without_route_in_a_late_row(findings):
    ((level, line),) = findings([*[row("math")] * 1100, row("chess"), row("chess")])
    assert level == "error"
    assert "row 1100: dispatch: data_source 'chess': no route takes it. Add `chess: " in line


def test_reports_a_route_whose_column_is_missing(findings):
    routes = {"mine": "axolotl_grpo_plugin.rewards.countdown.equation_reward_func"}
    ((_, line),) = findings([row("mine"), row("math")], routes)
    assert "row 0: dispatch: data_source 'mine': equation_reward_func reads 'nums'" in line
    assert not findings([row("mine", {"nums": [1, 2], "target": 3})], routes)


def test_reports_the_row_whose_gold_cannot_be_read(findings):
    rows = [row("math"), row("math", r"1:2:3:\ldots"), row("table__hitab", "x")]
    ((level, line),) = findings(rows)
    assert level == "warning"
    assert "row 1: dispatch cannot score this row, because math-verify" in line


def test_ignores_rewards_that_do_not_route(findings):
    assert not findings([{}], reward="axolotl_grpo_plugin.rewards.gsm8k.int_reward_func")


@pytest.mark.parametrize("source, shown", [(["a", "b"], "\"['a', 'b']\""), (7, "'7'")])
def test_reports_a_source_that_is_not_text(findings, source, shown):
    ((_, line),) = findings([row(None), row(source), row(source)], transform=None)
    assert f"row 1: dispatch: data_source {shown}: no route takes it" in line


def test_skips_rows_that_another_check_reports(findings):
    rows = [{"question": "1 + 1?", "answer": "#### 2"}] * 1500
    rows += [{"question": "1 + 1?", "answer": None}, {"question": "chess", "answer": "#### 3"}]
    assert not findings(rows, transform="axolotl_grpo_plugin.gsm8k")
    assert not findings([row("math")] * 2000, end=b'{"a": "\xff"}\n')  # not UTF-8


def test_missing_sandbox_is_a_skipped_finding(findings):
    routes = {"mine": "tests.scoring.rewards_that_fail.needs_a_server"}
    found = findings([row("mine"), row("chess")], routes)
    assert [level for level, _ in found] == ["skipped", "error"]
    assert found[0][1].endswith("data_source 'mine': nothing answers. Start it.")
