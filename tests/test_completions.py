from decimal import Decimal

import pytest

from axolotl_grpo_plugin.completions import (
    is_integer_literal,
    read_answer,
    read_blocks,
    read_number,
    text_of,
)


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        (" a\r\nb\rc \n", "a\nb\nc"),
        ([{"role": "assistant", "content": "a"}], "a"),
        ([{"role": "assistant", "content": None}], ""),
        (
            [{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}],
            "a",
        ),
        (
            [
                {"role": "assistant", "content": "call"},
                {"role": "tool", "content": "<answer>18</answer>"},
                {"role": "assistant", "content": "done"},
            ],
            "call\ndone",
        ),
        ([], ""),
    ],
)
def test_text_of(completion, text):
    assert text_of(completion) == text


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer> 18\n</answer>", ("18", "")),
        ("<answer>17</answer> <answer>18</answer>", ("18", "")),
        ("<answer>18</answer> <answer>19", ("18", "")),
        ("say <answer> here: <answer>18</answer>", ("18", "")),
        ("<answer>18", (None, "truncated")),
        ("</answer><answer>18", (None, "no_answer_tag")),
        ("18", (None, "no_answer_tag")),
        ("18</answer>", (None, "no_answer_tag")),
        ("<answer></answer>", (None, "empty_answer")),
        ("<answer>\n...\n</answer>", (None, "empty_answer")),
        ("<ANSWER>18</ANSWER>", (None, "no_answer_tag")),
    ],
)
def test_read_answer(text, answer):
    assert read_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("18", "18"),
        ("+018", "18"),
        ("-5", "-5"),
        ("-$5", "-5"),
        ("$-5", "-5"),
        ("$1,234,567.50", "1234567.50"),
        ("18.", "18"),
        ("18.00", "18"),
        ("18 dollars", "18"),
        ("18 dollars per hour.", "18"),
        ("18 miles/hour", "18"),
        ("18%", "18"),
        ("18 °C", "18"),
        ("18 €", "18"),
        (r"\boxed{18}", "18"),
        (r"\boxed{$1,000}", "1000"),
        ("$18$", "18"),
        ("$ 18 $", "18"),
        ("\n18\n", "18"),
    ],
)
def test_read_number(answer, value):
    assert read_number(answer) == (Decimal(value), "")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", "not_a_number"),
        ("eighteen", "not_a_number"),
        ("--18", "not_a_number"),
        ("-$-18", "not_a_number"),
        ("18 + x", "not_a_number"),
        ("18 = x", "not_a_number"),
        (".", "not_a_number"),
        ("١٨", "not_a_number"),
        ("18 million", "not_a_number"),
        ("18 or seventeen", "not_a_number"),
        ("18 minus two", "not_a_number"),
        ("18k", "not_a_number"),
        ("18½", "not_a_number"),
        ("18²", "not_a_number"),
        ("18三", "not_a_number"),
        ("1_000", "several_numbers"),
        ("1,00", "several_numbers"),
        ("1,0000", "several_numbers"),
        ("1e3", "several_numbers"),
        ("36/2", "several_numbers"),
        ("17 or 18", "several_numbers"),
        ("9 * 2 = 18", "several_numbers"),
        ("18 (see step 2)", "several_numbers"),
        (r"\boxed{17} \boxed{18}", "several_numbers"),
        ("18 " + "word " * 50, "not_a_number"),
    ],
)
def test_what_is_not_one_number(answer, problem):
    assert read_number(answer) == (None, problem)


@pytest.mark.parametrize(
    ("answer", "is_integer"),
    [
        ("18", True),
        ("-5", True),
        (" 18 ", True),
        ("+5", False),
        ("- 5", False),
        ("18.0", False),
        ("1,000", False),
        ("²", False),
        ("١٨", False),
        ("", False),
    ],
)
def test_is_integer_literal(answer, is_integer):
    assert is_integer_literal(answer) is is_integer


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("<reasoning>a</reasoning><answer>b</answer>", ("a", "b")),
        ("<reasoning>\na\n</reasoning>\n \n<answer>b</answer>", ("\na\n", "b")),
        ("<reasoning>an <answer> is</reasoning><answer>b</answer>", ("an <answer> is", "b")),
        ("<reasoning></reasoning><answer></answer>", ("", "")),
        ("so <reasoning>a</reasoning><answer>b</answer>", None),
        ("<reasoning>a</reasoning>so<answer>b</answer>", None),
        ("<reasoning>a</reasoning><answer>b</answer>so", None),
        ("<reasoning>a</reasoning><answer>b<answer>c</answer>", None),
        ("<reasoning>a</reasoning></reasoning><answer>b</answer>", None),
        ("<reasoning>a</answer></reasoning><answer>b</answer>", None),
        ("<answer>b</answer><reasoning>a</reasoning>", None),
        ("<reasoning>a<answer>b</answer>", None),
        ("", None),
    ],
)
def test_read_blocks(text, blocks):
    assert read_blocks(text) == blocks
