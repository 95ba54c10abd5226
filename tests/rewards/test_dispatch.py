"""dispatch scores each row with the right reward and columns, and refuses wrong routes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.findings import FindingError
from axolotl_grpo_plugin.rewards.dispatch import KNOWN_SOURCES, dispatch
from tests.rewards.helpers import tagged

GSM8K = "axolotl_grpo_plugin.rewards.gsm8k"
INT, CORRECT = f"{GSM8K}.int_reward_func", f"{GSM8K}.correctness_reward_func"
STRICT = f"{GSM8K}.strict_format_reward_func"
MATH = "axolotl_grpo_plugin.rewards.math.accuracy_reward_func"
EQUATION = "axolotl_grpo_plugin.rewards.countdown.equation_reward_func"


RLLA = '<think> One call. </think>\n<tool_call>\n{"name": "weather", "parameters": {"city": "Rome"}}\n</tool_call>'
# data_source, ground_truth, completion, score, reason: with the known routes
SOURCES = [
    ("openai/gsm8k", "18", "so #### 18", 1.0, "correct"),
    ("openai/gsm8k", "18", "so #### 1", 0.0, "wrong_value"),
    ("lighteval/MATH", r"\frac{1}{2}", r"\boxed{0.5}", 1.0, "correct"),
    ("math_dapo", "34", r"\boxed{34}", 1.0, "correct"),  # in Reasoning360, "math" matched this first
    ("math__combined", "34", r"\boxed{33}", 0.0, "wrong_value"),
    ("aime2024", "34", r"\boxed{034}", 1.0, "correct"),
    ("stem__web", "C", r"\boxed{C}", 1.0, "correct"),
    ("stem__gpqa_diamond_no_box", "C", "It is so.\n\nAnswer: C) 15 kJ", 1.0, "correct"),
    ("stem__supergpqa", "J", r"\boxed{(J)}", 1.0, "correct"),
    ("gpqa_diamond", "C", r"\boxed{A or C}", 0.0, "unreadable"),
    ("rlla", RLLA, RLLA, 1.0, "correct"),
    ("rlla", RLLA, RLLA.replace("Rome", "Oslo"), 0.0, "wrong_arguments"),
    ("table__hitab", "0.25", r"\boxed{0.250}", 1.0, "correct"),
    ("logic__ordering_puzzle_dataset", ["jay", "owl"], "<answer>['jay', 'owl']</answer>", 1.0, "correct"),
    ("logic__graph_logical", "kqvm", "<answer>kqvm</answer>", 1.0, "correct"),
    ("simulation__arcagi1", [[0, 1], [1, 0]], "<answer>[[0,1],\n[1,0]]</answer>", 1.0, "correct"),
    ("countdown", {"target": 7, "numbers": [3, 4]}, "<answer>3 + 4</answer>", 1.0, "correct"),
    ("countdown", {"target": 7, "numbers": [3, 4]}, "<answer>7</answer>", 0.0, "wrong_numbers"),
    ("math_dapo", None, r"\boxed{34}", None, "not_this_task"),
]


@pytest.mark.parametrize("source, truth, completion, value, reason", SOURCES)
def test_known_sources(source, truth, completion, value, reason):
    for form in {truth if isinstance(truth, str | None) else json.dumps(truth): None}:
        scored = dispatch().score(completion, **columns(ground_truth=form, data_source=source))
        assert scored[:2] == (value, reason)
    scored = dispatch().score(completion, **columns(ground_truth=truth, data_source=source))
    assert scored[:2] == (value, reason)


def columns(**row):
    return {**dict.fromkeys(dispatch().spec.may_read), **row}


ROUTES = {
    "sums": INT,
    "sums_hard*": {"reward": MATH, "weight": 2.0},
    "words": [CORRECT, {"reward": STRICT, "weight": 0.5}],
    "mine": {"reward": EQUATION, "columns": {"nums": "digits"}},
}


@pytest.mark.parametrize(
    "row, completion, value",
    [
        ({"data_source": "sums"}, tagged("3"), 0.5),
        ({"data_source": "sums"}, tagged("x"), 0.0),
        ({"data_source": "sums_hard_1", "solution": "3"}, tagged("3"), 2.0),
        ({"data_source": "sums_hard_1", "ground_truth": "3", "solution": "9"}, tagged("3"), 2.0),
        ({"data_source": "words", "answer": "3"}, tagged("3"), 2.25),
        ({"data_source": "words", "answer": "3"}, "<answer>3</answer>", 2.0),
        ({"data_source": "words", "answer": "?"}, tagged("3"), None),  # bad gold
        ({"data_source": "mine", "digits": [1, 2], "target": 3}, tagged("1 + 2"), 1.0),
        ({"data_source": "other"}, tagged("3"), None),
        ({"data_source": None}, tagged("3"), None),
        # Own routes go before the known ones.
        ({"data_source": "openai/gsm8k", "ground_truth": "3"}, "#### 3", 1.0),
    ],
)
def test_own_routes(row, completion, value):
    scored = dispatch(ROUTES)([""], [completion], **{name: [each] for name, each in row.items()})
    assert scored == [value]


def test_null_route_leaves_rows_to_another_reward():
    routed = dispatch({"stem*": None})
    rows = {"data_source": ["stem__web", "math"], "ground_truth": ["3", "3"]}
    assert routed(["", ""], [r"\boxed{3}"] * 2, **rows) == [None, 1.0]
    assert routed.score("", **columns(data_source="stem__web")).reason == "not_this_task"
    assert routed.spec.unroutable({"data_source": "stem__web"}) == ""


def test_without_a_score_the_reason_is_that_of_the_first_reward():
    routed = dispatch({"a": [CORRECT, EQUATION]})
    row = columns(data_source="a", ground_truth={"answer": "no number"})  # and no nums, so EQUATION has no task
    assert routed.score(tagged("3"), **row) == routed.quick(tagged("3"), **row) == (None, "bad_gold", "")


def test_an_exact_rule_goes_before_a_prefix():
    routed = dispatch({"math*": INT, "math_dapo": CORRECT})
    rows = {"data_source": ["math_dapo", "math_x"], "ground_truth": ["3", "3"]}
    assert routed(["", ""], [tagged("3")] * 2, **rows) == [2.0, 0.5]
    mine = dispatch({"math_dapo": INT})  # own routes go before the known math*
    assert mine([""], [tagged("3")], data_source=["math_dapo"], ground_truth=["3"]) == [0.5]


@pytest.mark.parametrize(
    "routes, message",
    [
        ({"a": "nowhere.at.all"}, r"routes, a: nowhere.at.all: ModuleNotFoundError"),
        ({"a": f"{GSM8K}.no_such"}, r"routes, a: .*no_such: AttributeError"),
        ({"a": {"path": INT}}, r"routes, a: .* has no reward"),
        ({"a": {"reward": INT, "wieght": 2}}, r"routes, a has no parameter 'wieght'"),
        ({"a": {"reward": INT, "args": {"x": 1}}}, r"routes, a: .*has no parameter 'x'"),
        ({"a": "trl.rewards.think_format_reward"}, r"routes, a: .* does not score one completion"),
        ({"a": 3}, r"routes, a: 3 has no reward"),
        ({"a": {"reward": INT, "weight": "x"}}, r"routes, a: weight: 'x' is not of type float"),
        ({"a": {"reward": INT, "weight": float("nan")}}, r"routes, a: weight: nan is not"),
        ({"a": {"reward": INT, "args": "x"}}, r"routes, a: args: 'x' is not of type Mapping"),
        ({"a": {"reward": INT, "columns": ["x"]}}, r"routes, a: columns: \['x'\] is not of type Mapping"),
        ({"a": {"reward": CORRECT, "columns": {"anwser": "x"}}}, r"columns: anwser: 'x' is wrong.*\(answer\)"),
        (
            {"a": {"reward": CORRECT, "columns": {"answer": 3}}},
            r"routes, a: columns: {'answer': 3} is not of type Mapping",
        ),
    ],
)
def test_bad_routes_are_refused_when_the_config_loads(routes, message):
    with pytest.raises((FindingError, TypeError), match=message):
        dispatch(routes)


def test_sources_may_be_numbers():
    routed = dispatch({3: INT})
    assert routed(["", ""], [tagged("3")] * 2, data_source=[3, 4]) == [0.5, None]
    assert routed.spec.unroutable({"data_source": 3}) == ""


def test_rows_that_cannot_be_scored_say_why():
    routed = dispatch(ROUTES)
    refused = routed.spec.unroutable({"data_source": "other"})
    assert refused.startswith("data_source 'other': no route takes it. Add `other: ")
    refused = routed.spec.unroutable({"data_source": "words", "question": "?"})
    assert "correctness_reward_func reads 'answer', but the row and its ground_truth" in refused
    assert routed.spec.unroutable({"data_source": "words", "answer": "3"}) == ""
    assert routed.spec.unroutable({"data_source": "mine", "digits": [1], "target": 1}) == ""


def test_range_covers_all_routes():
    assert dispatch(ROUTES).spec.range == (0.0, 2.25)
    assert dispatch({"a": {"reward": INT, "weight": -1.0}}).spec.range == (-0.5, 1.0)
    assert dispatch().spec.range == (0.0, 1.0)


def test_every_known_rule_is_built_and_a_longer_prefix_goes_first():
    prefixes = [rule[:-1] for rule in KNOWN_SOURCES if rule.endswith("*")]
    for number, prefix in enumerate(prefixes):
        assert not any(later.startswith(prefix) for later in prefixes[number + 1 :])
    assert dispatch().spec.reads == ("data_source",) and dispatch().spec.group_by == "data_source"


@given(st.lists(st.tuples(st.sampled_from(["sums", "words", "other"]), st.text()), max_size=8))
def test_rows_are_scored_independently(rows):
    routed = dispatch(ROUTES)
    sources, texts = [row[0] for row in rows], [row[1] for row in rows]
    scores = routed([""] * len(rows), texts, data_source=sources, answer=["3"] * len(rows))
    alone = [
        routed([""], [text], data_source=[source], answer=["3"])[0] for source, text in zip(sources, texts, strict=True)
    ]
    assert scores == alone
    assert all(score is None or 0.0 <= score <= 2.25 for score in scores)
