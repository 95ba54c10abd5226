import pytest

from axolotl_grpo_plugin.checks.data import read_data
from axolotl_grpo_plugin.checks.prompts import check_prompts
from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.data.rows import sources
from tests.checks.found import codes, levels
from tests.conftest import MODEL, write_rows

DISPATCH = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
COUNTDOWN = "axolotl_grpo_plugin.rewards.countdown.equation_reward_func"


@pytest.fixture
def findings(tmp_path):
    """Return the findings on a dataset, after a count of the prompts."""

    def check(rows, routes=None, reward=DISPATCH):
        file = write_rows(tmp_path / "rows.jsonl", rows)
        entry = {"path": str(file), "type": "axolotl_grpo_plugin.verl"}
        cfg = {"base_model": str(MODEL), "trl": {"reward_funcs": [reward]}, "datasets": [entry]}
        cfg["grpo_reward_args"] = {reward: {"routes": routes} if routes else {}}
        return list(check_prompts(Config(cfg), read_data(Config(cfg), sources(Config(cfg)), offline=True, scored=True)))

    return check


def row(source, truth="18"):
    return {"data_source": source, "prompt": "?", "reward_model": {"ground_truth": truth}}


def test_accepts_known_sources(findings):
    assert not findings([row("math_dapo"), row("openai/gsm8k"), row("table__hitab")])
    assert not findings([row("chess")], reward="axolotl_grpo_plugin.rewards.gsm8k.int_reward_func")


def test_reports_a_source_without_route_in_a_late_row(findings):
    (finding,) = findings([*[row("math")] * 1100, row("chess"), row("chess")])
    assert "in 2 of 1,102 rows, the first is row 1100: data_source 'chess'" in finding.what


def test_reports_a_route_whose_column_is_missing(findings):
    (finding,) = findings([row("mine"), row("math")], {"mine": COUNTDOWN})
    assert "data_source 'mine': equation_reward_func reads 'nums'" in finding.what


def test_names_the_first_row_whose_type_differs(findings):
    texts = [row("math") | {"answer": "tech"}] * 30
    found = findings([*texts, row("math") | {"answer": 5}, row("math") | {"answer": 7}], reward=CORRECT)
    (finding,) = [finding for finding in found if finding.code == "mixed-types"]
    assert "the column 'answer' is text in the first rows, and 5 in row 30" in finding.what
    assert finding.level == "warning"


@pytest.mark.parametrize("answers", [[1, 2.5], ["a", None, "b"], [None, "a"]])
def test_numbers_and_missing_values_are_no_other_type(findings, answers):
    rows = [row("math") | {"answer": answer} for answer in answers]
    assert "mixed-types" not in codes(findings(rows, reward=CORRECT))


def test_columns_that_no_reward_reads_may_have_several_types(findings):
    assert not findings([row("math") | {"id": "a"}, row("math") | {"id": 1}])


def test_rows_that_cannot_be_read_are_reported_once(findings):
    assert codes(findings([row("math"), row("math"), row(None)])) == ["bad-row"]


def test_missing_sandbox_is_a_skipped_finding(findings):
    routes = {"mine": "tests.scoring.rewards_that_fail.needs_a_server"}
    found = findings([row("mine"), row("chess")], routes)
    assert levels(found) == [("skipped", "no-route"), ("error", "no-route")]


def test_crash_of_the_count_leaves_the_findings_of_other_datasets(monkeypatch, tmp_path):
    """As a tokenizer of the model's own code may crash."""

    def crash(cfg):
        raise RuntimeError("no kernel")

    monkeypatch.setattr("axolotl_grpo_plugin.checks.data.open_tokenizer", crash)
    entry = {"path": str(tmp_path / "nowhere.jsonl"), "type": "axolotl_grpo_plugin.verl"}
    cfg = Config({"base_model": str(MODEL), "datasets": [entry]})
    data = read_data(cfg, sources(cfg), offline=True, scored=True)
    assert len(data.unread) == 1
    (finding,) = check_prompts(cfg, data)
    assert finding.code == "uncounted-prompts" and "RuntimeError: no kernel" in str(finding)
