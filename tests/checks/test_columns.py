import pytest

from axolotl_grpo_plugin.config import Config
from axolotl_grpo_plugin.findings import FindingError
from tests.checks.found import codes, levels
from tests.conftest import MODEL, Later

checks, datasets = Later("axolotl_grpo_plugin.checks.columns"), Later("datasets")
loaded = Later("axolotl_grpo_plugin.checks.datasets")
loading = Later("axolotl_grpo_plugin.data.columns")

CORRECT = "axolotl_grpo_plugin.rewards.gsm8k.correctness_reward_func"
DISPATCH = "axolotl_grpo_plugin.rewards.dispatch.dispatch"
GATED = "axolotl_grpo_plugin.rewards.shaping.gated"
MATH = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"
UNREADABLE = "1:2:3:\\ldots"


def findings(rewards, rows):
    """rewards: their paths and arguments."""
    cfg = {"trl": {"reward_funcs": list(rewards)}, "grpo_reward_args": rewards}
    cfg["datasets"] = [{"path": "mine"}]
    return list(checks.check_columns("datasets", datasets.Dataset.from_list(rows), Config(cfg)))


def test_columns_of_two_types_become_text(caplog):
    first = datasets.Dataset.from_list([{"prompt": "p", "answer": "18", "id": 1, "meta": {"a": 1}}])
    second = datasets.Dataset.from_list([{"prompt": "q", "answer": 18, "nums": [1, 2], "meta": "x"}])
    numbers, texts = loading.align([first, second])
    assert (numbers["answer"][0], texts["answer"][0]) == ("18", "18")
    assert (numbers["meta"][0], texts["meta"][0]) == ('{"a": 1}', "x")
    assert numbers["id"][0] == 1 and texts["nums"][0] == [1, 2]
    assert '"answer" is Value' in caplog.text and '"meta"' in caplog.text
    assert '"id"' not in caplog.text
    assert datasets.concatenate_datasets([numbers, texts])["answer"] == ["18", "18"]


def test_reports_a_missing_reward_column():
    rewards = {CORRECT: {}, "owner/a-model": {}}
    assert not findings(rewards, [{"prompt": "p", "answer": "18"}])
    assert codes(findings(rewards, [{"prompt": "p", "label": "18"}])) == ["missing-column"]


def test_names_the_prompt_whose_type_differs_before_a_training():
    """Axolotl has shuffled the rows, so that they have no numbers."""
    answers = ["tech", "bill", 3]
    features = datasets.Features({"prompt": datasets.Value("string"), "answer": datasets.Json()})
    columns = {"prompt": ["What is 1?", "What is 2?", "What is 3?"], "answer": answers}
    cfg = {"trl": {"reward_funcs": [CORRECT]}, "datasets": [{"path": "mine"}]}
    loaded = datasets.Dataset.from_dict(columns, features=features)
    (finding,) = [
        found for found in checks.check_columns("datasets", loaded, Config(cfg)) if found.code == "mixed-types"
    ]
    assert "and 3 in the row whose prompt is 'What is 3?'" in finding.what


def test_a_load_that_fails_names_the_row_whose_type_differs(tmp_path, monkeypatch):
    """datasets takes the type of a column from the first 1,000 rows of a transform."""

    def fails(_):
        raise ValueError("Failed to parse string")

    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "?", "answer": 1}\n{"prompt": "?", "answer": "tech"}\n')
    monkeypatch.setattr("axolotl_grpo_plugin.checks.datasets.load_datasets", fails)
    entry = {"path": str(file), "ds_type": "json"}
    cfg = {"base_model": str(MODEL), "trl": {"reward_funcs": [CORRECT]}, "datasets": [entry]}
    with pytest.raises(FindingError) as raised:
        loaded.load_checked(Config(cfg))
    assert "a number in the first rows, and 'tech' in row 1" in str(raised.value)


def test_empty_dataset_is_one_finding():
    """The transform's columns are missing too, but that is not the cause."""
    assert codes(findings({CORRECT: {}}, [])) == ["no-rows"]


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
    rows = [{"prompt": "p", "data_source": value} for value in (source, None)]
    (finding,) = findings({DISPATCH: {}}, rows)
    assert words in finding.what


@pytest.mark.parametrize("rewards", [{MATH: {}}, {GATED: {"reward": MATH, "by": MATH}}])
def test_reports_rows_whose_gold_cannot_be_read(rewards):
    for golds, level in ((["18", UNREADABLE, "18"], "warning"), ([UNREADABLE] * 2, "error")):
        (finding,) = findings(rewards, [{"prompt": "p", "solution": gold} for gold in golds])
        count = f"{golds.count(UNREADABLE)} of {len(golds)} rows"
        assert f"cannot score {count}, for example because the gold answer" in finding.what
        assert finding.level == level


def test_reports_a_routed_row_whose_gold_cannot_be_read():
    row = {"prompt": "p", "data_source": "math"}
    rows = [{**row, "ground_truth": gold} for gold in ("1", UNREADABLE)]
    assert levels(findings({DISPATCH: {}}, rows)) == [("warning", "unreadable-gold")]


@pytest.mark.parametrize("name", ["completions", "prompts", "completion_ids", "trainer_state", "log_metric"])
def test_refuses_a_column_named_like_an_argument_of_trl(name):
    rows = [{"prompt": "p", "answer": "18", name: "x"}]
    assert codes(findings({CORRECT: {}}, rows)) == ["reserved-column"]
