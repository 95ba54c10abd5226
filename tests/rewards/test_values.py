"""Read values from text and compare them. Text is never executed."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from axolotl_grpo_plugin.rewards.mathematics.values import matched, read_value, same

DEEP = 30_000


@pytest.mark.parametrize(
    "text, value",
    [
        ("18", 18),
        ("-1.50", -1.5),
        ("1,234", 1234),
        ("-1,234,567.5", -1234567.5),
        ("[1,234]", [1, 234]),
        ("(1, 2)", (1, 2)),
        ("1, 2", (1, 2)),
        ("1,23", (1, 23)),
        ("true", True),
        ("True", True),
        ("null", None),
        ("None", None),
        ("'a'", "a"),
        ('"a"', "a"),
        ("{'a': [1, {'b': None}]}", {"a": [1, {"b": None}]}),
        ("[[1, 2],\n  [3, 4]]", [[1, 2], [3, 4]]),
        ('"[[[[["', "[[[[["),
        ("[" * 50 + "]" * 50, eval("[" * 50 + "]" * 50)),
    ],
)
def test_reads_values_of_python_and_json(text, value):
    read = read_value(text)
    assert read == (value, False)
    assert type(read.value) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "wolf",
        "[owl, crow]",
        "17 or 18",
        "18 apples",
        "007",
        "__import__('os').system('touch /tmp/x')",
        "9**9**9",
        "[0] * 10**9",
        "[" * 51 + "]" * 51,
        "[" * DEEP + "]" * DEEP,
        '["]",' * DEEP + "1" + "]" * DEEP,
        "(" * DEEP,
        "-" * DEEP + "1",
        "1" + "-1" * DEEP,
        "not " * DEEP + "1",
        "a" + ".a" * DEEP,
        "lambda:" * DEEP + "1",
        "9" * DEEP,
        "'''a'b''' " + "[" * DEEP + "'",
        "\x00",
        "\ud800",
        "1\n2",
        "f'{1}'",
    ],
    ids=lambda text: text[:20],
)
def test_unparseable_text_stays_a_string(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_value(text) == (text, True)


@pytest.mark.parametrize(
    "first, second, equal",
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        (None, None, True),
        (True, True, True),
        ("1", 1, False),
        ("a", "A", False),
        (" a", "a", False),
        ([1, 2], (1, 2), True),
        ([1, 2], [2, 1], False),
        ([1, 2], [1, 2, 3], False),
        ([True], [1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1.0}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({1: "a"}, {"1": "a"}, True),
        ({1: "a", "1": "b"}, {"1": "b"}, True),
        ({16**9000: 1}, {"1": 1}, False),
        ({"a": [1]}, {"a": (True,)}, False),
        ({1, 2}, {2, 1}, True),
        ({1, 2}, [1, 2], False),
        ([], {}, False),
        ([], (), True),
        (float("nan"), float("nan"), True),
    ],
)
def test_equal_values_have_the_same_kind(first, second, equal):
    assert same(first, second) == equal
    assert same(second, first) == equal


def test_texts_may_differ_in_case_and_space():
    assert not same(["An Owl"], ["an  owl."])
    assert same(["An Owl"], ["an  owl."], ignore_case=True)
    assert same({"a": ("B",)}, {"a": ["b"]}, ignore_case=True)
    assert not same({"A": 1}, {"a": 1}, ignore_case=True)  # keys are names


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(JSON)
def test_reads_back_any_value(value):
    read = read_value(repr(value))
    assert not read.plain
    assert same(read.value, value)


@given(st.text(alphabet="[]{}()'\"\\,:-+.#0x1eaTrue \n", max_size=200))
def test_any_text_is_read_without_warning(text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, plain = read_value(text)
        assert not plain or value == text
        same(value, value)


def test_matching_removes_the_gold_that_it_found():
    # 1 == True in Python, but only the second gold equals 1.
    assert matched([1, True], [True, 1], same)
    assert not matched([1, 1], [True, 1], same)
