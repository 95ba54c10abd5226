"""The scores of the puzzle rewards: tables of answers, and properties of all answers."""

import json
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.reward import Score
from axolotl_grpo_plugin.rewards.puzzles import LONGEST_ANSWER, exact_reward_func, grid_reward_func


def tagged(answer):
    return f"<think>\nI try <answer>9</answer>.\n</think>\n<answer>{answer}</answer>"


def short(each):
    return str(each)[:40]


def exact(completion, gold, **options):
    return exact_reward_func.bind(**options).score(completion, solution=gold)


BIRDS = '["owl", "crow", "hawk"]'
ARC = [[0, 1], [2, 3]]
CODEIO = '"output": {"result": 42, "path": [1, 2]}'

# gold, answer, reason
CONTRACT = [
    # Orderings: an exact list. Reasoning360 reads it with a regular expression, or with eval().
    (BIRDS, "['owl', 'crow', 'hawk']", "correct"),
    (BIRDS, '["owl","crow","hawk"]', "correct"),
    (BIRDS, "\n[\n  'owl',\n  'crow',\n  'hawk'\n]\n", "correct"),
    (BIRDS, "[owl, crow, hawk]", "correct"),
    (BIRDS, "owl, crow, hawk", "correct"),
    (BIRDS, r"[\text{owl}, \text{crow}, \text{hawk}]", "correct"),
    (BIRDS, "**['owl', 'crow', 'hawk']**", "correct"),
    (BIRDS, "['owl', 'crow', 'hawk'].", "correct"),
    (BIRDS, "owl, crow, hawk.", "correct"),
    ("True", "True.", "correct"),
    (BIRDS, "('owl', 'crow', 'hawk')", "correct"),
    (["owl", "crow", "hawk"], "['owl', 'crow', 'hawk']", "correct"),
    (BIRDS, "['crow', 'owl', 'hawk']", "wrong_value"),
    (BIRDS, "['owl', 'crow']", "wrong_value"),
    (BIRDS, "['owl', 'crow', 'hawk', 'hawk']", "wrong_value"),
    (BIRDS, "[['owl', 'crow', 'hawk']]", "wrong_value"),
    (BIRDS, "['Owl', 'crow', 'hawk']", "wrong_value"),
    (BIRDS, "['owl', 'crow', 'hawk'] or ['crow', 'owl', 'hawk']", "wrong_value"),
    (BIRDS, "sorted(['owl', 'crow', 'hawk'], key=lambda x: 0)", "wrong_value"),
    (BIRDS, "['owl'] + ['crow', 'hawk']", "wrong_value"),
    (BIRDS, "[owl, crow, __import__('os').abort()]", "wrong_value"),
    (BIRDS, "owl, crow, and hawk", "correct"),
    (BIRDS, "owl\ncrow\nhawk", "correct"),
    (BIRDS, "1. owl\n2. crow\n3. hawk", "correct"),
    (BIRDS, "- owl\n- crow\n- hawk\n", "correct"),
    (BIRDS, "owl -> crow -> hawk", "correct"),
    (BIRDS, "[“owl”, “crow”, “hawk”]", "correct"),
    (BIRDS, "['owl',\n 'crow',\n hawk]", "correct"),
    (BIRDS, "hawk -> crow -> owl", "wrong_value"),
    (BIRDS, "3. owl\n2. hawk\n1. crow", "wrong_value"),
    (BIRDS, "owl\ncrow", "wrong_value"),
    (BIRDS, "owl\ncrow\nhawk or crow", "wrong_value"),
    (BIRDS, "owl and crow, hawk", "wrong_value"),
    # Graphs: a word.
    ("Wolf", "wolf", "correct"),
    ("Wolf", " Wolf. ", "correct"),
    ("Wolf", '"wolf"', "correct"),
    ("New York", "new\n york", "correct"),
    ("Wolf", "Wolf or fox", "wrong_value"),
    ("Wolf", "the wolf", "wrong_value"),
    ("Wolf", "['Wolf']", "wrong_value"),
    ("Wolf", "**Wolf**", "correct"),
    ("Wolf", "`wolf`.", "correct"),
    ("Wolf", r"\text{Wolf}", "correct"),
    ("Wolf", "**Wolf** or **fox**", "wrong_value"),
    ("Wolf", r"\text{Wolf}\text{ or fox}", "wrong_value"),
    ("**", "**", "correct"),
    ("Wolf", "W", "wrong_value"),
    # ARC: a grid, on any number of lines
    (ARC, "[[0, 1], [2, 3]]", "correct"),
    (json.dumps(ARC), "[[0, 1],\n [2, 3]]", "correct"),
    (ARC, "[[0, 1.0], [2, 3]]", "correct"),
    (ARC, "[[False, True], [2, 3]]", "wrong_value"),
    (ARC, '[["0", "1"], ["2", "3"]]', "wrong_value"),
    (ARC, "[[0, 1], [2]]", "wrong_value"),
    (ARC, "[[0, 1], [2, 3], [4, 5]]", "wrong_value"),
    (ARC, "[0, 1, 2, 3]", "wrong_value"),
    (ARC, "[[0, 1], [2, 3]] or [[0, 1], [2, 2]]", "wrong_value"),
    (ARC, "0 1\n2 3", "correct"),
    (ARC, "0,1\n2,3", "correct"),
    (ARC, "[0, 1]\n[2, 3]", "correct"),
    (ARC, "[[0 1]\n [2 3]]", "correct"),
    (ARC, "0 1\n2 3\n4 5", "wrong_value"),
    (ARC, "0 1 2 3", "wrong_value"),
    (ARC, "0 1\n2 4", "wrong_value"),
    (ARC, "0 1\n2 x", "wrong_value"),
    # CodeIO: JSON, with or without its key
    (CODEIO, '{"output": {"result": 42, "path": [1, 2]}}', "correct"),
    (CODEIO, '{"path": [1, 2], "result": 42.0}', "correct"),
    (CODEIO, "```json\n{'result': 42, 'path': [1, 2]}\n```", "correct"),
    (CODEIO, '{"output": {"result": 42, "path": [2, 1]}}', "wrong_value"),
    (CODEIO, '{"output": {"result": 42}}', "wrong_value"),
    (CODEIO, '{"input": {"result": 42, "path": [1, 2]}}', "wrong_value"),
    (CODEIO, '{"result": true, "path": [1, 2]}', "wrong_value"),
    (CODEIO, CODEIO, "correct"),
    ('"output": NaN', '{"output": NaN}', "correct"),
    ('"output": NaN', '{"output": 0}', "wrong_value"),
    ('"input": {"n": 2719}', '{"input": {"n": 2924}}', "wrong_value"),
    ('{"a": null}', "{'a': None}", "correct"),
    # CRUXEval: the return value of a function
    ("'Hello'", "'Hello'", "correct"),
    ("'Hello'", '"Hello"', "correct"),
    ("'Hello'", "'hello'", "wrong_value"),
    ("'Hello'", "'Hello '", "wrong_value"),
    ("'18'", "18", "wrong_value"),
    ("18", "'18'", "wrong_value"),
    ("(1, 'a', None)", "(1, 'a', None)", "correct"),
    ("{1: 'a'}", "{1: 'a'}", "correct"),
    ("{1: 'a'}", '{"1": "a"}', "correct"),
    ("True", "True", "correct"),
    ("True", "true", "correct"),
    ("True", "1", "wrong_value"),
    ("1", "True", "wrong_value"),
    ("None", "0", "wrong_value"),
    ("[]", "[]", "correct"),
    ("[]", "", "empty_answer"),
    ("''", "''", "correct"),
    # Tables: a number or a name.
    ("1234", "1,234", "correct"),
    ("1,234", "1234.0", "correct"),
    ("18", "18 dollars", "correct"),
    ("18", "$18", "correct"),
    ("18", "**18**", "correct"),
    ("1234", r"\$1{,}234", "correct"),
    ("18", r"18\%", "correct"),
    ("18", "**17** or **18**", "wrong_value"),
    ("'Hello'", r"'\text{Hello}'", "wrong_value"),
    ("0.5", "0.50", "correct"),
    ("0.1", "0.1 m", "correct"),
    (18, "18", "correct"),
    ("18", "18 or 19", "wrong_value"),
    ("18", "17, 18", "wrong_value"),
    ("18", "{17, 18}", "wrong_value"),
    ("18", "36/2", "wrong_value"),
    ("100", "95", "wrong_value"),
    ("-4", "-40", "wrong_value"),
    ("-4", "x-4", "wrong_value"),
    ("18", "-18", "wrong_value"),
    ("007", "7", "wrong_value"),
    ("5 km", "5 miles", "wrong_value"),
    ("5 km", "5 km", "correct"),
    ("a|b", "b|a", "wrong_value"),
    # Odd answers
    ("1", "[" * 15_000, "wrong_value"),
    ("1", "[" * 7_000 + "1" + "]" * 7_000, "wrong_value"),
    ("1", "-" * 15_000 + "1", "wrong_value"),
    ("1", "1" + "*1" * 9_000, "wrong_value"),
    ("1", "{0x" + "f" * 9_000 + ": 1}", "wrong_value"),
    ('{"a": 1}', "{0x" + "f" * 9_000 + ": 1}", "wrong_value"),
    ("1", "\x00", "wrong_value"),
    ("1", "9" * LONGEST_ANSWER, "wrong_value"),
    ("1", "9" * LONGEST_ANSWER + "9", "too_long"),
]


