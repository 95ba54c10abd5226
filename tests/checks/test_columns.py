import pytest
from datasets import Dataset, concatenate_datasets

from axolotl_grpo_plugin.checks import columns as checks


def test_columns_of_two_types_become_text(caplog):
    first = Dataset.from_list([{"prompt": "p", "answer": "18", "id": 1, "meta": {"a": 1}}])
    second = Dataset.from_list([{"prompt": "q", "answer": 18, "nums": [1, 2], "meta": "x"}])
    one, two = checks.align([first, second])
    assert (one["answer"][0], two["answer"][0]) == ("18", "18")
    assert (one["meta"][0], two["meta"][0]) == ('{"a": 1}', "x")
    assert one["id"][0] == 1 and two["nums"][0] == [1, 2]
    assert (
        '"answer" is Value' in caplog.text and '"meta"' in caplog.text and '"id"' not in caplog.text
    )

    assert concatenate_datasets([one, two])["answer"] == ["18", "18"]


def test_matching_datasets_are_unchanged(caplog):
    same = Dataset.from_list([{"prompt": "p", "answer": "18"}])
    assert checks.align([same, same]) == [same, same]
    assert not caplog.messages


@pytest.mark.parametrize("column, missing", [("answer", False), ("label", True)])
def test_reports_a_missing_reward_column(column, missing):
    reward = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
    cfg = {"trl": {"reward_funcs": [reward, "owner/a-model"]}, "datasets": [{"path": "mine"}]}
    dataset = Dataset.from_list([{"prompt": "p", column: "18"}])
    lines = [str(finding) for finding in checks.check_columns("datasets", dataset, cfg)]
    assert bool(lines) is missing
    if missing:
        assert f'no "answer" column, which {reward} reads (it has: prompt, label)' in lines[0]


def test_reports_how_many_rows_no_route_takes():
    key = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
    cfg = {"trl": {"reward_funcs": [key]}, "datasets": [{"path": "mine"}]}
    rows = [{"prompt": "p", "data_source": "math", "ground_truth": "1"}]
    other = {**rows[0], "data_source": "chess"}
    assert not list(checks.check_columns("datasets", Dataset.from_list(rows), cfg))
    (finding,) = checks.check_columns("datasets", Dataset.from_list(rows + [other] * 2), cfg)
    assert "dispatch, in 2 of 3 rows: data_source 'chess': no route takes it" in str(finding)


def test_reports_a_source_that_is_no_text():
    key = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
    cfg = {"trl": {"reward_funcs": [key]}, "datasets": [{"path": "mine"}]}
    for value in (["a"], 7):
        rows = Dataset.from_list([{"prompt": "p", "data_source": each} for each in (value, None)])
        (finding,) = checks.check_columns("datasets", rows, cfg)
        assert "dispatch, in 1 of 2 rows: data_source" in finding.what


MATH = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"


@pytest.mark.parametrize(
    "golds, level", [(["18", "1:2:3:\\ldots", "18"], "warning"), (["1:2:3:\\ldots"] * 2, "error")]
)
def test_reports_rows_whose_gold_cannot_be_read(golds, level):
    gated = "axolotl_grpo_plugin.rewards.shaping.gated"
    for key, options in ((MATH, {}), (gated, {"reward": MATH, "by": MATH})):
        cfg = {"trl": {"reward_funcs": [key]}, "grpo_reward_args": {key: options}}
        cfg["datasets"] = [{"path": "mine"}]
        dataset = Dataset.from_list([{"prompt": "p", "solution": gold} for gold in golds])
        (finding,) = checks.check_columns("datasets", dataset, cfg)
        count = golds.count("1:2:3:\\ldots")
        assert f"{count} of {len(golds)} rows: for one, math-verify cannot read" in finding.what
        assert finding.level == level


def test_reports_a_routed_row_whose_gold_cannot_be_read():
    key = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
    cfg = {"trl": {"reward_funcs": [key]}, "datasets": [{"path": "mine"}]}
    rows = [
        {"prompt": "p", "data_source": "math", "ground_truth": gold}
        for gold in ("1", "1:2:3:\\ldots")
    ]
    (finding,) = checks.check_columns("datasets", Dataset.from_list(rows), cfg)
    assert "no completion of 1 of 2 rows" in finding.what and finding.level == "warning"


def test_reports_rows_without_any_source():
    key = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
    cfg = {"trl": {"reward_funcs": [key]}, "datasets": [{"path": "mine"}]}
    rows = Dataset.from_list([{"prompt": "p", "data_source": None}] * 2)
    (finding,) = checks.check_columns("datasets", rows, cfg)
    assert "dispatch scores no row, because none has a data_source" in finding.what
