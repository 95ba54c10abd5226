import time
from decimal import Decimal

import pytest

from axolotl_grpo_plugin.completions import find_answer, is_integer_literal, read_answer_line, read_number, text_of


@pytest.mark.parametrize(
    "completion, text",
    [
        (" a\r\nb\rc \n", "a\nb\nc"),
        ([{"role": "assistant", "content": "a"}], "a"),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "image"}]}], "a"),
        (
            [
                {"role": "assistant", "content": "call"},
                {"role": "tool", "content": "<answer>18</answer>"},
                {"role": "assistant", "content": "done"},
            ],
            "call\ndone",
        ),
        ([], ""),
        ([{"content": "a"}, {"role": None, "content": "b"}, {"role": "user", "content": "c"}], "a\nb"),
        ([{"content": ["a", {"text": "b"}, {"text": None}]}], "ab"),
    ],
)
def test_messages_become_one_text(completion, text):
    assert text_of(completion) == text


# Answers by the number that they state, or by the reason why they state none.
NUMBERS = {
    "18": r"""+018 | 18. | 18.00 | 18 dollars | 18 dollars per hour. | 18 miles/hour | 18% | 18 °C | 18 € | \boxed{18} | $18$
        $ 18 $ | **18** | **$18**. | `18` | \$18 | $\boxed{18}$ | \boxed{18}. | \(18\) | \[\boxed{18}\] | 18\text{ dollars}
        18\% | €18 | 18 m | 18 a day""",
    "-5": "-5 | -$5 | $-5 | −5",
    "6": "6 times",
    "1000": r"\boxed{$1,000}",
    "1234567.50": "$1,234,567.50",
}
NO_NUMBERS = {
    "not_a_number": """eighteen | --18 | -$-18 | 18 + x | 18 = x | . | ١٨ | 18 million | 18 or seventeen | 18 minus two | 18k
        18x | 18x. | 18M | 18bn | 2π | 2 pi | 18 y | 18 times x | 3 tenths | 18² | 18三""",
    "several_numbers": r"""**17** or **18** | 1_000 | 1,00 | 1,0000 | 1e3 | 36/2 | 17 or 18 | 9 * 2 = 18 | 18 (see step 2)
        \boxed{17} \boxed{18}""",
}


def listed(answers):
    return [answer.strip() for answer in answers.replace("\n", "|").split("|")]


@pytest.mark.parametrize("value, answers", NUMBERS.items())
def test_reads_a_number_with_sign_currency_and_unit(value, answers):
    for answer in listed(answers):
        assert read_number(answer) == (Decimal(value), ""), answer


@pytest.mark.parametrize("problem, answers", NO_NUMBERS.items())
def test_refuses_anything_but_one_number(problem, answers):
    for answer in listed(answers):
        assert read_number(answer) == (None, problem), answer


def test_reads_no_number_from_an_empty_or_long_answer():
    assert read_number("\n18\n") == (18, "")
    for answer in ("", "18 " + "word " * 50):
        assert read_number(answer) == (None, "not_a_number")