@pytest.mark.parametrize(("gold", "answer", "reason"), CONTRACT, ids=short)
def test_exact(gold, answer, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score = exact(tagged(answer), gold)
    assert score[:2] == (float(reason == "correct"), reason)


# completion, text that is read, reason. The gold is [1, 2].
WHERE = [
    ("<answer>[1, 2]</answer>", "[1, 2]", "correct"),
    (r"<answer>\boxed{[1, 2]}</answer>", "[1, 2]", "correct"),
    (r"So \boxed{[1, 2]}.", "[1, 2]", "correct"),
    (r"\boxed{[1, 2]}, that is \boxed{[1,  2]}", "[1,  2]", "correct"),
    (r"\boxed{[1, 2]} or \boxed{[2, 1]}", "", "several_answers"),
    ("So:\n```json\n[1, 2]\n```", "[1, 2]", "correct"),
    ("So:\n```\n[1, 2]\n```\nDone.", "[1, 2]", "correct"),
    ("So: ```[1, 2]```", "[1, 2]", "correct"),
    ("```json\n[2, 1]\n```\nNo:\n```json\n[1, 2]\n```", "[1, 2]", "correct"),
    ("```json\n[1, 2]\n```\n```python\nprint([2, 1])\n```", "[1, 2]", "correct"),
    ("```python\n[1, 2]\n```", "", "no_answer"),
    ("```json\n[1, 2]", "", "truncated"),
    ("```json\n[1, 2]\n```\n```json\n[2", "[1, 2]", "correct"),
    ("```json\n[1, 2]\n``` <answer>[2, 1]</answer>", "[2, 1]", "wrong_value"),
    ("<answer>```json\n[1, 2]\n```</answer>", "[1, 2]", "correct"),
    ("<answer>```python\n[1, 2]\n```</answer>", "[1, 2]", "correct"),
    ("<answer>```python\nprint([1, 2])\n```</answer>", "print([1, 2])", "wrong_value"),
    ("<answer>```json\n```</answer>", "", "empty_answer"),
    (
        "<answer>```json\n[1, 2]\n```\n```json\n[2, 1]\n```</answer>",
        "```json\n[1, 2]\n```\n```json\n[2, 1]\n```",
        "wrong_value",
    ),
    ("<answer>[1, 2]</answer><answer>[1, 2]</answer>", "[1, 2]", "correct"),
    ("<answer>[2, 1]</answer><answer>[1, 2]</answer>", "", "several_answers"),
    ("<answer>[1, 2]</answer><answer>[2, 1]</answer>", "", "several_answers"),
    ("<answer>[1, 2]</answer><answer>(1.0, 2)</answer>", "(1.0, 2)", "correct"),
    ("<answer>```[1, 2]```</answer><answer>[1,2]</answer>", "[1,2]", "correct"),
    (r"\boxed{[1, 2]} = \boxed{[1, 2.0]}", "[1, 2.0]", "correct"),
    ("<answer>[1, 2]</answer><answer>[true, 2]</answer>", "", "several_answers"),
    ("<answer>[1, 2]</answer><answer>[2", "[1, 2]", "correct"),
    ("<answer>[2, 1]</answer></think><answer>[1, 2]</answer>", "[1, 2]", "correct"),
    ("<answer>[1, 2]</answer></think>", "", "no_answer"),
    ("in <answer> tags: <answer>[1, 2]</answer>", "[1, 2]", "correct"),
    ("<answer>[1, 2]", "", "truncated"),
    (r"\boxed{[1, 2]", "", "truncated"),
    (r"<think>say \boxed{[1, 2]}, but", "", "truncated"),
    ("[1, 2]</answer>", "", "no_answer"),
    ("<answer>...</answer>", "", "empty_answer"),
    ("[1, 2]", "", "no_answer"),
    ("", "", "no_answer"),
    ([{"role": "assistant", "content": "<answer>[1, 2]</answer>"}], "[1, 2]", "correct"),
]


@pytest.mark.parametrize(("completion", "read", "reason"), WHERE)
def test_finds_answer_in_completion(completion, read, reason):
    """A chat scores as its text. verifiers reads the first block of one and the last of the other."""
    chat = [{"role": "assistant", "content": completion}]
    for each in [completion, *([chat] if isinstance(completion, str) else [])]:
        assert exact(each, "[1, 2]") == (float(reason == "correct"), reason, read)


def test_ignore_case():
    said = tagged("['Owl', 'CROW', ' hawk ']")
    assert exact(said, BIRDS).value == 0.0
    assert exact(said, BIRDS, ignore_case=True).value == 1.0


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("Ann|Bob|1,234", True),
        ("1234 | bob | ann", True),
        (r"\text{Ann} | \text{Bob} | 1{,}234", True),
        ("Ann|Bob", False),
        ("Ann|Bob|1234|Eve", False),
        ("Ann|Ann|1234", False),
        ("Ann, Bob, 1234", False),
        ("Ann|Bob|", False),
    ],
)
def test_separator_allows_any_order(answer, right):
    assert exact(tagged(answer), "Bob|Ann|1234", separator="|").value == float(right)


