import pytest

from tests.conftest import Later

pytestmark = pytest.mark.xdist_group("with torch")
checks, datasets = Later("axolotl_grpo_plugin.checks.columns"), Later("datasets")

CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
DISPATCH = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
GATED = "axolotl_grpo_plugin.rewards.shaping.gated"
MATH = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"
UNREADABLE = "1:2:3:\\ldots"


def findings(rewards, rows):
    """rewards: their paths and arguments."""
    cfg = {"trl": {"reward_funcs": list(rewards)}, "grpo_reward_args": rewards}
    cfg["datasets"] = [{"path": "mine"}]
    return list(checks.check_columns("datasets", datasets.Dataset.from_list(rows), cfg))


def test_columns_of_two_types_become_text(caplog):
    first = datasets.Dataset.from_list([{"prompt": "p", "answer": "18", "id": 1, "meta": {"a": 1}}])
    second = datasets.Dataset.from_list([{"prompt": "q", "answer": 18, "nums": [1, 2], "meta": "x"}])
    one, two = checks.align([first, second])
    assert (one["answer"][0], two["answer"][0]) == ("18", "18")
    assert (one["meta"][0], two["meta"][0]) == ('{"a": 1}', "x")
    assert one["id"][0] == 1 and two["nums"][0] == [1, 2]
    assert '"answer" is Value' in caplog.text and '"meta"' in caplog.text
    assert '"id"' not in caplog.text
    assert datasets.concatenate_datasets([one, two])["answer"] == ["18", "18"]


def test_matching_datasets_are_unchanged(caplog):
    same = datasets.Dataset.from_list([{"prompt": "p", "answer": "18"}])
    assert checks.align([same, same]) == [same, same]
    assert not caplog.messages


def test_reports_a_missing_reward_column():
    rewards = {CORRECT: {}, "owner/a-model": {}}
    assert not findings(rewards, [{"prompt": "p", "answer": "18"}])
    (finding,) = findings(rewards, [{"prompt": "p", "label": "18"}])
    assert finding.what == f'no "answer" column, which {CORRECT} reads (it has: prompt, label)'


def test_empty_dataset_is_one_finding():
    """The transform's columns are missing too, but that is not the cause."""
    (finding,) = findings({CORRECT: {}}, [])
    assert finding.what.startswith("no row is left")
    assert finding.fix == "Check the dataset, or raise sequence_len"


def test_reports_sources_without_a_route():
    rows = [{"prompt": "p", "data_source": "math", "ground_truth": "1"}]
    assert not findings({DISPATCH: {}}, rows)
    (finding,) = findings({DISPATCH: {}}, rows + [{**rows[0], "data_source": "chess"}] * 2)
    assert "dispatch, in 2 of 3 rows: data_source 'chess': no route takes it" in finding.what


@pytest.mark.parametrize(
    "source, words",
    [
        (["a"], "dispatch, in 1 of 2 rows: data_source"),
        (7, "dispatch, in 1 of 2 rows: data_source"),
        (None, "dispatch cannot score any row, because every data_source is empty"),
    ],
)
def test_reports_a_source_that_is_not_text(source, words):
    rows = [{"prompt": "p", "data_source": each} for each in (source, None)]
    (finding,) = findings({DISPATCH: {}}, rows)
    assert words in finding.what


@pytest.mark.parametrize("rewards", [{MATH: {}}, {GATED: {"reward": MATH, "by": MATH}}])
def test_reports_rows_whose_gold_cannot_be_read(rewards):
    for golds, level in ((["18", UNREADABLE, "18"], "warning"), ([UNREADABLE] * 2, "error")):
        (finding,) = findings(rewards, [{"prompt": "p", "solution": gold} for gold in golds])
        count = f"{golds.count(UNREADABLE)} of {len(golds)} rows"
        assert f"cannot score {count}, for example because math-verify cannot read" in finding.what
        assert finding.level == level


def test_reports_a_routed_row_whose_gold_cannot_be_read():
    row = {"prompt": "p", "data_source": "math"}
    rows = [{**row, "ground_truth": gold} for gold in ("1", UNREADABLE)]
    (finding,) = findings({DISPATCH: {}}, rows)
    assert "cannot score 1 of 2 rows" in finding.what and finding.level == "warning"