@pytest.mark.parametrize(
    "answer, is_integer",
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
def test_integer_literal_has_bare_ascii_digits(answer, is_integer):
    assert is_integer_literal(answer) is is_integer


def lowered(text):
    """Return None for "none": it states no answer."""
    return None if text == "none" else text.lower()


@pytest.mark.parametrize(
    "text, options, answer",
    [
        # The first place that the text has decides, but a tag forbids the others.
        (r"\boxed{1} #### 2", {"places": ["box", "hash"]}, ("1", "")),
        (r"\boxed{1} #### 2", {"places": ["hash", "box"]}, ("2", "")),
        (r"\boxed{1} <answer>2</answer>", {"places": ["box", "tag"]}, ("2", "")),
        (r"<answer>so \boxed{1}</answer>", {"places": ["tag", "box"]}, ("1", "")),
        (r"<answer>so \boxed{1}</answer>", {"places": ["tag"]}, (r"so \boxed{1}", "")),
        ("```json\n1\n```\n```py\n2\n```", {"places": ["fence"]}, ("1", "")),
        ("```\n1\n```\n```\n2\n```", {"places": ["fence"]}, ("2", "")),
        # Texts of one place have to state the same answer.
        (r"\boxed{A} \boxed{a}", {"places": ["box"], "same": lowered}, ("a", "")),
        (r"\boxed{A} \boxed{a}", {"places": ["box"]}, (None, "several_answers")),
        (r"\boxed{} \boxed{1}", {"places": ["box"]}, ("1", "")),
        (r"\boxed{1} \boxed{}", {"places": ["box"]}, ("1", "")),
        (r"\boxed{1} \boxed{none}", {"places": ["box"], "same": lowered}, ("1", "")),
        (" ".join(rf"\boxed{{{i}}}" for i in range(51)), {"places": ["box"], "same": len}, (None, "several_answers")),
        # every_tag, join_boxes, longest, in_reasoning
        ("<answer>1</answer><answer>2</answer>", {"places": ["tag"]}, ("2", "")),
        ("<answer>1</answer><answer>2</answer>", {"places": ["tag"], "every_tag": True}, (None, "several_answers")),
        (r"x=\boxed{1} and y=\boxed{2}", {"places": ["box"], "join_boxes": True}, ("x=1, y=2", "")),
        (r"\boxed{1}, 3 or \boxed{2}", {"places": ["box"], "join_boxes": True}, (None, "several_answers")),
        (r"\boxed{123}", {"places": ["box"], "longest": 3}, ("123", "")),
        (r"\boxed{1234}", {"places": ["box"], "longest": 3}, (None, "too_long")),
        ("<think>#### 1</think>", {"places": ["hash"]}, (None, "no_answer")),
        ("<think>#### 1\n</think>", {"places": ["hash"], "in_reasoning": True}, ("1", "")),
        # Reasoning that is not closed
        ("<think>#### 1", {"places": ["hash"]}, (None, "truncated")),
        ("<think>a</think><think>#### 1", {"places": ["hash"]}, (None, "truncated")),
        ("<think>a</think><think>1</answer>", {"places": ["tag"]}, (None, "truncated")),
        ("<think>a <answer>1</answer>", {"places": ["tag", "hash"]}, (None, "truncated")),
        ("<think>a <answer>1</answer>", {"places": ["tag"], "in_reasoning": True}, (None, "truncated")),
        ("<reasoning>a <answer>1</answer>", {"places": ["tag", "hash"]}, ("1", "")),
        # No answer
        ("1", {"places": ["tag"]}, (None, "no_answer_tag")),
        ("1", {"places": ["tag", "box"]}, (None, "no_answer")),
        ("</answer> #### 1", {"places": ["tag", "hash"]}, (None, "no_answer")),
        ("#### 1 <answer>2", {"places": ["tag", "hash"]}, (None, "truncated")),
        (r"\boxed{1", {"places": ["box"]}, (None, "truncated")),
        ("```\n1", {"places": ["fence"]}, (None, "truncated")),
        (r"\boxed{}", {"places": ["box"]}, (None, "empty_answer")),
        ("<answer>...</answer>", {"places": ["tag", "box"]}, (None, "empty_answer")),
    ],
)
def test_places_and_options_decide_which_answer_is_read(text, options, answer):
    assert find_answer(text, **options) == answer


@pytest.mark.parametrize(
    "text, answer",
    [
        ("Answer: 42", "42"),
        ("so\n\n**Answer: 42**", "42"),
        ("**Answer:** $42$", "42"),
        ("**Final Answer**: (D)", "(D)"),
        ("### Answer: 42.", "42"),
        ("answer: \\boxed{42}", "42"),
        ("The final answer: **42**.", "42"),
        ("- Answer: $\\frac{1}{2}$.", "\\frac{1}{2}"),
        ("Answer\uff1a42", "42"),
        ("Answer: 41\nNo.\nAnswer: 42\nChecked.", "42"),
        ("Answer: 42\nAnswer:", "42"),
        ("Answer: 42\nAnswer: $Answer", "42"),
        ("Answer: $LETTER", ""),
        ("Answer: [your answer]", ""),
        ("Answer: <answer here>", ""),
        ("Answer: ...", ""),
        ("The answer is 42", ""),
        ("My answer: 42", ""),
        ("Answers: 42", ""),
        ("I put it after Answer: 42", ""),
    ],
)
def test_answer_line(text, answer):
    assert read_answer_line(text) == answer


@pytest.mark.parametrize(
    "text, options, answer",
    [
        ("x\nAnswer: 42", {}, ("42", "")),
        ("\\boxed{42}\nAnswer: 42", {}, ("42", "")),
        ("\\boxed{42}.\n\nAnswer: 41", {}, (None, "several_answers")),
        ("#### 42\nAnswer: 41", {}, (None, "several_answers")),
        ("\\boxed{42} hens\nAnswer: 42 hens", {}, ("42", "")),
        ("```\n42\n```\nAnswer: 41", {}, (None, "several_answers")),
        ("\\boxed{A}\nAnswer: a", {"same": lowered}, ("a", "")),
        ("\\boxed{x \\ll y}\nAnswer: D", {}, ("D", "")),
        ("\\boxed{C}\nAnswer: D", {}, (None, "several_answers")),
        ("\\boxed{41} \\boxed{42}\nAnswer: 42", {}, (None, "several_answers")),
        ("x=\\boxed{1} and y=\\boxed{2}\nAnswer: x=1, y=2", {"join_boxes": True}, ("x=1, y=2", "")),
        ("<answer>42</answer>\nAnswer: 41", {}, ("42", "")),
        ("<think>Answer: 42", {}, (None, "truncated")),
        ("<think>Answer: 41</think>Answer: 42", {}, ("42", "")),
        ("\\boxed{42}\nAnswer: it is the sum of all of the numbers", {}, ("42", "")),
        ("Answer: $Answer", {}, (None, "no_answer")),
        ("Answer: 12345", {"longest": 3}, (None, "too_long")),
    ],
)
def test_answer_line_beside_other_places(text, options, answer):
    assert find_answer(text, ["tag", "box", "hash", "fence", "line"], **options) == answer


def test_answer_lines_are_read_in_linear_time():
    for piece in ("Answer: ", "Answer: 1\n", "* ", "the ", "\n>>", "Answer: ***"):
        began = time.process_time()
        find_answer(piece * (300_000 // len(piece)), ["box", "line"], longest=9)
        assert time.process_time() - began < 2, piece