@pytest.mark.parametrize("gold", [["Paris", "City of Light", 7], '["Paris", "City of Light", 7]'])
def test_any_member_of_a_list_is_right_if_the_config_says_so(gold):
    for answer, right in [("paris", 1), ("City of Light.", 1), ("7.0", 1), ("Rome", 0), ("Paris or Rome", 0), ("", 0)]:
        assert exact(tagged(answer), gold, any_of=True).value == float(right)
    assert exact(tagged("Paris"), gold).value == 0.0
    assert exact(tagged('["Paris", "City of Light", 7]'), gold, any_of=True).value == 0.0
    assert exact(tagged("Paris"), "Paris", any_of=True).value == 1.0


@pytest.mark.parametrize("gold", ["", " \n"])
def test_unusable_gold_scores_none(gold):
    assert exact(tagged("1"), gold) == Score(None, "bad_gold")
    assert exact_reward_func([""], [tagged("1")], solution=[None]) == [None]


# Zebra puzzles

HEADER = ["House", "Name", "Pet"]
ROWS = [["1", "Ann", "cat"], ["2", "Bob", "owl"]]
GRID = {"header": HEADER, "rows": ROWS}


def grid(header=HEADER, rows=ROWS):
    return json.dumps({"header": header, "rows": rows})


# answer, share of right cells, reason
GRIDS = [
    (grid(), 1, "correct"),
    (str(GRID), 1, "correct"),
    (json.dumps(GRID, indent=4), 1, "correct"),  # Reasoning360: 0 for an answer of several lines
    (f"```json\n{grid()}\n```", 1, "correct"),
    (grid(["Pet", "House", "Name"], [["cat", "1", "Ann"], ["owl", "2", "Bob"]]), 1, "correct"),
    (grid(["house", " NAME", "Pet"], [[1, "ann", "Cat "], [2.0, "BOB", "owl"]]), 1, "correct"),
    (grid(rows=[["1", "Ann", "owl"], ["2", "Bob", "cat"]]), 4 / 6, "wrong_cells"),
    (grid(rows=[["2", "Bob", "owl"], ["1", "Ann", "cat"]]), 0, "wrong_cells"),
    (grid(rows=[["1", "Ann", "cat or owl"], ["2", "Bob", "owl"]]), 5 / 6, "wrong_cells"),
    (grid(rows=[["1", "Ann", ["cat", "owl"]], ["2", "Bob", None]]), 4 / 6, "wrong_cells"),
    (grid(rows=[[True, "Ann", "cat"], ["2", "Bob", "owl"]]), 5 / 6, "wrong_cells"),
    (grid(rows=ROWS[:1]), 0, "wrong_shape"),
    (grid(rows=[*ROWS, ["3", "Eve", "dog"]]), 0, "wrong_shape"),
    (grid(rows=[]), 0, "wrong_shape"),
    (grid(["House", "Name", "Drink"]), 0, "wrong_shape"),
    (grid(["House", "Name"], [["1", "Ann"], ["2", "Bob"]]), 0, "wrong_shape"),
    (grid([*HEADER, "Pet"], [[*row, row[2]] for row in ROWS]), 0, "wrong_shape"),
    (grid(["House", "Pet", "Pet"]), 0, "wrong_shape"),
    (grid(rows=[["1", "Ann"], ["2", "Bob", "owl"]]), 0, "not_a_grid"),
    (grid(rows=[[*ROWS[0], "x"], ROWS[1]]), 0, "not_a_grid"),
    (grid(rows="rows"), 0, "not_a_grid"),
    (grid(header=[1, 2, 3]), 0, "not_a_grid"),
    (grid(header=[], rows=[]), 0, "not_a_grid"),
    (json.dumps([dict(zip(HEADER, row, strict=True)) for row in ROWS]), 1, "correct"),
    (json.dumps([dict(zip(HEADER, row, strict=True)) for row in ROWS[:1]]), 0, "wrong_shape"),
    (json.dumps([{"House": "1", "Name": "Ann", "Pet": "cat"}, {"House": "2"}]), 4 / 6, "wrong_cells"),
    (grid(rows=[["House 1", "Ann", "cat"], ["house 2", "Bob", "owl"]]), 1, "correct"),
    (grid(rows=[["House 2", "Ann", "cat"], ["1 or 2", "Bob", "owl"]]), 4 / 6, "wrong_cells"),
    (json.dumps({"rows": ROWS}), 0, "not_a_grid"),
    (json.dumps(ROWS), 0, "not_a_grid"),
    ("Ann has the cat.", 0, "not_a_grid"),
    (grid() + " or " + grid(rows=ROWS[::-1]), 0, "not_a_grid"),
    ("__import__('json').loads('{}')", 0, "not_a_grid"),
    ("{" * 15_000, 0, "not_a_grid"),
    (f'{{"header": {json.dumps(HEADER)}, "rows": ' + "[" * 9_000, 0, "not_a_grid"),
    (f"{{'header': {HEADER}, 'rows': [[0x{'f' * 9_000}, 1, 2], [1, 2, 3]]}}", 0, "wrong_cells"),
    ("", 0, "empty_answer"),
]


