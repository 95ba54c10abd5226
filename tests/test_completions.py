from decimal import Decimal

import pytest

from axolotl_grpo_plugin.completions import (
    is_integer_literal,
    read_answer,
    read_blocks,
    read_code,
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


BLOCK = "```python\nx = 1\n```"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (BLOCK, ("x = 1", "")),
        (f"So:\n{BLOCK}\nThat is it.", ("x = 1", "")),
        (BLOCK.replace("python", "py"), ("x = 1", "")),
        (BLOCK.replace("python", " Python3 title=a"), ("x = 1", "")),
        (BLOCK.replace("```", "~~~~"), ("x = 1", "")),
        (f"```python\nx = 2\n```\n{BLOCK}", ("x = 1", "")),
        (f"{BLOCK}\nIt prints\n```\n1\n```\n```text\n2\n```", ("x = 1", "")),
        ("```\nx = 2\n```\n```\nx = 1\n```", ("x = 1", "")),
        (f"{BLOCK}\n```python\nx = 2", ("x = 1", "")),
        ("1. So\n   ```python\n   if x:\n       y\n   ```", ("if x:\n    y", "")),
        ("````python\ns = '''\n```\n'''\n````", ("s = '''\n```\n'''", "")),
        ("```python\nx = 1\n``` ", ("x = 1", "")),
        ("```python\n```", ("", "")),
        (f"<think>{BLOCK}</think>\nNo.", (None, "no_code")),
        (f"<think>```python\n2\n``` so</think>{BLOCK}", ("x = 1", "")),
        (f"<reasoning>\n```\n2\n```\n</reasoning>\n<answer>\n{BLOCK}\n</answer>", ("x = 1", "")),
        (f"{BLOCK}\n<answer>\n```python\nx = 2\n```\n</answer>", ("x = 2", "")),
        ("<answer>\nx = 1\n</answer>", ("x = 1", "")),
        ("<answer>```cpp\nx = 1;\n```</answer>", (None, "no_code")),
        (f"<answer>{BLOCK}", (None, "truncated")),
        ("<answer></answer>", (None, "empty_answer")),
        (f"<think>say {BLOCK}\nbut", (None, "truncated")),
        ("```python\nx = 1", (None, "truncated")),
        ("```python\nx = 1```", (None, "truncated")),
        ("```cpp\nx = 1;\n```", (None, "no_code")),
        ("```python x = 1 ```", (None, "no_code")),
        ("x = 1", (None, "no_code")),
        ("", (None, "no_code")),
    ],
)
def test_read_code(text, code):
    assert read_code(text) == code
