"""Reward functions for verl and xLR get the same arguments as there."""

import json
from inspect import signature

import pytest

from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.reward import OPENS
from axolotl_grpo_plugin.rewards.verl import from_compute_score

HERE = "tests.rewards.verl_functions"


def test_passes_completion_and_ground_truth():
    made = from_compute_score(f"{HERE}.hash_answer")
    assert made.spec.reads == ("ground_truth",) and made.__name__ == "hash_answer"
    assert list(signature(made).parameters) == ["prompts", "completions", "columns"]
    truths = ["18", "18", None]
    assert made([""] * 3, ["#### 18", "18", "#### 18"], ground_truth=truths) == [1.0, 0.0, None]


def test_arguments_reach_function():
    made = from_compute_score(f"{HERE}.hash_answer", arguments={"method": "flexible"})
    assert made([""], ["so 18"], ground_truth=["18"]) == [1.0]
    with pytest.raises(TypeError, match="has no parameter 'methode'"):
        from_compute_score(f"{HERE}.hash_answer", arguments={"methode": "flexible"})


def test_parameters_are_column_names():
    made = from_compute_score(f"{HERE}.own_columns")
    assert made.spec.reads == ("number", "unit")
    assert made([""], ["18 km"], number=["18"], unit=["km"]) == [1.0]


def test_passes_data_source_and_extra_info():
    made = from_compute_score(f"{HERE}.with_extras")
    row = {"data_source": ["a"], "ground_truth": ["x"], "extra_info": ['{"index": 3}']}
    scored = made.score("said", **{name: values[0] for name, values in row.items()})
    assert scored == (0.5, "", "said a x 3")
    assert made([""], ["said"], ground_truth=["x"], data_source=["a"]) == [0.5]  # extra_info may be missing


def test_accepts_verls_signature():
    made = from_compute_score(f"{HERE}.as_verl_has_it", arguments={"strict": True})
    assert (made.spec.reads, made.spec.may_read) == (("ground_truth",), ("data_source", "extra_info", OPENS))
    columns = {"data_source": ["a"], "ground_truth": ["18"], "extra_info": ["{}"]}
    assert made([""], ["18"], **columns, completion_ids=[[1]], prompt_id=["x"]) == [1.0]


def test_decodes_json_ground_truth():
    truth = json.dumps({"target": 3, "numbers": [1, 2]})
    made = from_compute_score(f"{HERE}.of_record", decode=True)
    assert made([""], ["3"], ground_truth=[truth]) == [1.0]
    with pytest.raises(TypeError):
        from_compute_score(f"{HERE}.of_record")([""], ["3"], ground_truth=[truth])


@pytest.mark.parametrize("result, value", [(True, 1.0), (0.25, 0.25), ([0.5, "why"], 0.5)])
def test_reads_each_kind_of_result(result, value):
    made = from_compute_score(f"{HERE}.gives", arguments={"result": result})
    assert made([""], [""], ground_truth=[""]) == [value]


@pytest.mark.parametrize("bad", [(1, 0), (0,), (0, 1, 2), ("0", "1"), (0, float("nan"))])
def test_refuses_invalid_range(bad):
    with pytest.raises(FindingError, match=r"is not \[lowest, highest\]"):
        from_compute_score(f"{HERE}.hash_answer", range=bad)


@pytest.mark.parametrize("function", ["nowhere.compute_score", f"{HERE}.no_such", "nowhere"])
def test_names_missing_function(function):
    with pytest.raises(TypeError, match=f"function: {function}: "):
        from_compute_score(function)


def test_refuses_function_without_solution_str():
    with pytest.raises(FindingError, match="it has no parameter solution_str"):
        from_compute_score(f"{HERE}.not_verls")