@pytest.mark.parametrize("gold", [GRID, grid()], ids=["dict", "text"])
@pytest.mark.parametrize(("answer", "share", "reason"), GRIDS, ids=short)
def test_grids(gold, answer, share, reason):
    score = grid_reward_func.score(tagged(answer), solution=gold)
    assert score[:2] == (float(reason == "correct"), reason)
    score = grid_reward_func.bind(partial=True).score(tagged(answer), solution=gold)
    assert score[:2] == (pytest.approx(share), reason)


@pytest.mark.parametrize(
    "gold", ["", "no grid", "[]", "{}", grid(rows=[]), grid(["a", "A"], [["1", "2"]]), {"header": HEADER}, 7]
)
def test_gold_without_grid_scores_none(gold):
    assert grid_reward_func.score(tagged(grid()), solution=gold) == Score(None, "bad_gold")


# Properties of all completions


@given(st.recursive(st.none() | st.booleans() | st.integers(), st.lists, max_leaves=20))
def test_any_value_equals_its_json_and_repr(value):
    for written in (repr(value), json.dumps(value), json.dumps(value, indent=2)):
        assert exact(tagged(written), json.dumps(value)).value == 1.0
        assert exact(tagged(written), [value, "more"]).value == 0.0


@pytest.mark.parametrize("piece", ['"\\', '["]",', "a|", "1,", "(1,", "{1:", "1-", "```", "*", "\\text{"])
def test_longest_answer_takes_milliseconds(piece):
    text = tagged((piece * LONGEST_ANSWER)[:LONGEST_ANSWER])
    start = time.process_time()
    exact(text, "|".join("abcdefghijklmnopqrstuvwxyz"), separator="|")
    exact(text, piece * 100)
    grid_reward_func.score(text, solution=GRID)
    assert time.process_time() - start < 0.5
