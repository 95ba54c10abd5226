"""Options are shown in the prompt, and the gold answer becomes a letter, in the forms of public datasets."""

import json

import pytest

from axolotl_grpo_plugin.transforms.choice import choice, find_options, right_options
from axolotl_grpo_plugin.transforms.rows import DatasetError

CITIES = ["Rome", "Berlin", "Madrid", "Paris"]
FIRST = {"question": "Capital of France?"}
BY_LETTER = dict(zip("ABCD", CITIES, strict=True))


def made(row, **cfg):
    function, _ = choice({"datasets": [{"path": "a.jsonl"}], **cfg})
    columns = function({name: [value] for name, value in row.items()}, [0], None)
    return {name: values[0] for name, values in columns.items()}


def shown(row):
    return row["prompt"][-1]["content"]


FORMS = {
    "mmlu": {**FIRST, "choices": CITIES, "answer": 3},
    "mmlu, letters": {**FIRST, "choices": CITIES, "answer": "D"},
    "arc": {**FIRST, "choices": {"text": CITIES, "label": ["A", "B", "C", "D"]}, "answerKey": "D"},
    "arc, numbered": {**FIRST, "choices": {"text": CITIES, "label": ["1", "2", "3", "4"]}, "answerKey": "4"},
    "openbookqa": {"question_stem": "Capital?", "choices": {"text": CITIES, "label": [*"ABCD"]}, "answerKey": "D"},
    "columns": {**FIRST, **BY_LETTER, "answer": "D"},
    "medmcqa": {**FIRST, "opa": "Rome", "opb": "Berlin", "opc": "Madrid", "opd": "Paris", "cop": 3},
    "medqa": {**FIRST, "options": BY_LETTER, "answer": "Paris", "answer_idx": "D"},
    "objects": {**FIRST, "options": [{"label": k, "text": v} for k, v in BY_LETTER.items()], "answer": "D"},
    "json": {**FIRST, "options": json.dumps(CITIES), "answer": "Paris"},
    "text": {**FIRST, "options": CITIES, "answer": "paris"},
    "winogrande": {"sentence": "Capital _?", **{f"option{n}": city for n, city in enumerate(CITIES, 1)}, "answer": "4"},
    "hellaswag": {"ctx": "Capital?", "endings": CITIES, "label": "3"},
    "option columns": {**FIRST, **{f"option_{k.lower()}": v for k, v in BY_LETTER.items()}, "answer": "option_d"},
    "float index": {**FIRST, "choices": CITIES, "answer": 3.0},
    "brackets": {**FIRST, "choices": CITIES, "answer": "(D)"},
}


@pytest.mark.parametrize("name", FORMS)
def test_form_of_a_dataset(name):
    row = made(FORMS[name])
    assert row["solution"] == row["answer"] == "D"
    assert json.loads(row["options"]) == CITIES
    assert "Capital" in shown(row)
    assert shown(row).endswith("A) Rome\nB) Berlin\nC) Madrid\nD) Paris")
    assert row["data_source"] == "choice"


def test_gpqa_is_shuffled_because_the_first_option_is_right():
    golds = set()
    for number in range(20):
        wrong = {f"Incorrect Answer {n}": f"w{n}" for n in (1, 2, 3)}
        row = made({"Question": f"{number}?", "Correct Answer": "right", **wrong})
        assert json.loads(row["options"])["ABCD".index(row["solution"])] == "right"
        golds.add(row["solution"])
    assert golds == {*"ABCD"}


def test_options_are_shuffled_by_a_seed():
    row = {**FIRST, "choices": CITIES, "answer": 3}
    orders = {}
    for seed in range(10):
        changed = made(row, grpo_shuffle_options=seed)
        assert changed == made(row, grpo_shuffle_options=seed)
        assert json.loads(changed["options"])["ABCD".index(changed["solution"])] == "Paris"
        orders[changed["options"]] = seed
    assert len(orders) > 3


@pytest.mark.parametrize("last", ["All of the above", "None of the above", "Both A and B"])
def test_options_that_speak_of_others_keep_their_order(last):
    row = {**FIRST, "choices": ["x", "y", last], "answer": 2}
    assert all(made(row, grpo_shuffle_options=seed)["solution"] == "C" for seed in range(5))


def test_several_right_options():
    row = {**FIRST, "choices": CITIES}
    assert made({**row, "answer": "A, C"})["solution"] == "A, C"
    assert made({**row, "answer": ["A", "Madrid"]})["solution"] == "A, C"


def test_columns_can_be_named():
    row = {"q": "?", "opts": CITIES, "a": 1}
    assert made(row, grpo_columns={"question": "q", "options": "opts", "answer": "a"})["solution"] == "B"


@pytest.mark.parametrize("gold, right", [(2, [2]), ("2", [1]), (0, []), ("4", [3]), (5, [])])
def test_number_that_is_index_and_text(gold, right):
    """A whole number is an index, and a text is an option's text first. If a number may be both, it is none."""
    options = find_options({"choices": ["0", "2", "3", "4"] if gold != 2 else ["0", "1", "2", "4"]})
    if gold == 0:
        options = find_options({"choices": ["1", "0", "3", "4"]})
    assert right_options(gold, options) == right


@pytest.mark.parametrize("gold", [4, "E", "London", -1, None, True, "4", [], ["A", "London"]])
def test_gold_that_names_no_option_is_an_error_with_the_row(gold):
    with pytest.raises(DatasetError) as raised:
        made({**FIRST, "choices": CITIES, "answer": gold})
    assert 'row 0, column "answer"' in str(raised.value)


@pytest.mark.parametrize("value", ["no list", ["one"], [["a"], ["b"]], {}, None])
def test_row_without_options_is_an_error(value):
    with pytest.raises(DatasetError, match="no options"):
        made({**FIRST, "choices": value, "answer": "A"})
